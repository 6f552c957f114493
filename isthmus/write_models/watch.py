"""The verifier that runs all the time: what is new within a second of its commit, and the past again, a stretch at a time.

Each round looks at one snapshot, so that commits under way are seen whole or not at all, and writes nothing that a writer waits for.
It does a bounded piece of work; behind on the log it goes on at once, for at most half of its time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import structlog
from prometheus_client import Counter, Gauge, Histogram

from isthmus.write_models.findings import counted, keep
from isthmus.write_models.invariants import CHECKS
from isthmus.write_models.slices import Violation, verify_slice

NEW_EVERY_S = 1.0
SWEEP_EVERY_S = 5.0
SLICE_EVENTS = 1_000

_violations = Gauge(
    "isthmus_ledger_violations",
    "Violations known, by invariant. Must be 0. Told by the process that verifies; a whole verification takes back what is mended.",
    ["invariant"],
)
_verified = Gauge(
    "isthmus_ledger_verified_timestamp_seconds", "When the last whole verification that came to its end had begun."
)
_verify_interval = Gauge(
    "isthmus_ledger_verify_interval_seconds",
    "How often a whole verification is to begin (ISTHMUS_WORK__VERIFY_EVERY_MINUTES).",
)
_checked = Gauge("isthmus_ledger_checked_timestamp_seconds", "When the verifier last looked at what is new.")
_unchecked = Gauge(
    "isthmus_ledger_unchecked_events", "Events that the verifier has not looked at yet; 0 in a process that is not it."
)
_events = Counter("isthmus_ledger_checked_events_total", "Events that the verifier looked at, by part.", ["part"])
_seconds = Histogram(
    "isthmus_ledger_check_seconds",
    "One stretch of the log verified, by part: new, or sweep.",
    ["part"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)

log = structlog.get_logger(__name__)


@dataclass
class Watch:
    """`run` under a lease until cancelled. `connect` gives a connection of its own. `sweep_events` 0: the past is left alone.

    `whole_every_s` is told only: how often somebody else is to verify the whole.
    """

    connect: Callable[[], Awaitable[asyncpg.Connection[asyncpg.Record]]]
    sweep_events: int = SLICE_EVENTS
    whole_every_s: float = 3_600.0
    slice_events: int = SLICE_EVENTS
    new_every_s: float = NEW_EVERY_S
    sweep_every_s: float = SWEEP_EVERY_S

    async def run(self) -> None:
        """Raises what the database raises."""
        connection = await self.connect()
        swept_at = time.monotonic() - self.sweep_every_s
        try:
            while True:
                began = time.monotonic()
                sweep = self.sweep_events > 0 and began - swept_at >= self.sweep_every_s
                if sweep:
                    swept_at = began
                behind = await self.round(connection, sweep=sweep)
                took = time.monotonic() - began
                await asyncio.sleep(took if behind else max(self.new_every_s, took))
        finally:
            # Another process verifies now, or none: what this one knew is no longer news.
            _violations.clear()
            _unchecked.set(0)
            connection.terminate()

    async def round(self, connection: asyncpg.Connection[asyncpg.Record], *, sweep: bool) -> bool:
        """One look. Whether there is more that is new."""
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            head: int = await connection.fetchval("select position from log_head")
            state = await connection.fetchrow("select checked, swept, verified_at from verifier_state")
            assert state is not None, "its row is made with the table"
            start: int = min(state["checked"], head)  # an older backup was restored
            end = min(head, start + self.slice_events)
            found = await self._look(connection, "new", start, end)
            swept_to = state["swept"]
            if sweep:
                swept_from = 0 if swept_to >= start else swept_to
                swept_to = min(start, swept_from + self.sweep_events)
                found += await self._look(connection, "sweep", swept_from, swept_to)
        await keep(connection, found, end)
        if (end, swept_to) != (state["checked"], state["swept"]):
            await connection.execute("update verifier_state set checked = $1, swept = $2", end, swept_to)
        self._tell(await counted(connection), head - end)
        if state["verified_at"] is not None:
            _verified.set(state["verified_at"].timestamp())
        return end < head

    async def _look(
        self, connection: asyncpg.Connection[asyncpg.Record], part: str, start: int, end: int
    ) -> list[Violation]:
        if start == end:
            return []
        with _seconds.labels(part).time():
            try:
                async with connection.transaction():  # a savepoint: the snapshot is used again
                    found = list(await verify_slice(connection, start, end))
            except asyncpg.DataError as error:
                found = [Violation("journals_are_events", f"positions {start + 1} to {end} cannot be read: {error}")]
        _events.labels(part).inc(end - start)
        return found

    def _tell(self, known: dict[str, int], unchecked: int) -> None:
        for name in {check.name for check in CHECKS} | known.keys():
            _violations.labels(name).set(known.get(name, 0))
        _checked.set(time.time())
        _unchecked.set(unchecked)
        _verify_interval.set(self.whole_every_s)
