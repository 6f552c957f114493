"""Consents, from the write side's own table and therefore never behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from isthmus.read_models.database import ACQUIRE_TIMEOUT_S, Sight

_ROWS = """
select c.id as consent_id, c.owner, c.institution_id, c.provider, c.jurisdiction, c.scopes, c.expires_at, c.parked, c.version,
    case when c.status in ('AUTHORISED', 'RENEWAL_NEEDED') and c.expires_at <= coalesce($1, statement_timestamp()) then 'EXPIRED'
        else c.status end as status,
    m.committed_at as requested_at, m.position as requested_position,
    s.state as sync_state, s.fetched, s.fault, s.synced_at, s.started_at, s.unattended
from consents c join event_store m on m.aggregate_id = c.id and m.version = 1
left join bank_syncs s on s.consent_id = c.id"""


@dataclass(frozen=True)
class ConsentRow:
    """What is over by the clock is EXPIRED, whether or not that is written yet. `unattended`: when its bank was asked without its
    owner, lately. `fetched`: transactions read by the reading under way."""

    consent_id: UUID
    owner: UUID
    institution_id: str
    provider: str
    jurisdiction: str
    scopes: Sequence[str]
    status: str
    expires_at: datetime | None
    parked: str | None
    version: int
    requested_at: datetime
    requested_position: int
    sync_state: str | None
    fetched: int | None
    fault: str | None
    synced_at: datetime | None
    started_at: datetime | None
    unattended: Sequence[datetime] | None


class ConsentReader:
    """`stamp` gives what SQL takes for now (`Clock.stamp`)."""

    def __init__(self, pool: asyncpg.Pool, stamp: Callable[[], datetime | None]) -> None:
        self._pool = pool
        self._stamp = stamp

    async def load_many(self, sight: Sight, keys: Sequence[UUID]) -> list[ConsentRow | None]:
        """In the order of the keys; None where there is none, or none of the person's own."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"{_ROWS} where c.id = any($2::uuid[]) and c.owner = $3", self._stamp(), list(keys), sight.person
            )
        found = {row["consent_id"]: ConsentRow(**row) for row in rows}
        return [found.get(key) for key in keys]

    async def page(self, owner: UUID, first: int, after: int | None) -> tuple[list[ConsentRow], bool]:
        """A person's consents, oldest first, but those whose link they deleted; and whether there are more."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"{_ROWS} where c.owner = $2 and not c.deleted and m.position > $3 order by m.position limit $4",
                self._stamp(),
                owner,
                after or 0,
                first + 1,
            )
        return [ConsentRow(**row) for row in rows[:first]], len(rows) > first

    async def count(self, owner: UUID) -> int:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            counted: int = await connection.fetchval(
                "select count(*) from consents where owner = $1 and not deleted", owner
            )
        return counted
