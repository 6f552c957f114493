"""How much one user, one address, one API key may ask in a minute: counted in Redis for all processes, by Redis's own clock.

Requests that arrive while Redis is being asked are asked for together in the next round trip, so that a busy process pays for one
round trip per batch, and an idle one waits for nobody. Where Redis does not answer, each process admits its share by itself; what must
not be guessed (signing in) is refused instead.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, NamedTuple

import structlog
from prometheus_client import Counter, Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError

WINDOW_S = 60.0
_LUA = files("isthmus.runtime").joinpath("lua")
_TIMEOUT_S = 0.25
_OUT_OF_USE_S = 1.0
_BATCH_MAX = 128
#: Buckets that a process remembers by itself while Redis is away: more, and the longest unused are forgotten.
_LOCAL_MAX = 100_000

_refused = Counter("isthmus_rate_limited_total", "Requests refused by a rate limit, by the kind of bucket.", ["bucket"])
_local = Gauge("isthmus_rate_limits_local", "1 while Redis does not answer and this process limits by its share.")

log = structlog.get_logger(__name__)


class CountersUnavailable(Exception):
    """Redis does not answer, and this may not be admitted without it."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """`kind` for the metrics, `name` of whom, `limit` per window."""

    kind: str
    name: str
    limit: int

    @property
    def key(self) -> str:
        # Hashed: whoever may list Redis's keys learns no address and no account.
        return f"isthmus:rate:{self.kind}:{hashlib.blake2b(self.name.encode(), digest_size=16).hexdigest()}"


class _Wait(NamedTuple):
    """`full` is the place of the bucket that demands it."""

    seconds: float
    full: int


@dataclass(slots=True)
class _Waiting:
    buckets: Sequence[Bucket]
    answer: asyncio.Future[_Wait]


class RateLimits:
    def __init__(
        self, redis: Redis, *, processes: int = 1, window_s: float = WINDOW_S, timeout_s: float = _TIMEOUT_S
    ) -> None:
        """`processes`: how many share the limits; without Redis this one admits a `processes`-th of each."""
        self._take_script = redis.register_script(_LUA.joinpath("take_requests.lua").read_text(encoding="utf-8"))
        self._give_back_script = redis.register_script(_LUA.joinpath("give_back.lua").read_text(encoding="utf-8"))
        self._processes = processes
        self._window_s = window_s
        self._timeout_s = timeout_s
        self._waiting: list[_Waiting] = []
        self._asking: asyncio.Task[None] | None = None
        self._out_of_use_until = -math.inf
        self._own = _OwnCounters(window_s)

    async def take(self, *buckets: Bucket, even_without_redis: bool = True) -> float:
        """0 where it is admitted by all buckets, and counted in them; else how long to wait, in seconds, and nothing was counted.

        Raises CountersUnavailable where Redis does not answer and it must not be admitted without.
        """
        wait = await self._shared(buckets)
        if wait is None:
            if not even_without_redis:
                raise CountersUnavailable
            shares = [Bucket(b.kind, b.name, max(1, b.limit // self._processes)) for b in buckets]
            wait = self._own.take(shares, time.monotonic())
        if wait.seconds:
            _refused.labels(buckets[wait.full].kind).inc()
        return wait.seconds

    async def give_back(self, *buckets: Bucket) -> None:
        """What was taken turned out not to count. Where Redis does not answer it stays counted."""
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                await self._give_back_script([bucket.key for bucket in buckets])

    async def _shared(self, buckets: Sequence[Bucket]) -> _Wait | None:
        """None: Redis does not answer."""
        if time.monotonic() < self._out_of_use_until:
            return None
        waiting = _Waiting(buckets, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name="rate limits")
        try:
            return await waiting.answer
        except CountersUnavailable:
            return None

    async def _ask(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH_MAX], self._waiting[_BATCH_MAX:]
                try:
                    await self._ask_for(batch)
                finally:
                    for each in batch:  # whatever went wrong, nobody waits for it
                        if not each.answer.done():
                            each.answer.set_exception(CountersUnavailable())
        finally:
            self._asking = None

    async def _ask_for(self, batch: Sequence[_Waiting]) -> None:
        keys: list[str] = []
        arguments: list[Any] = [round(self._window_s * 1_000)]
        for each in batch:
            keys += [bucket.key for bucket in each.buckets]
            arguments += [len(each.buckets), *(bucket.limit for bucket in each.buckets)]
        try:
            async with asyncio.timeout(self._timeout_s):
                waits = await self._take_script(keys, arguments)
        except (RedisError, OSError, TimeoutError) as error:
            self._out_of_use_until = time.monotonic() + _OUT_OF_USE_S
            _local.set(1)
            log.warning("rate limits are this process's share meanwhile", error=type(error).__name__)
            return
        _local.set(0)
        for each, wait_ms, full in zip(batch, waits[::2], waits[1::2], strict=True):
            if not each.answer.done():
                each.answer.set_result(_Wait(wait_ms / 1_000, full))


class _OwnCounters:
    """The same windows as in Redis (take_requests.lua), in this process."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._counts: OrderedDict[str, tuple[int, int, int]] = OrderedDict()

    def take(self, buckets: Sequence[Bucket], now: float) -> _Wait:
        slot, into = divmod(now, self._window_s)
        wait, counts = _Wait(0.0, 0), []
        for place, bucket in enumerate(buckets):
            at, count, before = self._counts.get(bucket.key, (0, 0, 0))
            if at == slot - 1:
                count, before = 0, count
            elif at != slot:
                count, before = 0, 0
            counts.append((count, before))
            until_room_s = self._wait_s(bucket.limit, count, before, into)
            if until_room_s > wait.seconds:
                wait = _Wait(until_room_s, place)
        if not wait.seconds:
            for bucket, (count, before) in zip(buckets, counts, strict=True):
                self._counts[bucket.key] = (int(slot), count + 1, before)
                self._counts.move_to_end(bucket.key)
            while len(self._counts) > _LOCAL_MAX:
                self._counts.popitem(last=False)
        return wait

    def _wait_s(self, limit: int, count: int, before: int, into: float) -> float:
        window = self._window_s
        if count + 1 > limit:
            return window - into + window * (1 - (limit - 1) / count)
        if before * (window - into) / window + count + 1 > limit:
            return max(window * (1 - (limit - 1 - count) / before) - into, 0.001)
        return 0.0
