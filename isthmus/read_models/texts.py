"""Personal text for those who may see it: ciphertext in, plain text out, None once the person's key is destroyed."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from isthmus.domain.personal import PersonalTexts
from isthmus.read_models.database import ACQUIRE_TIMEOUT_S


class TextReader:
    def __init__(self, pool: asyncpg.Pool, texts: PersonalTexts) -> None:
        self._pool = pool
        self._texts = texts

    async def load_many(self, keys: Sequence[str]) -> list[str | None]:
        """In the order of the keys: one statement, whoever wrote them."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            return await self._texts.open_many(connection, list(keys))
