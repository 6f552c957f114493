"""What runs as long as its process does ends when it is told to: redis-py may take a cancellation for a lost connection, and go on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from redis.asyncio import Redis

from isthmus.read_models import broadcaster
from isthmus.read_models.broadcaster import Broadcaster
from isthmus.read_models.feed_listener import FeedListener
from isthmus.runtime.servers import EmbeddedServers

TIMES = 60


def _tells(redis: Redis) -> Coroutine[Any, Any, None]:
    return Broadcaster(redis, "a log", lambda: {0: 1, 1: 2}).run()


def _listens(redis: Redis) -> Coroutine[Any, Any, None]:
    return FeedListener(redis, lambda _: None, lambda: None).run()


@pytest.mark.parametrize("run", [_tells, _listens])
async def test_a_task_that_talks_to_redis_ends_wherever_it_is_when_it_is_cancelled(
    servers: EmbeddedServers, monkeypatch: pytest.MonkeyPatch, run: Callable[[Redis], Coroutine[Any, Any, None]]
) -> None:
    monkeypatch.setattr(broadcaster, "HEARTBEAT_S", 0.001)
    chance = random.Random(7)

    async def once() -> bool:
        async with Redis.from_url(servers.redis_url, socket_timeout=2, socket_connect_timeout=2) as redis:
            task = asyncio.create_task(run(redis))
            await asyncio.sleep(chance.random() * 0.05)
            task.cancel()
            ended = bool((await asyncio.wait({task}, timeout=10))[0])
            while not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=0.1)
            return ended

    ended = [each for _ in range(TIMES // 6) for each in await asyncio.gather(*(once() for _ in range(6)))]
    assert ended == [True] * TIMES
