"""Group commit: commands that wait while a commit is under way share the next one. Nobody is ever held back for company.

One writer task a process. What fails as a group is tried in halves, so that a poisoned command spoils nobody else's commit; alone it
is retried with fresh state. A broken connection is no command's fault: the group is tried again as it is. Retrying is always safe,
even where the outcome of a COMMIT is unknown: the key in the same transaction says whether it happened.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Mapping, Sequence

import asyncpg
import structlog
from prometheus_client import Counter, Histogram

from isthmus import tracing
from isthmus.domain.clock import Clock
from isthmus.domain.code_allowance import NO_LIMITS, CodeLimits
from isthmus.domain.identifiers import IdSource
from isthmus.domain.money import Asset
from isthmus.domain.personal import PersonalTexts
from isthmus.domain.refusals import Conflict
from isthmus.failpoints import failpoint, failpoint_async
from isthmus.outages import DATABASE_AWAY
from isthmus.supervised import Supervised
from isthmus.write_models.asks import Ask
from isthmus.write_models.connection import Pool
from isthmus.write_models.envelope import Outcome, Refused, Unavailable
from isthmus.write_models.unit_of_work import UnitOfWork

#: Half of what may be in flight, so that the next commands are made ready while these are committed.
BATCH_MAX = 128
WAITING_MAX = 4_096
#: Who would wait longer for their turn is refused at once: while the database hangs, callers must not pile up behind it.
WAITING_S_MAX = 2.0
_CONFLICT_TRIES = 5
_BROKEN_TRIES = 3
_PAUSE_S = 0.05

#: Another transaction was in the way: serialization failure, deadlock, lock time-out, a twin's row.
_CONFLICTS = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.UniqueViolationError,
)

_batch_size = Histogram(
    "isthmus_commit_batch_commands", "Commands per commit.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
_refused = Counter("isthmus_commit_refused_total", "Commands refused before they were tried, by cause.", ["cause"])
_retries = Counter("isthmus_commit_retries_total", "Batches tried again, by cause.", ["cause"])

for _cause in ("stopped", "waiting"):
    _refused.labels(_cause)  # zero from the start: no rate can be taken of a series that begins at its first

log = structlog.get_logger(__name__)


class Committer:
    """`start` and `aclose` frame its life. `commit` answers once the command's transaction is durable."""

    def __init__(
        self, pool: Pool, clock: Clock, ids: IdSource, texts: PersonalTexts, code_limits: CodeLimits = NO_LIMITS
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._ids = ids
        self._texts = texts
        self.code_limits = code_limits
        self.assets: Mapping[str, Asset] = {}
        self._waiting: deque[tuple[Ask, asyncio.Future[Outcome]]] = deque()
        self._arrived = asyncio.Event()
        self.part = Supervised("committer", self._run)
        self._task: asyncio.Task[None] | None = None
        self._began: float | None = None
        self._last_s = 0.0
        self._away = False
        """The last attempt found no database: who comes now is told after one more, not after three with their pauses."""

    async def start(self) -> None:
        self._task = self.part.start()

    async def aclose(self) -> None:
        """What was accepted is finished first."""
        if self._task is None:
            return
        if self._waiting:
            await asyncio.wait([answer for _, answer in self._waiting])
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    async def commit(self, ask: Ask) -> Outcome:
        """Raises Unavailable where the database cannot be asked, or too many wait already."""
        if self._task is None or self._task.done() or not self.part.running:
            _refused.labels("stopped").inc()
            raise Unavailable("the writer is not running")
        if len(self._waiting) >= WAITING_MAX or self._wait_s() > WAITING_S_MAX:
            _refused.labels("waiting").inc()
            raise Unavailable("too many commands are waiting")
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, answer))
        self._arrived.set()
        # A caller that goes away takes nothing back: the command is in the batch and will be committed.
        return await asyncio.shield(answer)

    def _wait_s(self) -> float:
        """What is to be expected, by the last commit and by how long the one under way takes already."""
        standing_s = time.monotonic() - self._began if self._began is not None else 0.0
        return max(standing_s, len(self._waiting) / BATCH_MAX * self._last_s)

    async def _run(self) -> None:
        """Whatever ends it, nobody is left to wait for it."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._waiting:
                    await self._next()
        finally:
            while self._waiting:
                _refuse(self._waiting.popleft()[1], Unavailable("the writer stopped; the outcome is unknown"))

    async def _next(self) -> None:
        size = min(len(self._waiting), BATCH_MAX)
        batch = [self._waiting[index] for index in range(size)]
        _batch_size.observe(size)
        self._began = time.monotonic()
        try:
            failpoint("committer.next")
            await self._together(batch)
        finally:
            self._last_s, self._began = time.monotonic() - self._began, None
        for _ in range(size):
            self._waiting.popleft()

    async def _together(self, batch: Sequence[tuple[Ask, asyncio.Future[Outcome]]]) -> None:
        try:
            if len(batch) == 1:
                outcomes: Sequence[Outcome] = [await self._alone(batch[0][0])]
            else:
                outcomes = await self._connected([ask for ask, _ in batch])
        except Unavailable as error:
            for _, answer in batch:
                _refuse(answer, error)
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, each caller is answered
            if len(batch) == 1:
                _refuse(batch[0][1], error)
                return
            _retries.labels("split").inc()
            middle = len(batch) // 2
            await self._together(batch[:middle])
            await self._together(batch[middle:])
            return
        for (_, answer), outcome in zip(batch, outcomes, strict=True):
            if not answer.done():
                answer.set_result(outcome)

    async def _alone(self, ask: Ask) -> Outcome:
        conflicts = 0
        while True:
            try:
                return (await self._connected([ask]))[0]
            except _CONFLICTS as error:
                conflicts += 1
                _retries.labels(type(error).__name__).inc()
                if conflicts >= _CONFLICT_TRIES:
                    return Refused(Conflict("Others are changing the same thing. Send it again with the same key."), 0)
            except asyncpg.CheckViolationError as error:
                conflicts += 1
                if error.table_name != "entries" or error.constraint_name is not None or conflicts >= _CONFLICT_TRIES:
                    raise
                await self._make_partition()
            await asyncio.sleep(random.uniform(0, _PAUSE_S * 2**conflicts))

    async def _connected(self, asks: Sequence[Ask]) -> list[Outcome]:
        """Raises Unavailable once the connection broke too often."""
        broken = 0
        while True:
            try:
                outcomes = await self._attempt(asks)
                self._away = False
                return outcomes
            except DATABASE_AWAY as error:
                broken += 1
                _retries.labels(type(error).__name__).inc()
                if self._away or broken >= _BROKEN_TRIES:
                    self._away = True
                    raise Unavailable("the database does not answer; the outcome is unknown") from error
            await asyncio.sleep(random.uniform(0, _PAUSE_S * 2**broken))

    async def _attempt(self, asks: Sequence[Ask]) -> list[Outcome]:
        with tracing.shared("commit", lambda: [(ask.envelope.trace, ask.envelope.correlation_id) for ask in asks]):
            return await self._transaction(asks)

    async def _transaction(self, asks: Sequence[Ask]) -> list[Outcome]:
        began = time.monotonic()
        await failpoint_async("committer.taken")
        async with self._pool.acquire(timeout=2.0) as connection, connection.transaction():
            unit = UnitOfWork(connection, self._clock, self._ids, self.assets, self._texts, self.code_limits)
            outcomes = await unit.run(asks)
            await failpoint_async("commit.before")
        await failpoint_async("commit.after")
        if time.monotonic() - began > 1.0:
            log.warning("slow commit", seconds=round(time.monotonic() - began, 3), commands=len(asks))
        return outcomes

    async def _make_partition(self) -> None:
        """The clock is ahead of the partitions that `work` makes: it was down for months, or time was set."""
        async with self._pool.acquire(timeout=2.0) as connection:
            await connection.fetchval(
                "select make_entries_partitions((greatest($1, now(), (select committed_at from log_head)) at time zone 'UTC')::date, 1)",
                self._clock.now(),
            )


def _refuse(answer: asyncio.Future[Outcome], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # a caller that went away leaves nobody to fetch it
