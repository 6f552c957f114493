"""Accounts as a screen shows them, one row each, current balance included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from isthmus.read_models.database import ACQUIRE_TIMEOUT_S, Incomplete, Sight

_COLUMNS = "account_id, owner, kind, name, asset, status, opened_at, opened_position, transactions"
_NAMES = _COLUMNS.split(", ")
# An account that has no row because its opening is set aside is there: whose it is, the ledger's own table knows.
_BY_ID = f"""
select account_id as key, {_COLUMNS}, false as parked from read_models.accounts
where account_id = any($1::uuid[]) and (owner = $2 or $3)
union all
select l.id, {", ".join(f"n.{name}" for name in _NAMES)}, true from accounts l left join read_models.accounts n on n.account_id = l.id
where l.id = any($1::uuid[]) and (l.owner = $2 or $3) and n.account_id is null
    and exists (select from read_models.parked_events p where p.account_id = l.id)"""


@dataclass(frozen=True)
class AccountRow:
    """`name` is ciphertext under the owner's key; `transactions` is a kept counter."""

    account_id: UUID
    owner: UUID | None
    kind: str
    name: str | None
    asset: str
    status: str
    opened_at: datetime
    opened_position: int
    transactions: int = 0


class AccountReader:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def load_many(self, sight: Sight, keys: Sequence[UUID]) -> list[AccountRow | Exception | None]:
        """In the order of the keys; None where there is none, or none that may be seen; Incomplete where its opening is set aside."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(_BY_ID, list(keys), sight.person, sight.all_accounts)
        found: dict[UUID, AccountRow | Exception] = {
            row["key"]: Incomplete() if row["parked"] else AccountRow(**{name: row[name] for name in _NAMES})
            for row in rows
        }
        return [found.get(key) for key in keys]

    async def page(
        self, owner: UUID, first: int, after: int | None, kinds: Sequence[str] | None
    ) -> tuple[list[AccountRow], bool]:
        """A person's accounts, oldest first, after the position `after`; and whether there are more."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"select {_COLUMNS} from read_models.accounts where owner = $1 and opened_position > $2 "
                "and ($3::text[] is null or kind = any($3)) order by opened_position limit $4",
                owner,
                after or 0,
                None if kinds is None else list(kinds),
                first + 1,
            )
        return [AccountRow(**row) for row in rows[:first]], len(rows) > first

    async def count(self, owner: UUID, kinds: Sequence[str] | None) -> int:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            counted: int = await connection.fetchval(
                "select coalesce(sum(accounts), 0)::bigint from read_models.account_counts "
                "where owner = $1 and ($2::text[] is null or kind = any($2))",
                owner,
                None if kinds is None else list(kinds),
            )
        return counted

    async def owner_of(self, account_id: UUID) -> tuple[UUID, str] | None:
        """Whose account it is and what it holds, for an operator's wish; from the ledger's own table, so never behind."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            row = await connection.fetchrow(
                "select owner, asset from accounts where id = $1 and owner is not null", account_id
            )
        return None if row is None else (row["owner"], row["asset"])
