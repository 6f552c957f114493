"""Sessions of browsers in Redis. Losing them signs people out, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from isthmus.auth.issuer_keys import IssuerUnavailable

_Answer = TypeVar("_Answer")
#: Only whoever holds the lock gives it back: it may have run out, and be another's by now.
_UNLOCK = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class RedisSessions:
    """Implements `isthmus.auth.session_vault.SessionStore` and `isthmus.auth.activity.UseStore`."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis

    async def put(self, key: str, value: bytes, life_s: int) -> None:
        await _answer(self._redis.set(key, value, ex=life_s))

    async def get(self, key: str) -> bytes | None:
        found: bytes | None = await _answer(self._redis.get(key))
        return found

    async def extend(self, key: str, life_s: int) -> bool:
        return bool(await _answer(self._redis.expire(key, life_s)))

    async def take(self, key: str) -> bytes | None:
        found: bytes | None = await _answer(self._redis.getdel(key))
        return found

    async def replace(self, key: str, value: bytes) -> None:
        await _answer(self._redis.set(key, value, xx=True, keepttl=True))

    async def delete(self, key: str) -> None:
        await _answer(self._redis.delete(key))

    async def lock(self, key: str, holder: str, life_s: float) -> bool:
        return bool(await _answer(self._redis.set(key, holder, nx=True, px=int(life_s * 1_000))))

    async def unlock(self, key: str, holder: str) -> None:
        await _answer(self._redis.eval(_UNLOCK, 1, key, holder))


async def _answer(asked: Awaitable[_Answer]) -> _Answer:
    try:
        return await asked
    except (RedisError, OSError, TimeoutError) as error:
        raise IssuerUnavailable("sessions cannot be looked up right now") from error
