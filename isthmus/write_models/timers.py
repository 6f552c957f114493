"""Timers and scheduled work, on PgQueuer in our own database: begun in our transactions, taken over from a worker that died.

A timer only says "look now": what happens is decided by the same commands as ever, which are safe to repeat. A job that fails stays
where someone sees it (`failed`), and is not tried again by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from isthmus.failpoints import failpoint_async
from isthmus.write_models.connection import Connection

EXPIRE_HOLD = "expire_hold"

_DEQUEUE_S = 1.0
#: A dead worker's jobs are taken over after so long.
_HEARTBEAT_S = 5.0
_SHUTDOWN_S = 3.0
_BATCH = 4
#: Without a bound one worker picks all that waits.
_AT_ONCE = 16

log = structlog.get_logger(__name__)


async def enqueue(
    connection: Connection,
    entrypoint: str,
    payload: bytes | None = None,
    execute_after: timedelta | None = None,
    dedupe_key: str | None = None,
) -> None:
    """Inside the caller's transaction: a rollback leaves nothing. A second one with a key that is still waiting adds nothing."""
    from pgqueuer.queries import Queries

    await Queries.from_asyncpg_connection(connection).enqueue(  # type: ignore[arg-type]  # a pool's proxy does as well
        [entrypoint], [payload], [0], [execute_after], [dedupe_key], on_conflict="skip"
    )


async def enqueue_all(connection: Connection, entrypoint: str, payloads: Sequence[bytes]) -> None:
    """As `enqueue`, for several at once."""
    if payloads:
        from pgqueuer.queries import Queries

        nothing: Any = [None] * len(payloads)
        jobs: Any = list(payloads)
        await Queries.from_asyncpg_connection(connection).enqueue(  # type: ignore[arg-type]  # as above
            [entrypoint] * len(payloads), jobs, [0] * len(payloads), nothing, nothing, on_conflict="skip"
        )


async def take_again(connection: Connection, jobs: Sequence[Any]) -> None:
    """Jobs that failed, by their numbers."""
    if jobs:
        from pgqueuer.queries import Queries

        await Queries.from_asyncpg_connection(connection).requeue_jobs(list(jobs))  # type: ignore[arg-type]  # as above


async def expire_hold_at(connection: Connection, hold_id: UUID, after: timedelta) -> None:
    """Wake up when a hold's time is over."""
    await enqueue(connection, EXPIRE_HOLD, str(hold_id).encode(), after, f"{EXPIRE_HOLD}:{hold_id}")


@dataclass(frozen=True)
class Schedule:
    """Work that comes round. `cron` has five fields, or six with the seconds last."""

    name: str
    cron: str
    work: Callable[[], Awaitable[None]]


@dataclass
class Timers:
    """`run` until cancelled. `connect` gives a connection of its own; `jobs` are what `enqueue` names."""

    connect: Callable[[], Awaitable[asyncpg.Connection[asyncpg.Record]]]
    jobs: Mapping[str, Callable[[bytes | None], Awaitable[None]]] = field(default_factory=dict)
    schedules: tuple[Schedule, ...] = ()

    async def run(self) -> None:
        from pgqueuer import PgQueuer

        connection = await self.connect()
        try:
            manager = PgQueuer.from_asyncpg_connection(connection)
            for name, work in self.jobs.items():
                manager.entrypoint(name, on_failure="hold", accepts_context=False)(_job(manager.connection, work))
            for schedule in self.schedules:
                manager.schedule(schedule.name, schedule.cron, clean_old=True, accepts_context=False)(_round(schedule))
            running = asyncio.create_task(
                manager.run(
                    dequeue_timeout=timedelta(seconds=_DEQUEUE_S),
                    heartbeat_timeout=timedelta(seconds=_HEARTBEAT_S),
                    batch_size=_BATCH,
                    max_concurrent_tasks=_AT_ONCE,
                    shutdown_on_listener_failure=True,
                )
            )
            try:
                await asyncio.shield(running)
            finally:
                # What is under way ends first, for a while: cut off, it would wait for its heartbeat to run out.
                manager.shutdown.set()
                await asyncio.wait({running}, timeout=_SHUTDOWN_S)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
        finally:
            connection.terminate()


def _job(queue: Any, work: Callable[[bytes | None], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    from pgqueuer.models import Job

    async def run(job: Job) -> None:
        # It does not wait any more: who asks for the same from here on asks for another look, since this one may be past what they saw.
        await queue.execute("update pgqueuer set dedupe_key = null where id = $1", job.id)
        await failpoint_async("timers.job")
        await work(job.payload)
        await failpoint_async("timers.done")

    return run


def _round(schedule: Schedule) -> Callable[..., Awaitable[None]]:
    from pgqueuer.models import Schedule as Row

    async def run(_: Row) -> None:
        try:
            await schedule.work()
        except Exception as error:  # noqa: BLE001 - it comes round again
            log.error("scheduled work failed", schedule=schedule.name, error=f"{type(error).__name__}: {error}")

    return run


def every_seconds(seconds: float) -> str:
    """A cron expression that comes round about so often; from a minute on, whole minutes."""
    if seconds >= 60:
        return every_minutes(int(seconds // 60))
    return f"* * * * * */{max(int(seconds), 1)}"


def every_minutes(minutes: int) -> str:
    if minutes < 60:
        return f"*/{minutes} * * * *"
    hours = minutes // 60
    return f"0 */{hours} * * *" if hours < 24 else "0 0 * * *"


async def bring_forward(connection: Connection, by: timedelta) -> int:
    """Have all that waits wait so much less, since the clock was moved (`isthmus clock`): it is due by the database's, which was not.

    Returns how many jobs. Whoever looks too early for that looks again, as ever.
    """
    moved = await connection.fetch(
        "update pgqueuer set execute_after = execute_after - $1::interval where status = 'queued' and execute_after > now() returning id",
        by,
    )
    await connection.execute(
        "update pgqueuer_schedules set next_run = next_run - $1::interval where status = 'queued' and next_run > now()",
        by,
    )
    return len(moved)


async def make_partitions(connection: Connection, months_ahead: int, at: datetime | None = None) -> None:
    """Of the month that `at` is in (None: now by the database's clock) and those ahead, wherever they are missing."""
    made = await connection.fetchval(
        "select make_entries_partitions((coalesce($2, now()) at time zone 'UTC')::date, $1)", months_ahead, at
    )
    if made:
        log.info("partitions made", partitions=made)
