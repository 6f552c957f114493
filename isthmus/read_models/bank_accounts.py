"""Accounts at banks and their transactions, as their banks told of them. What is sealed under a key that is gone is not shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg
import msgspec

from isthmus.domain.bank_texts import ACCOUNT_CONTEXT, AccountText
from isthmus.domain.secrets import LinkSecrets
from isthmus.read_models.database import ACQUIRE_TIMEOUT_S, Sight

_COLUMNS = """
select a.id as account_id, a.owner, a.consent_id, a.institution_id, a.provider, a.asset, e.committed_at as opened_at,
    e.position as opened_position, m.link_id, m.kind, m.sealed, m.available, m.booked, m.as_of, m.outdated, m.transactions,
    s.synced_at, s.fault, c.status = 'AUTHORISED' as authorised, c.expires_at"""
_FROM = """
from bank_accounts a join event_store e on e.aggregate_id = a.id and e.version = 1
join bank_account_mirrors m on m.account_id = a.id join consents c on c.id = a.consent_id
left join bank_syncs s on s.consent_id = a.consent_id"""
_ROWS = _COLUMNS + _FROM


@dataclass(frozen=True)
class BankAccountRow:
    """`text` is None once the link's key is gone. `available` and `booked` as they were at `as_of`; `outdated`: the bank says that they
    have changed since. `authorised` and `expires_at` are the consent's."""

    account_id: UUID
    owner: UUID
    consent_id: UUID
    institution_id: str
    provider: str
    asset: str
    opened_at: datetime
    opened_position: int
    kind: str
    available: Decimal | None
    booked: Decimal | None
    as_of: datetime | None
    outdated: bool
    transactions: int
    synced_at: datetime | None
    fault: str | None
    authorised: bool
    expires_at: datetime | None
    text: AccountText | None

    def readable(self, now: datetime) -> bool:
        """Whether the bank may be asked."""
        return self.authorised and (self.expires_at is None or self.expires_at > now)


class BankAccountReader:
    def __init__(self, pool: asyncpg.Pool, secrets: LinkSecrets) -> None:
        self._pool = pool
        self._secrets = secrets

    async def load_many(self, sight: Sight, keys: Sequence[UUID]) -> list[BankAccountRow | None]:
        """In the order of the keys; None where there is none, or none of the person's own."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"{_ROWS} where a.linked and a.id = any($1::uuid[]) and a.owner = $2", list(keys), sight.person
            )
            found = {row.account_id: row for row in await self._opened(connection, rows)}
        return [found.get(key) for key in keys]

    async def of_consents(self, sight: Sight, keys: Sequence[UUID]) -> list[list[BankAccountRow]]:
        """The accounts of each consent, oldest first."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"{_ROWS} where a.linked and a.consent_id = any($1::uuid[]) and a.owner = $2 order by e.position",
                list(keys),
                sight.person,
            )
            found: dict[UUID, list[BankAccountRow]] = defaultdict(list)
            for row in await self._opened(connection, rows):
                found[row.consent_id].append(row)
        return [found[key] for key in keys]

    async def page(self, owner: UUID, first: int, after: int | None) -> tuple[list[BankAccountRow], bool]:
        """A person's linked accounts, oldest first, after the position `after`; and whether there are more."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"{_ROWS} where a.linked and a.owner = $1 and e.position > $2 order by e.position limit $3",
                owner,
                after or 0,
                first + 1,
            )
            opened = await self._opened(connection, rows[:first])
        return opened, len(rows) > first

    async def count(self, owner: UUID) -> int:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            counted: int = await connection.fetchval(f"select count(*) {_FROM} where a.linked and a.owner = $1", owner)
        return counted

    async def _opened(
        self, connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record], rows: Sequence[asyncpg.Record]
    ) -> list[BankAccountRow]:
        sealed = [(row["link_id"], row["sealed"]) for row in rows]
        texts = await self._secrets.open_across(connection, sealed, ACCOUNT_CONTEXT)
        return [
            BankAccountRow(
                **{name: value for name, value in row.items() if name not in ("link_id", "sealed")},
                text=None if text is None else msgspec.json.decode(text, type=AccountText),
            )
            for row, text in zip(rows, texts, strict=True)
        ]
