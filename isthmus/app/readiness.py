"""What `/readyz` asks each part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
from redis.asyncio import Redis

from isthmus.app.running import CHECK_TIMEOUT_S, Check, NotReady
from isthmus.auth.tokens import TokenVerifier
from isthmus.domain.clock import Clock
from isthmus.read_models.health import log_health
from isthmus.supervised import Supervised

#: Of the bus and of the projections behind the log.
LAG_MAX_S = 10.0


def checks_of(
    pool: asyncpg.Pool, redis: Redis, verifier: TokenVerifier, clock: Clock, parts: Sequence[Supervised]
) -> dict[str, Check]:
    """`parts`: the tasks of this process that must go on."""

    async def database() -> dict[str, Any]:
        async with pool.acquire(timeout=CHECK_TIMEOUT_S) as connection:
            await connection.fetchval("select 1")
        return {}

    async def cached() -> dict[str, Any]:
        await redis.ping()
        return {}

    async def issuer() -> dict[str, Any]:
        if not verifier.ready:
            raise NotReady("its keys are not known")
        return {}

    async def tasks() -> dict[str, Any]:
        if down := [part.name for part in parts if not part.running]:
            raise NotReady(f"crashed, and waiting to be started again: {', '.join(down)}")
        return {"crashes": {part.name: part.crashes for part in parts if part.crashes}}

    async def lag_of(part: str) -> dict[str, Any]:
        health = await log_health(pool, clock.stamp())
        lag = getattr(health, part)
        if lag.seconds > LAG_MAX_S:
            raise NotReady(f"{lag.behind} positions and {lag.seconds:.0f} s behind the log")
        return {"position": lag.position, "behind": lag.behind, "lag_s": round(lag.seconds, 3)}

    return {
        "database": database,
        "redis": cached,
        "issuer": issuer,
        "tasks": tasks,
        "bus": lambda: lag_of("bus"),
        "projections": lambda: lag_of("projections"),
    }
