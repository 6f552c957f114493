"""The registry of assets: what may be held, and with how many decimal places it prints."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import asyncpg

from isthmus.domain.money import Asset, AssetKind
from isthmus.read_models.database import ACQUIRE_TIMEOUT_S

_FRESH_S = 60.0
_MISS_S = 1.0


class AssetRegistry:
    """Kept in memory and read again once a minute, or when a code is asked for that is not known (once a second at most)."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._enabled: Mapping[str, Asset] = {}
        self._known: Mapping[str, Asset] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def enabled(self) -> list[Asset]:
        await self._refresh(_FRESH_S)
        return list(self._enabled.values())

    async def find(self, code: str) -> Asset | None:
        """An asset in which something may be opened or moved."""
        await self._refresh(_FRESH_S)
        if code not in self._enabled:
            await self._refresh(_MISS_S)
        return self._enabled.get(code)

    async def scale(self, code: str) -> int:
        """Also of an asset that was taken out of use: what lies in it still prints."""
        await self._refresh(_FRESH_S)
        if code not in self._known:
            await self._refresh(_MISS_S)
        return self._known[code].scale

    async def _refresh(self, older_than_s: float) -> None:
        if time.monotonic() - self._read_at < older_than_s:
            return
        async with self._reading:
            if time.monotonic() - self._read_at < older_than_s:
                return
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                rows = await connection.fetch("select code, kind, name, scale, enabled from assets order by code")
            self._known = {
                row["code"]: Asset(row["code"], AssetKind(row["kind"]), row["name"], row["scale"]) for row in rows
            }
            self._enabled = {row["code"]: self._known[row["code"]] for row in rows if row["enabled"]}
            self._read_at = time.monotonic()
