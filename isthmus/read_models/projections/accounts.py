"""Accounts: one row each with the current balance, how many a person has, and every balance there ever was.

Rows of an account are written by its own partition alone, so they are read, folded and written back without a lock of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from isthmus.domain.accounts import AccountClosed, AccountFrozen, AccountOpened, AccountRenamed, AccountUnfrozen
from isthmus.domain.event_codec import ACCOUNT
from isthmus.domain.ledger import Figures, JournalPosted, JournalReserved
from isthmus.read_models.projections.facts import Connection, Fact, columns

NAME = "accounts"
_ZERO = Decimal(0)


class Behind(Exception):
    """The rows of these accounts lack movements (account -> the last position its row has): they are in the event store."""

    def __init__(self, accounts: Mapping[UUID, int]) -> None:
        super().__init__(f"{len(accounts)} accounts")
        self.accounts = accounts


@dataclass(frozen=True)
class _Row:
    account_id: UUID
    owner: UUID | None
    kind: str
    code: str
    name: str | None
    account_type: str
    asset: str
    status: str
    freezes: tuple[str, ...]
    posted: Decimal
    pending_in: Decimal
    pending_out: Decimal
    version: int
    as_of: datetime
    transactions: int
    opened_at: datetime
    opened_position: int
    position: int


_COLUMNS = (
    ("account_id", "uuid"),
    ("owner", "uuid"),
    ("kind", "text"),
    ("code", "text"),
    ("name", "text"),
    ("account_type", "text"),
    ("asset", "text"),
    ("status", "text"),
    ("freezes", "text"),
    ("posted", "numeric"),
    ("pending_in", "numeric"),
    ("pending_out", "numeric"),
    ("version", "bigint"),
    ("as_of", "timestamptz"),
    ("transactions", "bigint"),
    ("opened_at", "timestamptz"),
    ("opened_position", "bigint"),
    ("position", "bigint"),
)
_CHANGING = (
    "name",
    "status",
    "freezes",
    "posted",
    "pending_in",
    "pending_out",
    "version",
    "as_of",
    "transactions",
    "position",
)
_NAMES = ", ".join(name for name, _ in _COLUMNS)
# A set of freezes comes as one array literal: unnest would flatten an array of arrays.
_WRITE = (
    f"insert into {{schema}}.accounts ({_NAMES}) select "
    + ", ".join(f"u.{name}::text[]" if name == "freezes" else f"u.{name}" for name, _ in _COLUMNS)
    + " from unnest("
    + ", ".join(f"${n}::{kind}[]" for n, (_, kind) in enumerate(_COLUMNS, 1))
    + f") as u ({_NAMES}) on conflict (account_id) do update set "
    + ", ".join(f"{name} = excluded.{name}" for name in _CHANGING)
)
_COUNT = """
insert into {schema}.account_counts (owner, kind, accounts)
select * from unnest($1::uuid[], $2::text[], $3::bigint[]) as u (owner, kind, accounts) order by owner, kind
on conflict (owner, kind) do update set accounts = account_counts.accounts + excluded.accounts"""
_HISTORY = """
insert into {schema}.balance_history
    (account_id, version, position, committed_at, posted, pending_in, pending_out, event_id, event_type, correlation_id)
select * from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::numeric[], $6::numeric[], $7::numeric[],
    $8::uuid[], $9::text[], $10::text[])
