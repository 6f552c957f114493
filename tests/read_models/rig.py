"""What the tests of the read side stand on: the log as the relay would publish it, and a bus that does what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from isthmus.domain.log import (
    PARTITIONS,
    LoggedEvent,
    Message,
    Received,
    Shift,
    logged,
    record_messages,
    tick_messages,
)
from isthmus.integrations.bus import BusUnavailable
from isthmus.read_models.positions import log_identity
from isthmus.read_models.projections import Advanced, ensure_positions
from isthmus.read_models.projector import Projector


async def read_log(connection: Any, after: int = 0) -> list[LoggedEvent]:
    rows = await connection.fetch(
        "select position, event_id, aggregate_type, aggregate_id, version, type, schema_version, data::text as data, "
        "metadata::text as metadata, committed_at, hash from event_store where position > $1 order by position",
        after,
    )
    return [logged(row) for row in rows]


@dataclass(frozen=True)
class Batch:
    """One batch of the relay: what it put into each partition, the tick last."""

    start: int
    end: int
    messages: Mapping[int, Sequence[Received]]


async def batches(connection: Any, size: int = 5) -> list[Batch]:
    """The whole log, cut into batches as the relay does."""
    identity = await log_identity(connection)
    events = await read_log(connection)
    made = []
    for first in range(0, len(events), size):
        some = events[first : first + size]
        start, end = some[0].position - 1, some[-1].position
        records, counts = record_messages(identity, some)
        made.append(Batch(start, end, by_partition([*records, *tick_messages(identity, start, end, counts)])))
    return made


def by_partition(messages: Sequence[Message]) -> dict[int, list[Received]]:
    found: dict[int, list[Received]] = {number: [] for number in range(PARTITIONS)}
    for message in messages:
        assert message.partition is not None
        found[message.partition].append(
            Received(message.partition, 0, message.key, message.value, dict(message.headers))
        )
    return found


async def until(reached: Callable[[], Awaitable[bool]], within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while not await reached():  # noqa: ASYNC110 - tests look from outside, where nothing can be waited for
            await asyncio.sleep(0.01)


def is_tick(message: Received) -> bool:
    return message.headers.get("kind") == b"tick"


@dataclass
class ScriptedBus:
    """A consumer that is handed what arrives. `idle` is set once everything was taken."""

    waiting: asyncio.Queue[Mapping[int, list[Received]]] = field(default_factory=asyncio.Queue)

    async def start(self, assigned: Shift, _revoked: Shift, /) -> None:
        await assigned(frozenset(range(PARTITIONS)))

    async def aclose(self) -> None: ...

    async def poll(self, timeout_s: float, records_max: int) -> Mapping[int, list[Received]]:
        try:
            async with asyncio.timeout(timeout_s):
                return await self.waiting.get()
        except TimeoutError:
            return {}

    async def remember(self, offsets: Mapping[int, int]) -> None: ...


@dataclass
class ByHand:
    """A projector that is fed by the test, without a loop of its own: nothing happens that the test did not do."""

    projector: Projector
    identity: str
    moved: list[Advanced]

    @classmethod
    async def on(cls, pool: asyncpg.Pool[asyncpg.Record]) -> ByHand:
        moved: list[Advanced] = []
        async with pool.acquire() as connection:
            await ensure_positions(connection)
            identity = await log_identity(connection)
        return cls(Projector(pool, ScriptedBus, (BusUnavailable,), moved.extend), identity, moved)

    async def take(self, messages: Mapping[int, Sequence[Received]]) -> None:
        await self.projector._process(self.identity, {n: some for n, some in messages.items() if some})

    async def take_all(self, made: Sequence[Batch]) -> None:
        for batch in made:
            await self.take(batch.messages)
