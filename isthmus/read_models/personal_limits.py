"""Limits that people set themselves, from the write side's own table and therefore never behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from isthmus.read_models.database import ACQUIRE_TIMEOUT_S
from isthmus.read_models.sca import CHALLENGE, ChallengeRow, challenge_from, joined

# What is asked for is the last event, where that asks for anything: what was set since would have ended it.
_ROWS = f"""
select l.id as limit_id, l.owner, l.asset, l.per_payment, l.per_day, (m.data->>'per_payment')::numeric as asked_per_payment,
    (m.data->>'per_day')::numeric as asked_per_day, {CHALLENGE}
from personal_limits l left join lateral (
    select type, data from event_store where aggregate_id = l.id order by version desc limit 1) m on m.type = 'LimitRaiseAsked'
{joined("m.data", "l.owner")}"""
_RAISED = f"""
select {CHALLENGE} from event_store m {joined("m.data", "(m.data->>'owner')::uuid")}
where m.aggregate_id = $2 and m.type = 'LimitRaiseAsked' and (m.data->>'challenge_id')::uuid = $3"""


@dataclass(frozen=True)
class LimitRow:
    """What was set is None until something was; what is asked for is None where nothing waits."""

    limit_id: UUID
    owner: UUID
    asset: str
    per_payment: Decimal | None
    per_day: Decimal | None
    asked_per_payment: Decimal | None
    asked_per_day: Decimal | None
    challenge: ChallengeRow | None


class LimitReader:
    """`stamp` gives what SQL takes for now (`Clock.stamp`)."""

    def __init__(self, pool: asyncpg.Pool, stamp: Callable[[], datetime | None]) -> None:
        self._pool = pool
        self._stamp = stamp

    async def of_owner(self, owner: UUID) -> list[LimitRow]:
        """By asset."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(f"{_ROWS} where l.owner = $2 order by l.asset", self._stamp(), owner)
        return [_limit(row) for row in rows]

    async def find(self, owner: UUID, limit_id: UUID) -> LimitRow | None:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            row = await connection.fetchrow(f"{_ROWS} where l.owner = $2 and l.id = $3", self._stamp(), owner, limit_id)
        return None if row is None else _limit(row)

    async def challenge(self, limit_id: UUID, challenge_id: UUID) -> ChallengeRow | None:
        """By which the limit was raised: it waits for none any more."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            row = await connection.fetchrow(_RAISED, self._stamp(), limit_id, challenge_id)
        return None if row is None else challenge_from(row)


def _limit(row: asyncpg.Record) -> LimitRow:
    return LimitRow(
        row["limit_id"],
        row["owner"],
        row["asset"],
        row["per_payment"],
        row["per_day"],
        row["asked_per_payment"],
        row["asked_per_day"],
        challenge_from(row),
    )
