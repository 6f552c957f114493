"""Where the log ends."""

from __future__ import annotations

import asyncpg

from isthmus.read_models.database import ACQUIRE_TIMEOUT_S


class LogReader:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def end(self) -> int:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            position: int = await connection.fetchval("select position from log_head")
        return position
