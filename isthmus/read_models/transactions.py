"""Transactions: what each journal did to one account, newest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from isthmus.read_models.database import ACQUIRE_TIMEOUT_S, Incomplete, Sight

_NEWEST = 2**63 - 1
_COLUMNS = "t.account_id, t.position, t.journal_id, t.amount, t.asset, t.direction, t.status, t.kind, t.booked_at, t.description"


@dataclass(frozen=True)
class TransactionRow:
    """`amount` is signed: negative is money out. `description` is ciphertext."""

    account_id: UUID
    position: int
    journal_id: UUID
    amount: Decimal
    asset: str
    direction: str
    status: str
    kind: str
    booked_at: datetime
    description: str | None


@dataclass(frozen=True)
class PageOf:
    """One page of one account; pages that differ in nothing but the account are read together."""

    account_id: UUID
    first: int
    before: int | None
    status: str | None


Page = tuple[list[TransactionRow], bool]


class TransactionReader:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def pages(self, sight: Sight, keys: Sequence[PageOf]) -> list[Page | Exception]:
        """Per key the rows and whether there are more: one statement per different (first, before, status).

        Incomplete in the place of a key whose account has something set aside.
        """
        alike: dict[tuple[int, int | None, str | None], list[UUID]] = defaultdict(list)
        for key in keys:
            alike[key.first, key.before, key.status].append(key.account_id)
        found: dict[PageOf, list[TransactionRow]] = defaultdict(list)
        parked: set[UUID] = set()
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            for (first, before, status), accounts in alike.items():
                rows = await connection.fetch(
                    _PAGE, accounts, sight.person, sight.all_accounts, before or _NEWEST, status, first + 1
                )
                for row in rows:
                    if row["parked"]:
                        parked.add(row["account_id"])
                    elif row["position"] is not None:
                        told = TransactionRow(**{name: value for name, value in row.items() if name != "parked"})
                        found[PageOf(told.account_id, first, before, status)].append(told)
        return [
            Incomplete() if key.account_id in parked else (found[key][: key.first], len(found[key]) > key.first)
            for key in keys
        ]

    async def counts(self, sight: Sight, keys: Sequence[tuple[UUID, str]]) -> list[int]:
        """How many of one status; all of an account is the kept counter in its row."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                "select k.n, (select count(*) from read_models.transactions t "
                "where t.account_id = k.account_id and t.status = k.status) as counted "
                "from unnest($1::uuid[], $2::text[]) with ordinality as k (account_id, status, n) "
                "join read_models.accounts a on a.account_id = k.account_id and (a.owner = $3 or $4)",
                [key[0] for key in keys],
                [key[1] for key in keys],
                sight.person,
                sight.all_accounts,
            )
        found = {row["n"]: row["counted"] for row in rows}
        return [found.get(n, 0) for n in range(1, len(keys) + 1)]

    async def load_many(self, sight: Sight, keys: Sequence[tuple[UUID, UUID]]) -> list[TransactionRow | None]:
        """By (account, journal)."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"select {_COLUMNS} from unnest($1::uuid[], $2::uuid[]) as k (account_id, journal_id) "
                "join read_models.transactions t using (account_id, journal_id) "
                "join read_models.accounts a using (account_id) where a.owner = $3 or $4",
                [key[0] for key in keys],
                [key[1] for key in keys],
                sight.person,
                sight.all_accounts,
            )
        found = {(row["account_id"], row["journal_id"]): TransactionRow(**row) for row in rows}
        return [found.get(key) for key in keys]


_PAGE = f"""
select k.account_id, {_COLUMNS.removeprefix("t.account_id, ")},
    exists (select from read_models.parked_events p where p.account_id = k.account_id) as parked
from unnest($1::uuid[]) with ordinality as k (account_id, n)
join read_models.accounts a on a.account_id = k.account_id and (a.owner = $2 or $3)
left join lateral (
    select * from read_models.transactions
    where account_id = k.account_id and position < $4 and ($5::text is null or status = $5)
    order by position desc limit $6
) t on true
order by k.n, t.position desc
"""
