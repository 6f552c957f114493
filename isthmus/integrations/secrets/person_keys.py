"""Personal text as ciphertext under a key per person.

The keys are rows of `person_keys`, wrapped by the master key; deleting a row makes everything that person wrote unreadable at
once. So unwrapped keys are remembered only by their wrapped bytes, which are read from the table each time.
"""

from __future__ import annotations

import base64
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from isthmus.domain.personal import Sealed
from isthmus.integrations.secrets.master_key import KEY_BYTES, MasterKey

_PREFIX = "sealed:v1:"
_NONCE_BYTES = 12
_REMEMBERED_MAX = 4_096


class PersonKeys:
    """Implements `isthmus.domain.personal.PersonalTexts` on asyncpg connections."""

    def __init__(self, master: MasterKey) -> None:
        self._master = master
        self._unwrapped: OrderedDict[bytes, AESGCM] = OrderedDict()

    async def seal(self, connection: Any, person: UUID, text: str) -> Sealed:
        (sealed,) = await self.seal_many(connection, [(person, text)])
        return sealed

    async def seal_many(self, connection: Any, texts: Sequence[tuple[UUID, str]]) -> list[Sealed]:
        """Makes a person's key the first time. Two at once: one key wins, both use it."""
        persons = sorted({person for person, _ in texts})
        keys = await self._keys(connection, persons)
        missing = [person for person in persons if person not in keys]
        if missing:
            fresh = [self._master.wrap(os.urandom(KEY_BYTES), person.bytes) for person in missing]
            # In id order, so that two writers that make the same keys wait for one another in one direction only.
            await connection.execute(
                "insert into person_keys (person_id, wrapped_key) select * from unnest($1::uuid[], $2::bytea[]) "
                "on conflict (person_id) do nothing",
                missing,
                fresh,
            )
            keys = await self._keys(connection, persons)
        return [self._seal(keys[person], person, text) for person, text in texts]

    async def open_many(self, connection: Any, sealed: Sequence[str]) -> list[str | None]:
        keys = await self._keys(connection, list({Sealed(text).person for text in sealed}))
        return [self._open(keys, Sealed(text)) for text in sealed]

    async def destroy(self, connection: Any, person: UUID) -> bool:
        status: str = await connection.execute("delete from person_keys where person_id = $1", person)
        return status != "DELETE 0"

    async def _keys(self, connection: Any, persons: Sequence[UUID]) -> dict[UUID, AESGCM]:
        rows = await connection.fetch(
            "select person_id, wrapped_key from person_keys where person_id = any($1::uuid[])", persons
        )
        return {row["person_id"]: self._key(row["wrapped_key"], row["person_id"]) for row in rows}

    def _seal(self, key: AESGCM, person: UUID, text: str) -> Sealed:
        nonce = os.urandom(_NONCE_BYTES)
        raw = nonce + key.encrypt(nonce, text.encode(), person.bytes)
        return Sealed(f"{_PREFIX}{person}:{base64.urlsafe_b64encode(raw).decode().rstrip('=')}")

    def _open(self, keys: dict[UUID, AESGCM], sealed: Sealed) -> str | None:
        key = keys.get(sealed.person)
        if key is None:
            return None
        body = sealed.rsplit(":", 1)[1]
        raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        try:
            return key.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], sealed.person.bytes).decode()
        except InvalidTag:
            return None  # sealed under a key that was destroyed before the person came back

    def _key(self, wrapped: bytes, person: UUID) -> AESGCM:
        key = self._unwrapped.get(wrapped)
        if key is None:
            key = self._unwrapped[wrapped] = AESGCM(self._master.unwrap(wrapped, person.bytes))
            if len(self._unwrapped) > _REMEMBERED_MAX:
                self._unwrapped.popitem(last=False)
        return key
