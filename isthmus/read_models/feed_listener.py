"""The one Redis subscription of a process. Redis reconnects inside, and silently; what happened meanwhile is gone.

The only sign of it is another confirmation of the subscription: each one, the first included, means that hints may be missing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from isthmus.ending import end_if_cancelled
from isthmus.read_models.feed_wire import FEED

#: There is a heartbeat a second; without one for so long, nobody is counted upon to speak.
SILENCE_S = 3.0
_PAUSE_S, _PAUSE_MAX_S = 0.05, 1.0

log = structlog.get_logger(__name__)


class FeedListener:
    """`heard` takes each payload, `missed` is called where some may be missing. `up`: whether hints can be expected at all."""

    def __init__(self, redis: Redis, heard: Callable[[bytes | str], None], missed: Callable[[], None]) -> None:
        self._redis = redis
        self._heard = heard
        self._missed = missed
        self.up = False

    async def run(self) -> None:
        pause_s = _PAUSE_S
        while True:
            pubsub = self._redis.pubsub()
            try:
                await pubsub.subscribe(FEED)
                pause_s = _PAUSE_S
                await self._listen(pubsub)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("the feed has no Redis; reading history instead", error=type(error).__name__)
            finally:
                self.up = False
                await _closed(pubsub)
            end_if_cancelled()
            await asyncio.sleep(random.uniform(pause_s / 2, pause_s))
            pause_s = min(pause_s * 2, _PAUSE_MAX_S)

    async def _listen(self, pubsub: PubSub) -> None:
        loop = asyncio.get_running_loop()
        heard_at = loop.time()
        while True:
            end_if_cancelled()
            message = await pubsub.get_message(timeout=1.0)
            if message is None:
                self.up = self.up and loop.time() - heard_at < SILENCE_S
                continue
            heard_at, self.up = loop.time(), True
            if message["type"] == "subscribe":
                self._missed()
            elif message["type"] == "message":
                self._heard(message["data"])


async def _closed(pubsub: PubSub) -> None:
    try:
        async with asyncio.timeout(1.0):
            await pubsub.aclose()  # type: ignore[no-untyped-call]
    except (RedisError, OSError, TimeoutError):
        return
