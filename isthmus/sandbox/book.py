"""The banks' own book: customers, accounts and movements in one SQLite file, and the feed of what changed.

Amounts are whole minor units, signed from the customer's side: negative is money out. Each movement has one id for life; what
providers make of it (a pending one and a posted one with ids of their own) is theirs. Everything follows from the seed and the clock.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from isthmus.sandbox.clock import iso

PENDING, BOOKED, CANCELLED = "PENDING", "BOOKED", "CANCELLED"
#: More that the feed of changes says.
POSTED, CHANGED, WITHDRAWN = "POSTED", "CHANGED", "WITHDRAWN"

_SCHEMA = """
create table if not exists facts (name text primary key, value text not null);
create table if not exists customers (
    id text primary key, bank text not null, username text not null, password text not null, full_name text not null,
    unique (bank, username));
create table if not exists accounts (
    id text primary key, customer text not null references customers, bank text not null, name text not null, kind text not null,
    currency text not null, iban text, sort_code text, number text not null, opening integer not null, grown_to text not null,
    busy integer not null);
create table if not exists movements (
    id text primary key, account text not null references accounts, at text not null, amount integer not null, currency text not null,
    name text not null, reference text not null, category text not null, counterparty_account text, state text not null,
    books_at text not null, booked_at text);
create index if not exists movements_by_day on movements (account, coalesce(booked_at, at) desc, id);
create index if not exists movements_due on movements (books_at) where state = 'PENDING';
create table if not exists changes (
    seq integer primary key autoincrement, account text not null, movement text not null, change text not null);
create index if not exists changes_by_account on changes (account, seq);
create index if not exists changes_by_movement on changes (movement, seq);
create table if not exists documents (
    kind text not null, id text not null, body text not null, primary key (kind, id));
