"""Each of the servers that we stand on is away for a while: FAULT_SECONDS of it, seen by clients of the API."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import asyncpg
import pytest
import redis.asyncio as redis

from isthmus.auth.sign_in import SignInFailed
from tests.end_to_end.client import Client
from tests.faults.system import OUTAGE_S, System, funded
from tests.faults.traffic import Traffic, resident_mib

#: What "at once" is, at the 95th of 100: FAULT_FAST_S=1 is what the row says, on a machine that does nothing else.
FAST_S = float(os.environ.get("FAULT_FAST_S", "3"))
CLIENTS = 16


@asynccontextmanager
async def busy(traffic: Traffic, *, clients: int = 4) -> AsyncIterator[None]:
    """Traffic before, during and after whatever happens in the block."""
    stop = asyncio.Event()
    task = asyncio.create_task(traffic.write(stop, clients=clients))
    try:
        await asyncio.sleep(0.5)
        yield
        await asyncio.sleep(0.5)
    finally:
        stop.set()
        await task


async def metric(client: Client, name: str) -> float:
    text = (await client.http.get(client.url.replace("/graphql", "/metrics"))).text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, name
    return float(found.group(1))


async def _ready(client: Client) -> None:
    async with asyncio.timeout(60):
        while (await client.http.get(client.url.replace("/graphql", "/readyz"))).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _traffic(ada: Client, olga: Client) -> Traffic:
    return await Traffic.on(ada, await funded(ada, olga, "1000"), await funded(ada, olga, "1"))


async def test_f7_postgresql_away_mutations_are_refused_at_once_and_queries_are_true_or_refused(
    system: System, ada: Client, olga: Client
) -> None:
    traffic = await _traffic(ada, olga)
    pid = system.serve.process.pid
    async with busy(traffic, clients=CLIENTS):
        before_mib, running = resident_mib(pid), 0.0
        traffic.commands.clear()
        with system.without("postgres"):
            await asyncio.sleep(0.5)
            traffic.commands.clear()
            traffic.reads.clear()
            until = time.monotonic() + OUTAGE_S
            while time.monotonic() < until:
                running = max(running, await metric(ada, "isthmus_admission_running"))
                await asyncio.sleep(0.2)
            commands, reads = sorted(traffic.commands, key=lambda told: told.seconds), list(traffic.reads)
            grown_mib = resident_mib(pid) - before_mib
    assert {told.code for told in commands} == {"UNAVAILABLE"}
    assert {told.code for told in reads} <= {None, "UNAVAILABLE", "NOT_YET_VISIBLE"}
    assert len(commands) > CLIENTS
    assert commands[int(len(commands) * 0.95)].seconds < FAST_S, commands[-1].seconds
    assert running <= 2 * CLIENTS, "nobody piles up"
    assert grown_mib < 40, "nor does memory"
    print(
        f"away {OUTAGE_S:.0f} s: {len(commands)} commands refused, p50 {commands[len(commands) // 2].seconds:.2f} s, "
        f"slowest {commands[-1].seconds:.2f} s; {len(reads)} readings, {sum(told.code is None for told in reads)} answered; "
        f"{running:.0f} at once; memory {grown_mib:+.1f} MiB"
    )
    await _ready(ada)
    await traffic.settled()
    system.verify()


Trouble = Callable[[System, "redis.Redis", Traffic], Awaitable[None]]


async def _flushed(_: System, cache: redis.Redis, __: Traffic) -> None:
    for _n in range(10):
        await cache.flushall()
        await asyncio.sleep(OUTAGE_S / 10)


async def _killed(system: System, _: redis.Redis, __: Traffic) -> None:
    with system.without("valkey"):
        await asyncio.sleep(OUTAGE_S)


async def _paused(_: System, cache: redis.Redis, __: Traffic) -> None:
    await cache.client_pause(int(OUTAGE_S * 1_000))
    await asyncio.sleep(OUTAGE_S)


async def _full(_: System, cache: redis.Redis, __: Traffic) -> None:
    kept = await cache.config_get("maxmemory*")
    await cache.config_set("maxmemory-policy", "noeviction")
    await cache.config_set("maxmemory", 1)
    try:
        await asyncio.sleep(OUTAGE_S)
    finally:
        for name in ("maxmemory", "maxmemory-policy"):
            await cache.config_set(name, str(kept[name]))


async def _stale(_: System, cache: redis.Redis, traffic: Traffic) -> None:
    """As a replica that had not heard the last of it, and is now the one that is asked."""
    keys = await cache.keys("isthmus:balances:*")
    copy = {key: value for key in keys if (value := await cache.dump(key)) is not None}
    assert copy, "the cache was in use"
    known = len(traffic.acknowledged)
    while len(traffic.acknowledged) < known + 10:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    for _n in range(10):
        for key, value in copy.items():
            await cache.restore(key, 0, value, replace=True)
        await asyncio.sleep(OUTAGE_S / 10)


@pytest.mark.parametrize("trouble", [_flushed, _killed, _paused, _full, _stale], ids=lambda f: f.__name__.strip("_"))
async def test_f13_redis_in_trouble_no_balance_is_ever_wrong_and_the_cache_is_filled_again(
    system: System, ada: Client, olga: Client, trouble: Trouble
) -> None:
    traffic = await _traffic(ada, olga)
    cache = redis.from_url(system.endpoints.redis_url, decode_responses=False)
    async with busy(traffic):
        await trouble(system, cache, traffic)
    answered = sum(told.code is None for told in traffic.reads)
    assert answered > 20, "a balance is told without Redis"
    assert all(told.code is None for told in traffic.commands), "and no command needs it"
    await traffic.settled()
    hits = await metric(ada, 'isthmus_balance_cache_total{result="hit"}')
    async with asyncio.timeout(30):
        while await metric(ada, 'isthmus_balance_cache_total{result="hit"}') <= hits:
            # Asking alone does not fill it: what changes is what is written into it.
            await traffic.transfer(f"again-{time.monotonic_ns()}")
            await traffic.read()
            await asyncio.sleep(0.05)
    assert traffic.wrong == []
    await cache.aclose()


async def _signed_in(system: System) -> Client | None:
    try:
        return await system.client("grace")
    except SignInFailed:
        return None


async def test_f13_redis_away_nobody_signs_in_and_other_limits_are_each_processs_own(
    system: System, ada: Client, olga: Client
) -> None:
    account = await funded(ada, olga, "1")
    serve, base = system.another_serve(API__USER_REQUESTS_PER_MINUTE="10", API__PROCESSES="2")
    limited = Client(f"{base}/graphql", ada.token)
    try:
        with system.without("valkey"):
            with pytest.raises(SignInFailed, match="nobody can sign in right now; try again in 5 seconds"):
                await system.client("grace")  # whose password is right
            codes = []
            for _ in range(12):
                answer = await limited.ask("{ assets { code } }")
                codes.append(answer.code if answer.body.get("errors") else None)
            assert codes[:5] == [None] * 5, "its share: of ten a minute for two processes"
            assert codes[-1] == "RATE_LIMITED"
            assert Decimal((await ada.balance(account))["posted"]["amount"]) == 1
        async with asyncio.timeout(20):
            while (again := await _signed_in(system)) is None:  # noqa: ASYNC110  # another process connects again
                await asyncio.sleep(0.2)
        assert (await again.ask("{ viewer { id } }")).data["viewer"]["id"]
        await again.http.aclose()
    finally:
        await limited.http.aclose()
        assert serve.stop() == 0


async def test_f15_kafka_away_commands_go_on_the_outbox_grows_and_everything_follows_in_order(
    system: System, ada: Client, olga: Client
) -> None:
    traffic = await _traffic(ada, olga)
    connection = await asyncpg.connect(system.endpoints.admin_url)

    async def behind() -> int:
        waiting: int = await connection.fetchval("select h.position - r.position from log_head h, relay_state r")
        return waiting

    async with ada.socket() as socket:
        subscribed = await socket.subscribe(
            "subscription($ids: [ID!]) { balanceChanged(accountIds: $ids) { balance { posted { amount } } version } }",
            {"ids": [traffic.source]},
        )
        assert (await socket.next(subscribed))["balanceChanged"]["version"] == traffic.version
        async with busy(traffic, clients=4):
            with system.without("kafka"):
                before = len(traffic.acknowledged)
                await asyncio.sleep(OUTAGE_S)
                meanwhile = len(traffic.acknowledged) - before
                away = await behind()
        # Of those answered meanwhile as many as there are clients may have been committed, and published, before.
        assert away >= meanwhile - 4 > 0, "what was committed meanwhile waits"
        assert all(told.code is None for told in traffic.commands), "and nobody who commands notices"
        await traffic.settled()
        seen: list[int] = []
        while not seen or seen[-1] < traffic.version + len(traffic.acknowledged):
            message = (await socket.next(subscribed, 60))["balanceChanged"]
            seen.append(message["version"])
            traffic.judge(message["balance"]["posted"]["amount"], message["version"])
    assert seen == list(range(traffic.version + 1, seen[-1] + 1)), "in order, and none twice"
    assert traffic.wrong == []
    async with asyncio.timeout(60):
        while await behind():  # noqa: ASYNC110  # another process publishes
            await asyncio.sleep(0.05)
    await connection.close()
    print(f"away {OUTAGE_S:.0f} s: {len(traffic.acknowledged)} acknowledged, {away} waited for the bus at its end")
    system.verify()
