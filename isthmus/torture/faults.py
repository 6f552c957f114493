"""The faults of a torture, each by name. Every one undoes itself, and says whether it really happened."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Mapping

from redis.exceptions import RedisError

from isthmus.runtime.servers import kafka, postgres, valkey
from isthmus.torture.apps import SANDBOX
from isthmus.torture.proxy import FaultProxy
from isthmus.torture.rails import RAILS
from isthmus.torture.system import System

Fault = Callable[[System, random.Random], Awaitable[bool]]

#: How long a fault of the wires lasts: within the product's deadlines (2 s for Redis, 10 s for a statement) and beyond them.
_SHORT_S, _LONG_S = (0.2, 1.0), (1.0, 3.0)
_HAPPENS_S = 3.0


async def _kill_serve(system: System, chance: random.Random) -> bool:
    return system.kill(chance.choice(system.serves))


async def _kill_work(system: System, chance: random.Random) -> bool:
    return system.kill(chance.choice(system.works))


async def _kill_everything(system: System, _: random.Random) -> bool:
    return system.kill_all() > 0


async def _kill_backend(system: System, _: random.Random) -> bool:
    return await system.kill_backend()


async def _stop_postgres(system: System, _: random.Random) -> bool:
    """As `pg_ctl stop -m immediate`."""
    return system.kill(postgres.NAME, signal.SIGQUIT)


async def _kill_postgres(system: System, _: random.Random) -> bool:
    return system.kill(postgres.NAME)


async def _kill_valkey(system: System, _: random.Random) -> bool:
    return system.kill(valkey.NAME)


async def _kill_broker(system: System, _: random.Random) -> bool:
    """The embedded broker keeps nothing: it comes back and has forgotten everything."""
    return system.kill(kafka.NAME)


async def _pause_serve(system: System, chance: random.Random) -> bool:
    return await system.pause(chance.choice(system.serves), chance.uniform(*_LONG_S))


async def _pause_work(system: System, chance: random.Random) -> bool:
    return await system.pause(chance.choice(system.works), chance.uniform(*_LONG_S))


async def _cut_after_commit(system: System, _: random.Random) -> bool:
    """COMMIT is done and its answer never arrives: what the writer must find out by the command's key."""
    wires = system.wires("serve", postgres.NAME)
    return await _until_counted(wires, "cut_after_pattern", lambda wire: wire.cut_on(b"COMMIT", times=3))


async def _cut_before_commit(system: System, _: random.Random) -> bool:
    wires = system.wires("serve", postgres.NAME)
    return await _until_counted(wires, "cut_before_pattern", lambda wire: wire.cut_on(b"COMMIT", times=3, before=True))


async def _cut_answers(system: System, _: random.Random) -> bool:
    """A mutation is done, and its client never hears of it."""
    wires = [wire for name, wire in system.proxies.items() if name.startswith("client>")]
    return await _until_counted(wires, "cut_after_pattern", lambda wire: wire.cut_on(b"mutation(", times=3))


async def _cut_mid_message(system: System, chance: random.Random) -> bool:
    wires = system.wires("", chance.choice((postgres.NAME, valkey.NAME, kafka.NAME)))
    return await _until_counted(wires, "cut_after_bytes", lambda wire: wire.cut_after(chance.randrange(1, 3_000)))


async def _cut_connections(system: System, chance: random.Random) -> bool:
    return sum(wire.cut_all() for wire in system.wires("", chance.choice((postgres.NAME, valkey.NAME, kafka.NAME)))) > 0


async def _half_close(system: System, chance: random.Random) -> bool:
    closed = sum(wire.half_close() for wire in system.wires("", chance.choice((postgres.NAME, valkey.NAME))))
    await asyncio.sleep(chance.uniform(*_SHORT_S))
    for wire in system.proxies.values():
        wire.heal()
    return closed > 0


async def _black_hole_database(system: System, chance: random.Random) -> bool:
    return await _while_set(
        system.wires(chance.choice(("serve", "work")), postgres.NAME), "black_hole", chance, _LONG_S
    )


async def _black_hole_redis(system: System, chance: random.Random) -> bool:
    return await _while_set(system.wires("", valkey.NAME), "black_hole", chance, _LONG_S)


async def _black_hole_broker(system: System, chance: random.Random) -> bool:
    return await _while_set(system.wires("", kafka.NAME), "black_hole", chance, _LONG_S)


