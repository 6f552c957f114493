"""Providers' tokens as rows of `provider_tokens`: ciphertext under the link's key, bound to the link and to how new they are.

So what is read out of the table, or out of a backup of it, signs in nowhere, and older tokens put back in place of newer ones do
not open.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from isthmus.domain.secrets import LinkSecrets, ProviderTokens


class _Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """As it is written: names are short, and never change."""

    a: str
    r: str | None = None
    e: datetime | None = None
    i: str | None = None


class SealedTokens:
    """Implements `isthmus.domain.secrets.TokenVault` on asyncpg connections."""

    def __init__(self, links: LinkSecrets) -> None:
        self._links = links

    async def put(self, connection: Any, link_id: UUID, person_id: UUID, tokens: ProviderTokens) -> int:
        """In one transaction: of two at once, the second waits for the first and replaces its tokens."""
        plain = msgspec.json.encode(_Kept(tokens.access, tokens.refresh, tokens.expires_at, tokens.reference))
        async with connection.transaction():
            await self._links.seal_many(connection, link_id, person_id, [b""], _context(0))  # makes the key
            # The row's lock comes with its number; what is sealed is bound to that.
            version: int = await connection.fetchval(
                "insert into provider_tokens as kept (link_id, sealed, version) values ($1, '', 1) "
                "on conflict (link_id) do update set version = kept.version + 1, updated_at = now() returning version",
                link_id,
            )
            (sealed,) = await self._links.seal_many(connection, link_id, person_id, [plain], _context(version))
            await connection.execute("update provider_tokens set sealed = $2 where link_id = $1", link_id, sealed)
        return version

    async def get(self, connection: Any, link_id: UUID) -> ProviderTokens | None:
        row = await connection.fetchrow("select sealed, version from provider_tokens where link_id = $1", link_id)
        if row is None:
            return None
        (plain,) = await self._links.open_many(connection, link_id, [row["sealed"]], _context(row["version"]))
        if plain is None:
            return None
        kept = msgspec.json.decode(plain, type=_Kept)
        return ProviderTokens(kept.a, kept.r, kept.e, kept.i)

    async def forget(self, connection: Any, link_id: UUID) -> bool:
        status: str = await connection.execute("delete from provider_tokens where link_id = $1", link_id)
        return status != "DELETE 0"


def _context(version: int) -> bytes:
    return b"provider tokens " + str(version).encode()
