"""A key per bank link, wrapped by the key of the person whose link it is: see `isthmus.domain.secrets`.

The keys are rows of `link_keys`, which go with the person's row. Unwrapped ones are remembered only by their wrapped bytes, which are
read from the table each time, so that a key that was destroyed anywhere opens nothing here either.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import asyncpg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from isthmus.domain.secrets import KeyDestroyed, LinkKeyInUse
from isthmus.integrations.secrets.person_keys import PersonKeys
from isthmus.integrations.secrets.remembered import Remembered
from isthmus.integrations.secrets.sealing import KEY_BYTES, NONCE_BYTES, seal, unsealed

#: About 3 ms of work, after which whatever else waits on the loop has its turn.
_STRETCH = 2_000
_INSERT = "insert into link_keys (link_id, person_id, wrapped_key) values ($1, $2, $3) on conflict (link_id) do nothing"


class LinkKeys:
    """Implements `isthmus.domain.secrets.LinkSecrets` on asyncpg connections."""

    def __init__(self, persons: PersonKeys) -> None:
        self._persons = persons
        self._unwrapped = Remembered[bytes, AESGCM]()

    async def seal_many(
        self, connection: Any, link_id: UUID, person_id: UUID, plains: Sequence[bytes], context: bytes
    ) -> list[bytes]:
        if not plains:
            return []
        key = await self._made(connection, link_id, person_id)
        sealed = list[bytes]()
        for start in range(0, len(plains), _STRETCH):
            stretch = plains[start : start + _STRETCH]
            nonces = os.urandom(NONCE_BYTES * len(stretch))
            for n, plain in enumerate(stretch):
                nonce = nonces[n * NONCE_BYTES : (n + 1) * NONCE_BYTES]
                sealed.append(nonce + key.encrypt(nonce, plain, context))
            await asyncio.sleep(0)
        return sealed

    async def open_many(
        self, connection: Any, link_id: UUID, sealed: Sequence[bytes], context: bytes
    ) -> list[bytes | None]:
        return await self.open_across(connection, [(link_id, one) for one in sealed], context)

    async def open_across(
        self, connection: Any, sealed: Sequence[tuple[UUID, bytes]], context: bytes
    ) -> list[bytes | None]:
        keys = await self._keys(connection, {link_id for link_id, _ in sealed})
        opened = list[bytes | None]()
        for start in range(0, len(sealed), _STRETCH):
            for link_id, one in sealed[start : start + _STRETCH]:
                key = keys.get(link_id)
                # One that does not open was sealed under a key that was destroyed before the link came back.
                opened.append(None if key is None else unsealed(key, one, context))
            await asyncio.sleep(0)
        return opened

    async def destroy(self, connection: Any, link_id: UUID) -> bool:
        status: str = await connection.execute("delete from link_keys where link_id = $1", link_id)
        return status != "DELETE 0"

    async def _made(self, connection: Any, link_id: UUID, person_id: UUID) -> AESGCM:
        """The link's key, made the first time. Two at once: one key wins, both use it."""
        owner = await connection.fetchval("select person_id from link_keys where link_id = $1", link_id)
        if owner is None:
            person = await self._persons.made(connection, person_id)
            try:
                await connection.execute(
                    _INSERT, link_id, person_id, seal(person, os.urandom(KEY_BYTES), _wrapping(link_id))
                )
            except asyncpg.ForeignKeyViolationError:
                raise KeyDestroyed("the person's key was destroyed just now") from None
            owner = await connection.fetchval("select person_id from link_keys where link_id = $1", link_id)
        key = (await self._keys(connection, [link_id])).get(link_id)
        if owner is None or key is None:
            raise KeyDestroyed("the link's key was destroyed just now")
        if owner != person_id:
            raise LinkKeyInUse(f"link {link_id} is another person's")
        return key

    async def _keys(self, connection: Any, links: Iterable[UUID]) -> dict[UUID, AESGCM]:
        rows = await connection.fetch(
            "select link_id, person_id, wrapped_key from link_keys where link_id = any($1::uuid[])", list(links)
        )
        unknown = {row["person_id"] for row in rows if row["wrapped_key"] not in self._unwrapped}
        persons = await self._persons.known(connection, unknown) if unknown else {}
        keys = {}
        for row in rows:
            key = self._unwrapped.get(row["wrapped_key"])
            if key is None:
                person = persons.get(row["person_id"])
                plain = None if person is None else unsealed(person, row["wrapped_key"], _wrapping(row["link_id"]))
                if plain is None:  # the person's key was destroyed just now
                    continue
                key = self._unwrapped.keep(row["wrapped_key"], AESGCM(plain))
            keys[row["link_id"]] = key
        return keys


def _wrapping(link_id: UUID) -> bytes:
    return b"link key " + link_id.bytes
