"""How far behind the bus and the projections are: in positions, and in seconds since the oldest event that they lack."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from isthmus.read_models.database import ACQUIRE_TIMEOUT_S


@dataclass(frozen=True)
class Lag:
    position: int
    behind: int
    seconds: float


@dataclass(frozen=True)
class LogHealth:
    head: int
    bus: Lag
    projections: Lag
    #: Records that are set aside, as this release does not understand them.
    parked: int


#: The whole verification is long on purpose. Other roles' transactions are seen with pg_read_all_stats only.
_OLDEST = """
select coalesce(max(extract(epoch from clock_timestamp() - xact_start)), 0)::float8 from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and application_name <> 'isthmus work'"""


async def oldest_transaction_s(pool: asyncpg.Pool) -> float:
    async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        age: float = await connection.fetchval(_OLDEST)
    return max(age, 0.0)


async def log_health(pool: asyncpg.Pool, at: datetime | None = None) -> LogHealth:
    """`at` None is now by the database's clock."""
    async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        head = await connection.fetchval("select position from log_head")
        relayed = await connection.fetchval("select coalesce(max(position), 0) from relay_state where name = 'relay'")
        projected = await connection.fetchval("select coalesce(min(position), 0) from read_models.projection_positions")
        parked = await connection.fetchval("select count(*) from read_models.parked_events")
        lags: list[Lag] = []
        for position in (relayed, projected):
            seconds = await connection.fetchval(
                "select extract(epoch from coalesce($2, clock_timestamp()) - committed_at)::float8 from event_store "
                "where position = $1 + 1",
                position,
                at,
            )
            lags.append(Lag(position, max(head - position, 0), max(seconds or 0.0, 0.0)))
    return LogHealth(head, lags[0], lags[1], parked)
