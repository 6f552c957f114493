"""Notices: what happened becomes a row for whom it happened to, once, and a message per channel that is sent by a job.

The bus says where in the log something is that may be told; what it is, is read in the log itself, so that nothing which anybody put
on the bus is ever told. What the bus loses is found by a sweep. A person's rows are numbered under a lock of theirs: whoever has seen
one has seen all of theirs before it, whichever processes wrote them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter

from isthmus.domain.clock import Clock
from isthmus.domain.notices import KINDS, NoticeKind, kind_of
from isthmus.domain.notifications import Channel
from isthmus.failpoints import failpoint_async
from isthmus.outages import DATABASE_AWAY
from isthmus.write_models.connection import Connection, Pool
from isthmus.write_models.shared_time import shared_now
from isthmus.write_models.timers import enqueue, enqueue_all

SEND_NOTICE = "send_notice"
#: What is this old is the sweep's to find: the bus had its time.
SWEEP_AFTER = timedelta(seconds=30)
#: What cannot be written for so long is passed by.
_GIVE_UP = timedelta(hours=1)
_SWEEP_EVENTS, _SWEEP_ROUNDS, _STRAY = 20_000, 10, 200

_COLUMNS = """
select position, event_id, aggregate_id, type, committed_at, data->>'owner' as owner, metadata->>'actor' as actor
from event_store where type = any($1)"""
_HEAD = """
insert into notification_heads as h (owner) values ($1) on conflict (owner) do update set last = h.last
returning h.last, coalesce($2::timestamptz, statement_timestamp()) as now"""
_NOTE = """
insert into notifications (id, owner, number, kind, subject_id, happened_at)
select id, $1, $2::bigint + n, kind, subject_id, at
from unnest($3::uuid[], $4::text[], $5::uuid[], $6::timestamptz[]) with ordinality as t (id, kind, subject_id, at, n)"""

told = Counter(
    "isthmus_notifications_total",
    "Notifications by kind, channel and outcome: sent, again (tried again), failed, late (not told any more, only listed), "
    "unwanted, erased.",
    ["kind", "channel", "outcome"],
)
_swept = Counter("isthmus_notifications_swept_total", "Notifications that the bus did not bring and the sweep found.")
_failed = Counter("isthmus_notifications_unwritten_total", "Times that a person's notifications could not be written.")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Noted:
    """Something that happened to a person, and is told."""

    position: int
    event_id: UUID
    owner: UUID
    kind: NoticeKind
    subject_id: UUID
    at: datetime


class Notices:
    """`channels`: those that carry anything at all. What happened longer ago than `within` is listed and not sent any more."""

    def __init__(self, pool: Pool, channels: Sequence[Channel], within: timedelta, clock: Clock) -> None:
        self._pool = pool
        self._channels = channels
        self._within = within
        self._clock = clock

    async def take(self, positions: Sequence[int]) -> int:
        """Note what happened at these places of the log. Again and again is once. Returns how many are new."""
        if not positions:
            return 0
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(f"{_COLUMNS} and position = any($2::bigint[])", list(KINDS), list(positions))
        new, _ = await self._note(_noted(rows))
        return new

    async def tell(self, connection: Connection, owner: UUID, kind: NoticeKind, notice_id: UUID) -> None:
        """Of what is in no log, in the transaction in which it happens. `notice_id`: a new one."""
        at = await shared_now(connection, self._clock)
        await self._write(connection, owner, [Noted(0, notice_id, owner, kind, owner, at)])

    async def sweep(self) -> int:
        """Note what the bus did not bring, and have those messages sent that nobody is about to send. Returns how many notices are new."""
        new = 0
        for _ in range(_SWEEP_ROUNDS):
            async with self._pool.acquire() as connection, connection.transaction():
                start = await connection.fetchval("select position from notification_cursor for update skip locked")
                if start is None:
                    break  # another process is at it
                found, more = await self._sweep_from(connection, start)
                new += found
            if not more:
                break
        _swept.inc(new)
        await self._stray()
        return new

    async def _sweep_from(self, connection: Connection, start: int) -> tuple[int, bool]:
        """How many are new, and whether there may be more."""
        now = await connection.fetchval("select coalesce($1::timestamptz, statement_timestamp())", self._clock.stamp())
        end = await connection.fetchval(
            "select max(position) from (select position from event_store where position > $1 and committed_at <= $2 "
            "order by position limit $3) as s",
            start,
            now - SWEEP_AFTER,
            _SWEEP_EVENTS,
        )
        if end is None:
            return 0, False
        rows = await connection.fetch(
            f"{_COLUMNS} and position > $2 and position <= $3 order by position", list(KINDS), start, end
        )
        new, unwritten = await self._note(_noted(rows))
        if any(now - one.at < _GIVE_UP for one in unwritten):
            return new, False  # from the same place, the next time
        await connection.execute("update notification_cursor set position = $1", end)
        return new, end - start >= _SWEEP_EVENTS

    async def _note(self, noted: Sequence[Noted]) -> tuple[int, list[Noted]]:
        """How many are new, and which could not be written: one person's trouble is no other's. Raises where the database is away."""
        of_owner: dict[UUID, list[Noted]] = {}
        for one in noted:
            of_owner.setdefault(one.owner, []).append(one)
        new, unwritten = 0, []
        for owner, theirs in of_owner.items():
            try:
                new += await self._note_for(owner, sorted(theirs, key=lambda one: one.position))
            except DATABASE_AWAY:
                raise
            except asyncpg.PostgresError as error:
                _failed.inc()
                log.error("a notification could not be written", error=type(error).__name__, events=len(theirs))
                unwritten += theirs
        return new, unwritten

    async def _note_for(self, owner: UUID, theirs: Sequence[Noted]) -> int:
        async with self._pool.acquire() as connection, connection.transaction():
            return await self._write(connection, owner, theirs)

    async def _write(self, connection: Connection, owner: UUID, theirs: Sequence[Noted]) -> int:
        head = await connection.fetchrow(_HEAD, owner, self._clock.stamp())
        assert head is not None, "it was made if it was not there"
        known = await connection.fetch(
            "select id from notifications where id = any($1::uuid[])", [one.event_id for one in theirs]
        )
        new = [one for one in theirs if one.event_id not in {row["id"] for row in known}]
        if not new:
            return 0
        columns = zip(*((one.event_id, one.kind.value, one.subject_id, one.at) for one in new), strict=True)
        await connection.execute(_NOTE, owner, head["last"], *(list(column) for column in columns))
        await connection.execute("update notification_heads set last = last + $2 where owner = $1", owner, len(new))
        await self._want(connection, new, head["now"])
        return len(new)

    async def _want(self, connection: Connection, new: Sequence[Noted], now: datetime) -> None:
        """Have them sent, in the transaction that notes them."""
        messages = []
        for one in new:
            if now - one.at <= self._within:
                messages += [(one.event_id, channel.value) for channel in self._channels]
                continue
            for channel in self._channels:
                told.labels(one.kind, channel, "late").inc()
        await connection.execute(
            "insert into notification_deliveries (notification_id, channel) select * from unnest($1::uuid[], $2::text[])",
            [event_id for event_id, _ in messages],
            [channel for _, channel in messages],
        )
        await enqueue_all(connection, SEND_NOTICE, [job_of(*message) for message in messages])
        await failpoint_async("notices.noted")

    async def _stray(self) -> None:
        """A job that failed stays so, and is not tried again by itself."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                "select notification_id, channel from notification_deliveries where state = 'WAITING' and look_at < now() - $1::interval "
                "order by look_at limit $2",
                SWEEP_AFTER,
                _STRAY,
            )
            for row in rows:
                payload = job_of(row["notification_id"], row["channel"])
                await enqueue(connection, SEND_NOTICE, payload, dedupe_key=f"{SEND_NOTICE}:{payload.decode()}")


def job_of(notification_id: UUID, channel: str) -> bytes:
    return f"{notification_id} {channel}".encode()


def _noted(rows: Sequence[asyncpg.Record]) -> list[Noted]:
    found = []
    for row in rows:
        owner = UUID(row["owner"])
        kind = kind_of(row["type"], owner, row["actor"])
        if kind is not None:
            found.append(Noted(row["position"], row["event_id"], owner, kind, row["aggregate_id"], row["committed_at"]))
    return found