async def _swallow_replies(system: System, chance: random.Random) -> bool:
    return await _while_set(system.wires("serve", postgres.NAME), "swallow_replies", chance, _SHORT_S, "swallowed")


async def _delay(system: System, chance: random.Random) -> bool:
    wires = system.wires("", chance.choice((postgres.NAME, valkey.NAME, kafka.NAME)))
    return await _while_set(wires, "delay_s", chance, _LONG_S, "delayed", value=chance.uniform(0.01, 0.1))


async def _throttle(system: System, chance: random.Random) -> bool:
    wires = system.wires("", chance.choice((postgres.NAME, valkey.NAME, kafka.NAME)))
    return await _while_set(wires, "bytes_per_s", chance, _LONG_S, "throttled", value=50_000.0)


async def _black_hole_bank(system: System, chance: random.Random) -> bool:
    return await _while_set(system.wires("all", SANDBOX), "black_hole", chance, _LONG_S)


async def _cut_payouts(system: System, _: random.Random) -> bool:
    """The bank has the payment, and its answer never arrives: what is to be found out by the payment's key."""
    wires = system.wires("all", SANDBOX)
    return await _until_counted(
        wires, "cut_after_pattern", lambda wire: wire.cut_on(b"POST /truelayer/api/v3/payouts", times=3)
    )


async def _cut_asks(system: System, _: random.Random) -> bool:
    """A bank is asked to ask its customer, or to pay now that it has, and its answer never arrives."""
    wires, asks = system.wires("all", SANDBOX), [rail.asks.encode() for rail in RAILS]
    return await _until_counted(wires, "cut_after_pattern", lambda wire: wire.cut_on(*asks, times=3))


async def _flush_redis(system: System, _: random.Random) -> bool:
    return await _redis(system, "FLUSHALL")


async def _kill_pubsub(system: System, _: random.Random) -> bool:
    return await _redis(system, "CLIENT", "KILL", "TYPE", "pubsub")


FAULTS: Mapping[str, Fault] = {
    "kill_serve": _kill_serve,
    "kill_work": _kill_work,
    "kill_everything": _kill_everything,
    "kill_backend": _kill_backend,
    "stop_postgres": _stop_postgres,
    "kill_postgres": _kill_postgres,
    "kill_valkey": _kill_valkey,
    "kill_broker": _kill_broker,
    "pause_serve": _pause_serve,
    "pause_work": _pause_work,
    "cut_after_commit": _cut_after_commit,
    "cut_before_commit": _cut_before_commit,
    "cut_answers": _cut_answers,
    "cut_mid_message": _cut_mid_message,
    "cut_connections": _cut_connections,
    "half_close": _half_close,
    "black_hole_database": _black_hole_database,
    "black_hole_redis": _black_hole_redis,
    "black_hole_broker": _black_hole_broker,
    "swallow_replies": _swallow_replies,
    "delay": _delay,
    "throttle": _throttle,
    "black_hole_bank": _black_hole_bank,
    "cut_payouts": _cut_payouts,
    "cut_asks": _cut_asks,
    "flush_redis": _flush_redis,
    "kill_pubsub": _kill_pubsub,
}


async def _redis(system: System, *command: str) -> bool:
    redis = system.redis()
    try:
        await redis.execute_command(*command)  # type: ignore[no-untyped-call]
    except (RedisError, OSError):
        return False
    else:
        return True
    finally:
        await redis.aclose()


async def _while_set(
    wires: list[FaultProxy],
    name: str,
    chance: random.Random,
    seconds: tuple[float, float],
    counter: str = "black_hole",
    value: bool | float = True,
) -> bool:
    before = sum(wire.counts[counter] for wire in wires)
    for wire in wires:
        setattr(wire, name, value)
    try:
        await asyncio.sleep(chance.uniform(*seconds))
    finally:
        for wire in wires:
            wire.heal()
    return sum(wire.counts[counter] for wire in wires) > before


async def _until_counted(wires: list[FaultProxy], counter: str, begin: Callable[[FaultProxy], None]) -> bool:
    before = sum(wire.counts[counter] for wire in wires)
    for wire in wires:
        begin(wire)
    try:
        async with asyncio.timeout(_HAPPENS_S):
            while sum(wire.counts[counter] for wire in wires) <= before:  # noqa: ASYNC110  # counted as bytes pass
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.2)
    except TimeoutError:
        return False
    finally:
        for wire in wires:
            wire.heal()
    return True