"""


@dataclass(frozen=True)
class Customer:
    id: str
    bank: str
    username: str
    password: str
    full_name: str


@dataclass(frozen=True)
class Account:
    """`iban` or `sort_code` with `number`, as its country has it. `busy`: movements a day at most, as the book grows by itself."""

    id: str
    customer: str
    bank: str
    name: str
    kind: str
    currency: str
    iban: str | None
    sort_code: str | None
    number: str
    opening: int
    grown_to: str
    busy: int


@dataclass(frozen=True)
class Movement:
    """`books_at`: when it will be booked, if nothing happens to it. Times are ISO 8601 in UTC."""

    id: str
    account: str
    at: str
    amount: int
    currency: str
    name: str
    reference: str
    category: str
    counterparty_account: str | None
    state: str
    books_at: str
    booked_at: str | None


@dataclass(frozen=True)
class Change:
    """`change`: what the movement came into (PENDING; BOOKED at once; POSTED after it was pending; CANCELLED; WITHDRAWN after it was
    booked), or CHANGED.

    `first_seq` is where the feed first tells of the movement; `settled_seq` where it was posted or cancelled, if it was pending.
    """

    seq: int
    account: str
    movement: str
    change: str
    first_seq: int
    settled_seq: int | None


class Book:
    """One file, or `:memory:`. Not for several threads."""

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.executescript("pragma journal_mode = wal; pragma synchronous = normal; " + _SCHEMA)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """All of it or nothing. May be nested."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    # -- facts: the seed, the clock, keys ------------------------------------------------------------------------------

    def fact(self, name: str) -> str | None:
        row = self._db.execute("select value from facts where name = ?", (name,)).fetchone()
        return row["value"] if row else None

    def set_fact(self, name: str, value: str | None) -> None:
        if value is None:
            self._db.execute("delete from facts where name = ?", (name,))
        else:
            self._db.execute(
                "insert into facts values (?, ?) on conflict (name) do update set value = excluded.value", (name, value)
            )

    # -- customers and accounts ------------------------------------------------------------------------------------------

    def add_customer(self, customer: Customer) -> None:
        self._insert("customers", [asdict(customer)])

    def customer(self, bank: str, username: str) -> Customer | None:
        row = self._db.execute("select * from customers where bank = ? and username = ?", (bank, username)).fetchone()
        return Customer(**row) if row else None

    def customer_by_id(self, customer_id: str) -> Customer | None:
        row = self._db.execute("select * from customers where id = ?", (customer_id,)).fetchone()
        return Customer(**row) if row else None

    def add_account(self, account: Account) -> None:
        self._insert("accounts", [asdict(account)])

    def account(self, account_id: str) -> Account | None:
        row = self._db.execute("select * from accounts where id = ?", (account_id,)).fetchone()
        return Account(**row) if row else None

    def accounts_of(self, customer_id: str) -> list[Account]:
        rows = self._db.execute("select * from accounts where customer = ? order by id", (customer_id,))
        return [Account(**row) for row in rows]

    def accounts(self) -> list[Account]:
        return [Account(**row) for row in self._db.execute("select * from accounts order by id")]

    def grown(self, account_id: str, to: str) -> None:
        self._db.execute("update accounts set grown_to = ? where id = ?", (to, account_id))

    def balances(self, account_id: str) -> tuple[int, int]:
        """(booked, available): what is pending and goes out is not available any more."""
        row = self._db.execute(
            "select a.opening + coalesce(sum(m.amount) filter (where m.state = 'BOOKED'), 0) as booked, "
            "coalesce(sum(m.amount) filter (where m.state = 'PENDING' and m.amount < 0), 0) as held "
            "from accounts a left join movements m on m.account = a.id where a.id = ? group by a.id",
            (account_id,),
        ).fetchone()
        return row["booked"], row["booked"] + row["held"]

    # -- movements and the feed --------------------------------------------------------------------------------------------

    def add_movements(self, movements: Sequence[Movement]) -> None:
        with self.writing():
            self._insert("movements", [asdict(one) for one in movements])
            self._tell((one.account, one.id, one.state) for one in movements)

    def movement(self, movement_id: str) -> Movement | None:
        row = self._db.execute("select * from movements where id = ?", (movement_id,)).fetchone()
        return Movement(**row) if row else None

    def movements(
        self,
        account_id: str,
        *,
        states: Sequence[str] = (BOOKED,),
        since: str = "",
        until: str = "~",
        limit: int = -1,
        offset: int = 0,
    ) -> list[Movement]:
        """The newest first, of [since, until], by the time of their booking where they are booked."""
        marks = ", ".join("?" for _ in states)
        rows = self._db.execute(
            f"select * from movements where account = ? and state in ({marks}) "
            "and coalesce(booked_at, at) >= ? and coalesce(booked_at, at) <= ? "
            "order by coalesce(booked_at, at) desc, id limit ? offset ?",
            (account_id, *states, since, until, limit, offset),
        )
        return [Movement(**row) for row in rows]

    def some_movements(self, ids: Iterable[str]) -> dict[str, Movement]:
        rows = self._db.execute(
            "select * from movements where id in (select value from json_each(?))", (json.dumps(list(ids)),)
        )
        return {row["id"]: Movement(**row) for row in rows}

    def book_due(self, now: datetime) -> list[Movement]:
        """Pending movements whose time has come are booked: those, as they are now."""
        with self.writing():
            due = [
                Movement(**row)
                for row in self._db.execute(
                    "select * from movements where state = 'PENDING' and books_at <= ? order by books_at, id",
                    (iso(now),),
                )
            ]
            for one in due:
                self.set_state(one, BOOKED, one.books_at)
        return due

    def set_state(self, movement: Movement, state: str, at: str) -> None:
        with self.writing():
            booked_at = at if state == BOOKED else None
            self._db.execute(
                "update movements set state = ?, booked_at = ? where id = ?", (state, booked_at, movement.id)
            )
            change = WITHDRAWN if movement.state == BOOKED else POSTED if state == BOOKED else state
            self._tell([(movement.account, movement.id, change)])

    def amend(self, movement: Movement, *, name: str, amount: int) -> None:
        with self.writing():
            self._db.execute("update movements set name = ?, amount = ? where id = ?", (name, amount, movement.id))
            self._tell([(movement.account, movement.id, CHANGED)])

    def head(self, accounts: Sequence[str]) -> int:
        row = self._db.execute(
            "select coalesce(max(seq), 0) as head from changes where account in (select value from json_each(?))",
            (json.dumps(accounts),),
        ).fetchone()
        head: int = row["head"]
        return head

    def changes(self, accounts: Sequence[str], after: int, until: int, limit: int) -> list[Change]:
        rows = self._db.execute(
            "select c.*, (select min(f.seq) from changes f where f.movement = c.movement) as first_seq, "
            "(select min(s.seq) from changes s where s.movement = c.movement and s.change in ('POSTED', 'CANCELLED')) as settled_seq "
            "from changes c where c.account in (select value from json_each(?)) and c.seq > ? and c.seq <= ? order by c.seq limit ?",
            (json.dumps(accounts), after, until, limit),
        )
        return [Change(**row) for row in rows]

    # -- what providers keep: grants, tokens, payments -------------------------------------------------------------------------

    def put(self, kind: str, document_id: str, body: dict[str, Any]) -> None:
        self._db.execute(
            "insert into documents values (?, ?, ?) on conflict (kind, id) do update set body = excluded.body",
            (kind, document_id, json.dumps(body)),
        )

    def get(self, kind: str, document_id: str) -> dict[str, Any] | None:
        row = self._db.execute("select body from documents where kind = ? and id = ?", (kind, document_id)).fetchone()
        return json.loads(row["body"]) if row else None

    def forget(self, kind: str, document_id: str) -> bool:
        """Whether it was there: what may be used once is taken this way."""
        return self._db.execute("delete from documents where kind = ? and id = ?", (kind, document_id)).rowcount > 0

    def all(self, kind: str) -> dict[str, dict[str, Any]]:
        rows = self._db.execute("select id, body from documents where kind = ? order by rowid", (kind,))
        return {row["id"]: json.loads(row["body"]) for row in rows}

    def _insert(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        if rows:
            names = ", ".join(rows[0])
            marks = ", ".join(f":{name}" for name in rows[0])
            self._db.executemany(f"insert into {table} ({names}) values ({marks})", rows)

    def _tell(self, changes: Iterable[tuple[str, str, str]]) -> None:
        self._db.executemany("insert into changes (account, movement, change) values (?, ?, ?)", changes)
