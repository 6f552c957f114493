"""Who was over their limit a moment ago, in Redis: they are told so again without the database being asked.

It says no, and never yes: what is counted here is lost with Redis, and does not know of commits that failed. What it remembers is
short-lived, since a payment that is taken back frees its share.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime
from decimal import Decimal, InvalidOperation
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from isthmus.domain.compliance import day_began
from isthmus.domain.money import text_of

_LASTS_MS = 1_000
_TIMEOUT_S = 0.1


class RedisVelocity:
    """Nothing here ever raises because of Redis: where it does not answer, the database is asked."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def used(self, person: UUID, asset: str, now: datetime) -> Decimal | None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                found = await self._redis.get(_key(person, asset, now))
            return None if found is None else Decimal(found.decode() if isinstance(found, bytes) else found)
        except (RedisError, OSError, TimeoutError, InvalidOperation):
            return None

    async def remember(self, person: UUID, asset: str, used: Decimal, now: datetime) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await self._redis.set(_key(person, asset, now), text_of(used), px=_LASTS_MS)
        except (RedisError, OSError, TimeoutError):
            pass

    async def forget(self, person: UUID, asset: str, now: datetime) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await self._redis.delete(_key(person, asset, now))
        except (RedisError, OSError, TimeoutError):
            pass


def _key(person: UUID, asset: str, now: datetime) -> str:
    # Hashed: whoever may list Redis's keys learns nobody's name.
    about = f"{person} {asset} {day_began(now).date()}"
    return f"isthmus:spent:{hashlib.blake2b(about.encode(), digest_size=16).hexdigest()}"
