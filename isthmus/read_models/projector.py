"""Projectors: the log's partitions into rows, woken by the bus, safe without it.

Kafka's group says who works on which partition; what counts is the table of positions, locked in the same transaction as the rows.
So two that believe they own a partition do no harm, whatever the bus loses is filled from the event store, and where the bus brings
nothing at all for a while (it is down, or the group is still forming) the store is read directly.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg
import msgspec
import structlog
from prometheus_client import Counter, Histogram

from isthmus import tracing
from isthmus.domain.log import PARTITIONS, LogConsumer, Received, read_messages
from isthmus.ending import end_if_cancelled
from isthmus.failpoints import failpoint_async
from isthmus.read_models.positions import log_identity, stored_positions
from isthmus.read_models.projections import Advanced, Step, advance, ensure_positions, mend, read_steps
from isthmus.read_models.projections.facts import Connection
from isthmus.read_models.projections.parked import POISON, why
from isthmus.read_models.refused_records import Refused, keep
from isthmus.read_models.window import Window

GROUP = "isthmus.projectors"
FILL_EVENTS = 500
#: So often a partition is tried, from the event store, before what it cannot project is set aside.
PARK_AFTER_TRIES = 5
POLL_RECORDS_MAX = 4_000
_POLL_S = 1.0
_SWEEP_S = 0.25
_STALLED_S = 1.0
_REMEMBER_S = 2.0
_PAUSE_S, _PAUSE_MAX_S = 0.1, 2.0

_applied = Counter("isthmus_projector_records_total", "Records applied to the projections.")
_filled = Counter("isthmus_projector_filled_total", "Partitions filled from the event store, by cause.", ["cause"])
_failed = Counter("isthmus_projector_failures_total", "Runs that failed and are tried again.")
_seconds = Histogram(
    "isthmus_projector_transaction_seconds",
    "One transaction of the projections.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2),
)

#: Nothing was wrong with the events: the database was not there.
_AWAY = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError)

log = structlog.get_logger(__name__)


@dataclass
class Projector:
    """`run` until cancelled. `applied` is told, after each commit, what moved; it must not block."""

    pool: asyncpg.Pool[asyncpg.Record]
    consumer: Callable[[], LogConsumer]
    failures: tuple[type[Exception], ...]
    applied: Callable[[Sequence[Advanced]], None]
    assigned: frozenset[int] = frozenset()
    _windows: dict[int, Window] = field(default_factory=dict)
    _offsets: dict[int, int] = field(default_factory=dict)
    _tries: dict[int, int] = field(default_factory=dict)

    async def run(self) -> None:
        async with self.pool.acquire() as connection:
            await ensure_positions(connection)
            identity = await log_identity(connection)
        await self.mend()
        # In a task that ends with its group: isthmus/ending.py says why.
        await asyncio.create_task(self._both(identity), name="projector")

    async def _both(self, identity: str) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._consume(identity), name="projector: consume")
            tasks.create_task(self._sweep(), name="projector: sweep")

    async def mend(self) -> None:
        """Try again what was set aside, as a newer release may understand it: once, at the start."""
        for partition in range(PARTITIONS):
            try:
                async with self.pool.acquire() as connection, connection.transaction():
                    mended = await mend(connection, partition)
            except Exception as error:  # noqa: BLE001 - it stays set aside; the next start or a rebuild tries again
                end_if_cancelled()
                _failed.inc()
                log.error("mending failed", partition=partition, error=type(error).__name__)
                continue
            if mended is not None:
                log.info("what was set aside is projected", partition=partition, records=len(mended.facts))
                self.applied([mended])

    async def _consume(self, identity: str) -> None:
        pause_s = _PAUSE_S
        while True:
            consumer = self.consumer()
            try:
                await consumer.start(self._on_assigned, self._on_revoked)
                remembered = time.monotonic()
                while True:
                    polled = await consumer.poll(_POLL_S, POLL_RECORDS_MAX)
                    pause_s = _PAUSE_S
                    await self._process(identity, polled)
                    if time.monotonic() - remembered > _REMEMBER_S and self._offsets:
                        offsets, self._offsets = self._offsets, {}
                        await consumer.remember(offsets)
                        remembered = time.monotonic()
            except self.failures as error:
                log.warning("the bus does not answer; reading the event store meanwhile", error=str(error))
            finally:
                self._windows.clear()
                self.assigned = frozenset()
                await consumer.aclose()
            await asyncio.sleep(random.uniform(pause_s / 2, pause_s))
            pause_s = min(pause_s * 2, _PAUSE_MAX_S)

    async def _on_assigned(self, partitions: frozenset[int]) -> None:
        log.info("partitions assigned", partitions=sorted(partitions))
        self._windows.clear()
        self.assigned = partitions

    async def _on_revoked(self, partitions: frozenset[int]) -> None:
        for partition in partitions:
            self._windows.pop(partition, None)
        self.assigned -= partitions

    async def _process(self, identity: str, polled: Mapping[int, Sequence[Received]]) -> None:
        if any(partition not in self._windows for partition in polled):
            async with self.pool.acquire() as connection:
                stored = await stored_positions(connection)
            for partition in polled:
                self._windows.setdefault(partition, Window(stored[partition]))
        steps: dict[int, Step] = {}
        holes: dict[int, int] = {}
        refused: list[Refused] = []
        for partition, received in polled.items():
            window = self._windows[partition]
            for item in read_messages(
                identity, received, lambda one, error: refused.append(Refused.of(one, why(error)))
            ):
                window.take(item)
            step, hole = window.drain()
            if step is not None:
                steps[partition] = step
            if hole is not None:
                holes[partition] = hole
        try:
            if refused:
                async with self.pool.acquire() as connection:
                    await keep(connection, refused)
            holes |= await self._apply(steps)
            await self.fill(holes, "hole")
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing was moved; the next tick finds the hole
            end_if_cancelled()
            _failed.inc()
            log.error("projecting failed; trying again", error=why(error))
            self._windows.clear()
            await asyncio.sleep(random.uniform(_PAUSE_S, 2 * _PAUSE_S))
        else:
            self._offsets |= {partition: received[-1].offset + 1 for partition, received in polled.items()}

    async def _apply(self, steps: Mapping[int, Step]) -> dict[int, int]:
        """Everything polled in one transaction. Returns what could not be taken, to be filled up to there."""
        if not steps:
            return {}
        now = await self._commit(steps)
        return {number: step.end for number, step in steps.items() if now.get(number, step.start) < step.end}

    async def _commit(self, steps: Mapping[int, Step], *, patient: bool = True) -> dict[int, int]:
        """Together; and where that fails for a reason of the events themselves, one by one, so that one partition stops alone."""
        if len(steps) == 1:
            ((partition, step),) = steps.items()
            return await self._alone(partition, step, patient=patient)
        try:
            return await self._transaction(steps, patient=patient)
        except _AWAY:
            raise
        except Exception as error:  # noqa: BLE001 - whose it is shows when each is tried by itself
            end_if_cancelled()
            log.warning("projecting together failed; one by one", error=why(error))
        now: dict[int, int] = {}
        for partition, step in steps.items():
            try:
                now |= await self._alone(partition, step, patient=patient)
            except Exception as error:  # noqa: BLE001 - it is told, and stays where it is
                end_if_cancelled()
                _failed.inc()
                log.error("a partition stands still", partition=partition, error=why(error))
        return now

    async def _alone(self, partition: int, step: Step, *, patient: bool) -> dict[int, int]:
        """A partition by itself. What is not understood is asked of the event store, which cannot be forged; what is not understood
        there either is set aside after a few tries."""
        parking = 0
        try:
            now = await self._transaction({partition: step}, patient=patient)
        except POISON as error:
            async with self.pool.acquire() as connection:
                steps = await read_steps(connection, {partition: step.start}, step.end)
                forged = _forged(step, steps[partition])
                await keep(
                    connection, [Refused(partition, -1, one, f"not in the event store; {why(error)}") for one in forged]
                )
            if not forged:
                self._tries[partition] = parking = self._tries.get(partition, 0) + 1
                if parking < PARK_AFTER_TRIES:
                    raise
            now = await self._transaction(steps, patient=patient, parking=parking)
        self._tries.pop(partition, None)
        return now

    async def _transaction(self, steps: Mapping[int, Step], *, patient: bool, parking: int = 0) -> dict[int, int]:
        with _seconds.time(), tracing.shared("project", lambda: _origins(steps)):
            async with self.pool.acquire() as connection, connection.transaction():
                await failpoint_async("projector.before_apply")
                moved, now = await advance(connection, steps, patient=patient, parking=parking)
                await failpoint_async("projector.applied")
            await failpoint_async("projector.committed")
        if moved:
            _applied.inc(sum(len(one.facts) for one in moved))
            self.applied(moved)
        return now

    async def fill(self, ends: Mapping[int, int], cause: str, *, patient: bool = True) -> bool:
        """Bring partitions up to `ends` from the event store. Whether any moved."""
        progress = False
        while ends:
            async with self.pool.acquire() as connection:
                stored = await stored_positions(connection)
                todo = {number: stored[number] for number, end in ends.items() if stored[number] < end}
                if not todo:
                    break
                end = min(max(ends.values()), min(todo.values()) + FILL_EVENTS)
                steps = await read_steps(connection, {n: at for n, at in todo.items() if at < end}, end)
            now = await self._commit(steps, patient=patient)
            _filled.labels(cause).inc(len(steps))
            if not any(now.get(number, 0) > step.start for number, step in steps.items()):
                break
            progress = True
        return progress

    async def _sweep(self) -> None:
        """Partitions that are behind the log and have not moved for a second, whoever's they are: nobody is bringing them on."""
        since: dict[int, tuple[int, float]] = {}
        patience_s = dict.fromkeys(range(PARTITIONS), _STALLED_S)
        while True:
            await asyncio.sleep(_SWEEP_S)
            try:
                async with self.pool.acquire() as connection:
                    stored, head = await _behind(connection)
                now, stalled = time.monotonic(), {}
                for number, at in stored.items():
                    if at >= head or since.get(number, (-1, now))[0] != at:
                        if at > since.get(number, (at, now))[0]:
                            patience_s[number] = _STALLED_S
                        since[number] = at, now
                    elif now - since[number][1] >= patience_s[number]:
                        stalled[number] = head
                if stalled and await self.fill(stalled, "stalled", patient=False):
                    # Until someone else moves it, a stalled partition is looked after without waiting again.
                    stored, _ = await self._positions()
                    for number in stalled:
                        since[number], patience_s[number] = (stored[number], time.monotonic()), _SWEEP_S
            except Exception as error:  # noqa: BLE001 - the database is away, or an event is not understood: seen, and tried again
                end_if_cancelled()
                _failed.inc()
                log.error("sweeping failed; trying again", error=why(error))
                await asyncio.sleep(random.uniform(_PAUSE_S, _PAUSE_MAX_S))

    async def _positions(self) -> tuple[dict[int, int], int]:
        async with self.pool.acquire() as connection:
            return await _behind(connection)


def _forged(step: Step, stored: Step) -> list[bytes]:
    """Records that the event store does not have, as they came."""
    known = {(record.position, record.key): record.event for record in stored.records}
    return [
        msgspec.json.encode(record.event)
        for record in step.records
        if known.get((record.position, record.key)) != record.event
    ]


def _origins(steps: Mapping[int, Step]) -> list[tracing.Origin]:
    """What the bus's headers said; of records that came from the store, what was stored."""
    return [
        (record.traceparent or told.traceparent, told.correlation_id)
        for step in steps.values()
        for record in step.records
        if (told := record.event.told()) is not None
    ]


async def _behind(connection: Connection) -> tuple[dict[int, int], int]:
    stored = await stored_positions(connection)
    return stored, await connection.fetchval("select position from log_head")
