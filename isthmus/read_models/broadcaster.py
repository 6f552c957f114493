"""After the commit: balances to Redis and hints to whoever watches. Nothing depends on it, so nothing waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from isthmus import tracing
from isthmus.ending import end_if_cancelled
from isthmus.failpoints import failpoint_async
from isthmus.read_models.balance_cache import apply_to
from isthmus.read_models.feed_wire import FEED, Change, Move, hints, move_of
from isthmus.read_models.projections import Advanced

#: More moves than this in waiting (Redis is away) are let go: their readers find the gap.
WAITING_MAX = 2_000
HEARTBEAT_S = 1.0
_PAUSE_S = 0.5

_sent = Counter("isthmus_feed_messages_total", "Hints published.")
_lost = Counter("isthmus_feed_lost_total", "Moves that were not told because Redis was away.")

log = structlog.get_logger(__name__)


@dataclass
class Broadcaster:
    """`applied` takes what was committed; `run` tells it. `heads` is asked once a second, for the heartbeat."""

    redis: Redis
    identity: str
    heads: Callable[[], Mapping[int, int]]
    timeout_s: float = 2.0
    _waiting: deque[Move] = field(default_factory=lambda: deque(maxlen=WAITING_MAX))
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def applied(self, moved: Sequence[Advanced]) -> None:
        for one in moved:
            if len(self._waiting) == WAITING_MAX:
                _lost.inc()
            self._waiting.append(move_of(one))
        self._arrived.set()

    async def run(self) -> None:
        beat = asyncio.get_running_loop().time()
        while True:
            end_if_cancelled()  # whatever became of it on the way through the client
            now = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(max(beat + HEARTBEAT_S - now, 0)):
                    await self._arrived.wait()
            except TimeoutError:
                beat = asyncio.get_running_loop().time()
                await self._tell((), self.heads())
                continue
            self._arrived.clear()
            moves = tuple(self._waiting)
            self._waiting.clear()
            await failpoint_async("broadcaster.before_tell")
            with tracing.shared("tell feed", lambda: [origin for move in moves for origin in move.traces]):  # noqa: B023 - asked here
                await self._tell(moves, {})

    async def _tell(self, moves: Sequence[Move], heads: Mapping[int, int]) -> None:
        """The cache first: whoever reads because of the hint finds it there."""
        try:
            async with asyncio.timeout(self.timeout_s):
                pipeline = self.redis.pipeline(transaction=False)
                for move in moves:
                    newest: dict[UUID, Change | None] = {change.account_id: change for change in move.changes}
                    newest |= dict.fromkeys(move.parked)
                    apply_to(pipeline, self.identity, move.partition, move.start, move.end, newest.items())
                for hint in hints(self.identity, moves, heads):
                    pipeline.execute_command("PUBLISH", FEED, hint)
                    _sent.inc()
                await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            _lost.inc(len(moves))
            log.warning("Redis is away: balances are served from the database", error=type(error).__name__)
            await asyncio.sleep(_PAUSE_S)
