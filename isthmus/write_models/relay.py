"""The relay: publishes the log, in order, at least once, by one process at a time.

Positions are commit order without gaps, so that "what is above the last one" misses nothing. Each batch goes out as records, its
integration events, and one tick into every partition; when nothing happens, a tick a second. Only what the broker acknowledged
moves the position, and only while this process holds the lease. A broker that comes back empty is noticed by its own offsets, and
everything from the lowest position that a projection has is published again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter

from isthmus import tracing
from isthmus.domain.log import PARTITIONS, TOPIC, LoggedEvent, Message, Placed, logged, record_messages, tick_messages
from isthmus.ending import end_if_cancelled
from isthmus.failpoints import failpoint_async

CHANNEL = "isthmus_log"
TICK_EVERY_S = 1.0
_PAUSE_S, _PAUSE_MAX_S = 0.05, 2.0
_STATE, _OFFSET = "relay", "relay offset"

_published = Counter("isthmus_relay_events_total", "Events published, those published again included.")
_failed = Counter("isthmus_relay_failures_total", "Batches that the broker did not acknowledge.")
_forgotten = Counter("isthmus_relay_broker_forgot_total", "Times that the broker had lost what it had acknowledged.")

log = structlog.get_logger(__name__)


class Publisher(Protocol):
    """The port to the broker. Whatever fails does so as one of `failures`, given to the relay."""

    @property
    def remade(self) -> int:
        """How often topics had to be made that had been there: a broker that forgot."""

    async def ensure_topics(self, partitions: Mapping[str, int]) -> None: ...

    async def publish(self, messages: Sequence[Message]) -> list[Placed]: ...

    async def end_offsets(self, topic: str, partitions: int) -> Mapping[int, int] | None: ...


class Fence(Protocol):
    """A lease that is held: its name, and who holds it for the how-manieth time."""

    @property
    def name(self) -> str: ...

    @property
    def holder(self) -> UUID: ...

    @property
    def epoch(self) -> int: ...


class Fenced(Exception):
    """Another process took over: this one must not move the position any more."""


@dataclass
class Relay:
    """`run` under a lease until it is cancelled. `connect` gives a connection of the relay's own."""

    connect: Callable[[], Awaitable[asyncpg.Connection[asyncpg.Record]]]
    publisher: Publisher
    failures: tuple[type[Exception], ...]
    batch: int = 500
    tick_every_s: float = TICK_EVERY_S
    position: int = 0
    _remade: int = 0
    _ends: dict[int, int] = field(default_factory=dict)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, fence: Fence) -> None:
        """Raises what the database raises, and Fenced; the broker's failures are waited out."""
        connection = await self.connect()
        try:
            await connection.add_listener(CHANNEL, lambda *_: self._woken.set())
            # Losing the last position costs publishing a batch again; waiting for the disk would cost every batch.
            await connection.execute("set synchronous_commit = off")
            identity = await log_identity(connection)
            await self._patiently(lambda: self._begin(connection, fence))
            while True:
                self._woken.clear()
                events = await self._read(connection)
                await self._patiently(lambda: self._publish(connection, fence, identity, events))  # noqa: B023 - awaited here
                if len(events) < self.batch:
                    await self._sleep()
        finally:
            await connection.close(timeout=1.0)

    async def _patiently(self, step: Callable[[], Awaitable[None]]) -> None:
        """The same step again until the broker takes it. Writers do not wait for this."""
        pause_s = _PAUSE_S
        while True:
            try:
                await step()
            except self.failures as error:
                end_if_cancelled()
                _failed.inc()
                log.warning("the broker does not take it", error=str(error), position=self.position)
                await asyncio.sleep(random.uniform(pause_s / 2, pause_s))
                pause_s = min(pause_s * 2, _PAUSE_MAX_S)
            else:
                return

    async def _begin(self, connection: asyncpg.Connection[asyncpg.Record], fence: Fence) -> None:
        await self.publisher.ensure_topics({TOPIC: PARTITIONS})
        self._remade = self.publisher.remade
        ends = await self.publisher.end_offsets(TOPIC, PARTITIONS)
        rows = await connection.fetch("select name, position from relay_state where name in ($1, $2)", _STATE, _OFFSET)
        state = {row["name"]: row["position"] for row in rows}
        self.position = state.get(_STATE, 0)
        if _STATE not in state:
            # Nothing was ever kept. Projections may be on already, by the event store; others have nothing but the bus.
            return
        # Ticks go into every partition, so one of them tells for all.
        if ends is None or ends.get(0, 0) <= state.get(_OFFSET, -1):
            await self._go_back(connection, fence)
        self._ends = {number: end - 1 for number, end in (ends or {}).items()}

    async def _read(self, connection: asyncpg.Connection[asyncpg.Record]) -> list[LoggedEvent]:
        rows = await connection.fetch(
            "select position, event_id, aggregate_type, aggregate_id, version, type, schema_version, data::text as data, "
            "metadata::text as metadata, committed_at, hash from event_store where position > $1 order by position limit $2",
            self.position,
            self.batch,
        )
        return [logged(row) for row in rows]

    async def _publish(
        self,
        connection: asyncpg.Connection[asyncpg.Record],
        fence: Fence,
        identity: str,
        events: Sequence[LoggedEvent],
    ) -> None:
        await failpoint_async("relay.read")
        if self.publisher.remade != self._remade:
            self._remade = self.publisher.remade
            await self._go_back(connection, fence)
            return
        start, end = self.position, events[-1].position if events else self.position
        with tracing.shared(f"publish {TOPIC}", lambda: _origins(events)) as traces:
            messages, counts = record_messages(identity, events, traces)
            messages += tick_messages(identity, start, end, counts)
            if events:
                messages += await self._integration(connection, start, end)
            placed = await self.publisher.publish(messages)
        await failpoint_async("relay.published")
        if self._forgot(placed):
            await self._go_back(connection, fence)
            return
        self.position = end
        _published.inc(len(events))
        if events:
            await self._keep(connection, fence)
            await failpoint_async("relay.kept")

    async def _integration(self, connection: asyncpg.Connection[asyncpg.Record], start: int, end: int) -> list[Message]:
        rows = await connection.fetch(
            "select id, aggregatetype, aggregateid, type, payload::text as payload, position, correlation_id "
            "from outbox where position > $1 and position <= $2 order by position, id",
            start,
            end,
        )
        return [
            Message(
                row["type"],
                row["aggregateid"].encode(),
                row["payload"].encode(),
                (
                    ("event_id", str(row["id"]).encode()),
                    ("position", str(row["position"]).encode()),
                    ("aggregate", f"{row['aggregatetype']}:{row['aggregateid']}".encode()),
                    ("correlation_id", row["correlation_id"].encode()),
                ),
            )
            for row in rows
        ]

    def _forgot(self, placed: Sequence[Placed]) -> bool:
        """Offsets only rise, unless what had them is gone."""
        forgot = False
        for one in placed:
            if one.topic == TOPIC:
                forgot = forgot or one.offset <= self._ends.get(one.partition, -1)
                self._ends[one.partition] = one.offset
        return forgot

    async def _go_back(self, connection: asyncpg.Connection[asyncpg.Record], fence: Fence) -> None:
        _forgotten.inc()
        lowest = min(self.position, await self._lowest(connection))
        log.warning("the broker forgot; publishing again", position=self.position, lowest=lowest)
        self.position = lowest
        await self._keep(connection, fence)

    async def _lowest(self, connection: asyncpg.Connection[asyncpg.Record]) -> int:
        lowest: int = await connection.fetchval(
            "select coalesce(min(position), 0)::bigint from read_models.projection_positions"
        )
        return lowest

    async def _keep(self, connection: asyncpg.Connection[asyncpg.Record], fence: Fence) -> None:
        kept = await connection.fetch(
            "insert into relay_state (name, position) select n, p from unnest($1::text[], $2::bigint[]) as k (n, p) "
            "where exists (select from leases where name = $3 and holder = $4 and epoch = $5) "
            "on conflict (name) do update set position = excluded.position returning name",
            [_STATE, _OFFSET],
            [self.position, self._ends.get(0, -1)],
            fence.name,
            fence.holder,
            fence.epoch,
        )
        if not kept:
            raise Fenced(fence.name)

    async def _sleep(self) -> None:
        """Until the next commit says so, or it is time for a tick (which also reads again, should a wake-up be lost)."""
        try:
            async with asyncio.timeout(self.tick_every_s):
                await self._woken.wait()
        except TimeoutError:
            return


def _origins(events: Sequence[LoggedEvent]) -> list[tracing.Origin]:
    return [(told.traceparent, told.correlation_id) for event in events if (told := event.told()) is not None]


async def log_identity(connection: Any) -> str:
    """Which log this is: two databases may be given one broker, and must not take each other's events."""
    identity: str = await connection.fetchval(
        "select (select system_identifier from pg_control_system())::text || '.' || "
        "(select oid from pg_database where datname = current_database())::text"
    )
    return identity