on conflict do nothing"""


async def apply(connection: Connection, schema: str, facts: Sequence[Fact]) -> None:
    """Raises Behind, with nothing written, where a row lacks movements that are not among the facts."""
    mine = [fact for fact in facts if fact.own is not None or fact.row.aggregate_type == ACCOUNT]
    if not mine:
        return
    stored = await connection.fetch(
        f"select {_NAMES} from {schema}.accounts where account_id = any($1::uuid[])", list({fact.key for fact in mine})
    )
    rows: dict[UUID, _Row] = {row["account_id"]: _Row(**{**row, "freezes": tuple(row["freezes"])}) for row in stored}
    opened: Counter[tuple[UUID, str]] = Counter()
    behind: dict[UUID, int] = {}
    for fact in mine:
        row = rows.get(fact.key)
        if isinstance(fact.event, AccountOpened):
            if row is None:
                row = rows[fact.key] = _opened(fact, fact.event)
                if row.owner is not None:
                    opened[row.owner, row.kind] += 1
        elif row is None:
            behind.setdefault(fact.key, 0)
        elif fact.own is not None:
            if fact.own.version > row.version + 1:
                behind.setdefault(fact.key, row.position)
            elif fact.own.version == row.version + 1:
                rows[fact.key] = _moved(row, fact, fact.own)
        elif fact.position > row.position:
            rows[fact.key] = _changed(row, fact)
    if behind:
        raise Behind(behind)
    await _write(connection, schema, rows, opened, mine)


async def _write(
    connection: Connection,
    schema: str,
    rows: Mapping[UUID, _Row],
    opened: Mapping[tuple[UUID, str], int],
    facts: Sequence[Fact],
) -> None:
    values = [tuple(getattr(row, name) for name, _ in _COLUMNS) for row in (rows[key] for key in sorted(rows))]
    arrays = columns(values, len(_COLUMNS))
    arrays[8] = ["{" + ",".join(freezes) + "}" for freezes in arrays[8]]
    await connection.execute(_WRITE.format(schema=schema), *arrays)
    if opened:
        await connection.execute(
            _COUNT.format(schema=schema), *columns(((*whose, count) for whose, count in opened.items()), 3)
        )
    history = [
        (
            fact.key,
            fact.own.version,
            fact.position,
            fact.row.committed_at,
            fact.own.posted,
            fact.own.pending_in,
            fact.own.pending_out,
            fact.row.event_id,
            fact.row.type,
            fact.written.correlation_id,
        )
        for fact in facts
        if fact.own is not None
    ]
    if history:
        await connection.execute(_HISTORY.format(schema=schema), *columns(history, 10))


def _opened(fact: Fact, event: AccountOpened) -> _Row:
    return _Row(
        account_id=event.account_id,
        owner=event.owner,
        kind="HOUSE" if event.owner is None else "LEDGER",
        code=event.code,
        name=None if event.name is None else str(event.name),
        account_type=event.account_type.value,
        asset=event.asset,
        status="OPEN",
        freezes=(),
        posted=_ZERO,
        pending_in=_ZERO,
        pending_out=_ZERO,
        version=0,
        as_of=fact.row.committed_at,
        transactions=0,
        opened_at=fact.row.committed_at,
        opened_position=fact.position,
        position=fact.position,
    )


def _moved(row: _Row, fact: Fact, own: Figures) -> _Row:
    return replace(
        row,
        posted=own.posted,
        pending_in=own.pending_in,
        pending_out=own.pending_out,
        version=own.version,
        as_of=fact.row.committed_at,
        transactions=row.transactions + makes_transaction(fact),
        position=fact.position,
    )


def _changed(row: _Row, fact: Fact) -> _Row:
    row = replace(row, position=fact.position)
    match fact.event:
        case AccountRenamed():
            return replace(row, name=str(fact.event.name))
        case AccountFrozen():
            freezes = tuple(sorted({*row.freezes, fact.event.reason.value}))
            return replace(row, freezes=freezes, status="FROZEN")
        case AccountUnfrozen():
            freezes = tuple(reason for reason in row.freezes if reason != fact.event.reason.value)
            return replace(row, freezes=freezes, status="FROZEN" if freezes else "OPEN")
        case AccountClosed():
            return replace(row, status="CLOSED")
        case _:
            return row


def makes_transaction(fact: Fact) -> bool:
    """Whether the fact begins a row of the account's transactions: what resolves a hold only changes the hold's row."""
    if fact.own is None:
        return False
    if isinstance(fact.event, JournalReserved):
        return bool(fact.own.pending_in_change or fact.own.pending_out_change)
    return isinstance(fact.event, JournalPosted) and fact.event.resolves is None and bool(fact.own.posted_change)
