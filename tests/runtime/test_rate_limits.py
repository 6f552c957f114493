"""Rate limits on a real Valkey: a sliding window on its clock, all buckets or none, and what happens when it is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from isthmus.auth.addresses import client_address, networks
from isthmus.runtime.rate_limits import Bucket, CountersUnavailable, RateLimits
from isthmus.runtime.servers import EmbeddedServers


@pytest.fixture
async def redis(servers: EmbeddedServers) -> AsyncIterator[Redis]:
    made: Redis = Redis.from_url(servers.redis_url)
    yield made
    await made.aclose()


def bucket(limit: int, name: str = "") -> Bucket:
    return Bucket("test", name or uuid4().hex, limit)


def refused(kind: str) -> float:
    return REGISTRY.get_sample_value("isthmus_rate_limited_total", {"bucket": kind}) or 0.0


async def test_of_a_burst_over_two_processes_exactly_the_limit_passes(redis: Redis) -> None:
    one, two, shared = RateLimits(redis), RateLimits(redis), bucket(100)

    waits = await asyncio.gather(*(limits.take(shared) for limits in (one, two) for _ in range(210)))

    assert waits.count(0) in (100, 101), "101 where a new fixed window began in between"
    assert all(0 < wait <= 120 for wait in waits if wait)


async def test_a_request_counts_in_all_of_its_buckets_or_in_none(redis: Redis) -> None:
    limits, user, address = RateLimits(redis), bucket(1), bucket(10)

    taken = [await limits.take(address, user) for _ in range(5)]
    others = [await limits.take(address, bucket(1)) for _ in range(10)]

    assert [wait == 0 for wait in taken] == [True] + [False] * 4
    assert others.count(0) == 9, "the four that were refused took nothing from the address"


async def test_what_refused_is_counted_as_what_it_is(redis: Redis) -> None:
    """With Redis and without: of several buckets the one that was full."""
    gone: Redis = Redis.from_url("redis://127.0.0.1:1", socket_connect_timeout=0.2)
    for limits in (RateLimits(redis), RateLimits(gone)):
        for full in range(3):
            kinds = ("one", "two", "three")
            buckets = [Bucket(kind, uuid4().hex, 1 if place == full else 10) for place, kind in enumerate(kinds)]
            before = [refused(kind) for kind in kinds]

            waits = [await limits.take(*buckets) for _ in range(3)]

            told = [refused(kind) - so_far for kind, so_far in zip(kinds, before, strict=True)]
            assert [wait > 0 for wait in waits] == [False, True, True]
            assert told == [2 if place == full else 0 for place in range(3)]
    await gone.aclose()


async def test_waiting_as_long_as_was_said_is_enough_and_less_is_not(redis: Redis) -> None:
    limits, one = RateLimits(redis, window_s=1.0), bucket(4)
    wait_s = max([await limits.take(one) for _ in range(9)])
    assert 0 < wait_s <= 2

    await asyncio.sleep(wait_s * 0.4)
    assert await limits.take(one) > 0
    await asyncio.sleep(wait_s * 0.6 + 0.01)
    assert await limits.take(one) == 0


async def test_a_spent_window_opens_bit_by_bit(redis: Redis) -> None:
    """A fixed window would let a second burst pass at its edge; here it comes back as fast as the time passes."""
    limits, one = RateLimits(redis, window_s=1.0), bucket(100)
    burst = [await limits.take(one) for _ in range(200)].count(0)
    passed, began = [], time.monotonic()
    while (elapsed := time.monotonic() - began) < 1.6:
        if await limits.take(one) == 0:
            passed.append(elapsed)
        await asyncio.sleep(0.002)

    assert 100 <= burst <= 110
    assert passed, "and it is not stuck"
    for within in (0.1, 0.25, 0.5, 0.9):
        assert sum(1 for at in passed if at < within) <= 100 * within + 10


async def test_what_is_given_back_does_not_count(redis: Redis) -> None:
    limits, one = RateLimits(redis), bucket(2)

    for _ in range(10):
        assert await limits.take(one) == 0
        await limits.give_back(one)
    assert [await limits.take(one) == 0 for _ in range(3)] == [True, True, False]


async def test_no_address_and_no_person_can_be_read_in_redis(redis: Redis) -> None:
    await RateLimits(redis).take(Bucket("address", "192.0.2.77", 5))

    assert [key async for key in redis.scan_iter("*192.0.2.77*")] == []


async def test_without_redis_each_process_admits_its_share_and_what_is_guessed_is_refused() -> None:
    gone: Redis = Redis.from_url("redis://127.0.0.1:1", socket_connect_timeout=0.2)
    limits, one = RateLimits(gone, processes=4), bucket(20)

    began = time.monotonic()
    waits = [await limits.take(one) for _ in range(30)]

    assert waits.count(0) in (5, 6)
    assert time.monotonic() - began < 2, "it is not asked again for every request"
    with pytest.raises(CountersUnavailable):
        await limits.take(one, even_without_redis=False)
    await gone.aclose()


async def test_a_redis_that_hangs_delays_a_few_and_comes_back_into_use(servers: EmbeddedServers) -> None:
    redis: Redis = Redis.from_url(servers.redis_url)
    limits, one = RateLimits(redis, timeout_s=0.1), bucket(1_000)
    await redis.client_pause(2_000)

    began = time.monotonic()
    assert await asyncio.gather(*(limits.take(one) for _ in range(50))) == [0] * 50
    assert time.monotonic() - began < 1.5, "they did not wait for it"
    async with asyncio.timeout(10):
        while await redis.hget(one.key, "count") is None:
            await limits.take(one)
            await asyncio.sleep(0.05)
    await redis.aclose()


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "address"),
    [
        ("203.0.113.9", "198.51.100.1", (), "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", ("10.0.0.0/8",), "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", ("10.0.0.0/8",), "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", ("10.0.0.0/8",), "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.2", ("10.0.0.0/8",), "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, nonsense", ("10.0.0.0/8",), "10.0.0.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", ("10.0.0.0/8",), "10.0.0.3"),
        ("10.0.0.1", "", ("10.0.0.0/8",), "10.0.0.1"),
        ("::ffff:10.0.0.1", "2001:db8::1", ("10.0.0.0/8",), "2001:db8::1"),
        (None, "198.51.100.1", ("10.0.0.0/8",), "unknown"),
    ],
)
def test_g11_only_a_trusted_proxy_says_whose_request_it_is(
    peer: str | None, forwarded: str, trusted: tuple[str, ...], address: str
) -> None:
    """Row G11: X-Forwarded-For is believed from the right, as far as trusted proxies wrote it."""
    scope = {
        "client": (peer, 1) if peer else None,
        "headers": [(b"x-forwarded-for", forwarded.encode())],
    }

    assert client_address(scope, networks(trusted)) == address
