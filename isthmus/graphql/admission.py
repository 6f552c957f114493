"""What a process takes on at once: no more than it finishes in time. The rest is refused before anything of it is read.

Under more load than can be served, a server that takes everything serves nobody: each answer comes after its client has gone. So
only so many operations run at once, so many may wait for their turn, and who comes then is refused at once. How many that is follows
from what was finished a moment ago while others waited (Little's law: in flight = rate times time): running and waiting take half of
the target each. Nobody has to say what this machine can do, and a burst on an idle process is simply worked off.
Where the event loop comes late, more at once would only make everyone slower, those who are to be refused included: then fewer run.
And where it stood still, what comes right after has waited long enough already.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prometheus_client import Counter, Gauge

from isthmus.graphql.errors import Unavailable

#: So many run in any case; and at first, until it is known what is bearable.
RUNNING_MIN = 8
RETRY_AFTER_S = (1, 3)
LAG_MAX_S = 1.0
_LATE_S = 0.05
_FEWER = 0.7
#: In a request's scope: it was refused, which is counted; a log line for each would be the load that refusing is to spare.
UNTOLD = "isthmus.untold"
_MOMENT_S = 0.25

_refused = Counter(
    "isthmus_admission_refused_total", "Operations refused before anything of them ran, by cause.", ["cause"]
)
for _cause in ("full", "lag", "waited"):
    _refused.labels(_cause)  # zero from the start: no rate can be taken of a series that begins at its first
_running = Gauge("isthmus_admission_running", "Operations that run.")
_waiting = Gauge(
    "isthmus_admission_waiting", "Operations that wait for their turn; for longer than a moment: overload."
)
_limit = Gauge("isthmus_admission_limit", "Operations that may run at once.")


class Overloaded(Unavailable):
    """Nothing ran. `retry_after_s` differs from client to client, so that they do not come back together."""

    def __init__(self) -> None:
        super().__init__(
            "Too busy right now; nothing was done. Try again after a moment, with the same idempotency key."
        )
        self.retry_after_s = random.randint(*RETRY_AFTER_S)


class Admission:
    """One per process. `limit` may run, `room` wait. `lag_s` tells how late the event loop was last; `clock` only rises."""

    def __init__(
        self,
        running_max: int,
        target_s: float,
        lag_s: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._running_max = running_max
        self._target_s = target_s
        self._lag_s = lag_s
        self._clock = clock
        self._turns: deque[tuple[float, asyncio.Future[None]]] = deque()
        self.limit = RUNNING_MIN
        self.room = running_max
        self.running = 0
        self._begin_moment()

    @property
    def waiting(self) -> int:
        return len(self._turns)

    def check(self) -> None:
        """Before a body is read or a token looked at. Raises Overloaded."""
        self._judge()
        if self._lag_s() > LAG_MAX_S:
            raise _counted("lag")
        if self.waiting >= self.room:
            raise _counted("full")

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Around an operation's run; not around waiting for its body or its position, which load nobody. Raises Overloaded."""
        self.check()
        if self.running < self.limit and not self._turns:
            self.running += 1
        else:
            await self._wait()
        _running.set(self.running)
        try:
            yield
        finally:
            self._finished += 1
            self._leave()

    async def _wait(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (self._clock(), turn)
        self._turns.append(entry)
        _waiting.set(self.waiting)
        try:
            async with asyncio.timeout(self._target_s):
                await turn
        except BaseException as error:
            if entry in self._turns:
                self._turns.remove(entry)
            elif turn.done() and not turn.cancelled() and turn.exception() is None:
                self._leave()  # it was given just now, and goes to the next
            if isinstance(error, TimeoutError):
                raise _counted("waited") from None
            raise

    def _leave(self) -> None:
        self.running -= 1
        self._judge()
        while self._turns and self.running < self.limit:
            came, turn = self._turns.popleft()
            if turn.done():
                continue  # its caller has gone
            if self._clock() - came > self._target_s:
                turn.set_exception(_counted("waited"))  # its time was up, and the loop too busy to say so
                continue
            self.running += 1
            turn.set_result(None)
        if not self._turns:
            self._never_idle = False
        _running.set(self.running)
        _waiting.set(self.waiting)

    def _begin_moment(self) -> None:
        self._moment = self._clock()
        self._finished = 0
        self._never_idle = bool(self._turns)

    def _judge(self) -> None:
        """Once a moment. Only where somebody waited all the time does what was finished say what can be done."""
        seconds = self._clock() - self._moment
        if seconds < _MOMENT_S:
            return
        if self._never_idle:
            bearable = int(self._finished / seconds * self._target_s / 2)
            self.room = max(RUNNING_MIN, min(self._running_max, bearable))
            self.limit = max(RUNNING_MIN, int(self.limit * _FEWER)) if self._lag_s() > _LATE_S else self.room
            _limit.set(self.limit)
        self._begin_moment()


def _counted(cause: str) -> Overloaded:
    _refused.labels(cause).inc()
    return Overloaded()
