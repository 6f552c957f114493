"""Personal text as ciphertext under a key per person.

The keys are rows of `person_keys`, wrapped by the master key; deleting a row makes everything that person wrote unreadable at
once. So unwrapped keys are remembered only by their wrapped bytes, which are read from the table each time.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from isthmus.domain.personal import Sealed
from isthmus.integrations.secrets.master_key import MasterKey, Plain, Wrapped
from isthmus.integrations.secrets.remembered import Remembered
from isthmus.integrations.secrets.rotation import Place
from isthmus.integrations.secrets.sealing import KEY_BYTES, seal, unsealed
from isthmus.integrations.secrets.versions import active_version

WRAPPED = Place("person_keys", "person_id", "wrapped_key", lambda person: bytes(person.bytes))
_PREFIX = "sealed:v1:"


class PersonKeys:
    """Implements `isthmus.domain.personal.PersonalTexts` on asyncpg connections."""

    def __init__(self, master: MasterKey) -> None:
        self._master = master
        self._unwrapped: Remembered[bytes, AESGCM] = Remembered()

    async def seal(self, connection: Any, person: UUID, text: str) -> Sealed:
        (sealed,) = await self.seal_many(connection, [(person, text)])
        return sealed

    async def seal_many(self, connection: Any, texts: Sequence[tuple[UUID, str]]) -> list[Sealed]:
        keys = await self._all_made(connection, sorted({person for person, _ in texts}))
        return [self._seal(keys[person], person, text) for person, text in texts]

    async def open_many(self, connection: Any, sealed: Sequence[str]) -> list[str | None]:
        keys = await self.known(connection, {Sealed(text).person for text in sealed})
        return [self._open(keys, Sealed(text)) for text in sealed]

    async def destroy(self, connection: Any, person: UUID) -> bool:
        status: str = await connection.execute("delete from person_keys where person_id = $1", person)
        return status != "DELETE 0"

    async def made(self, connection: Any, person: UUID) -> AESGCM:
        """The person's key, made the first time."""
        return (await self._all_made(connection, [person]))[person]

    async def known(self, connection: Any, persons: Iterable[UUID]) -> dict[UUID, AESGCM]:
        """The keys of those who have one."""
        rows = await connection.fetch(
            "select person_id, wrapped_key, master_key, master_key_version from person_keys "
            "where person_id = any($1::uuid[])",
            list(persons),
        )
        keys = {row["person_id"]: self._unwrapped.get(row["wrapped_key"]) for row in rows}
        if unknown := [row for row in rows if keys[row["person_id"]] is None]:
            wrapped = [Wrapped(row["master_key"], row["master_key_version"], row["wrapped_key"]) for row in unknown]
            contexts = [WRAPPED.context_of(row["person_id"]) for row in unknown]
            plains = await self._master.unwrap_many(list(zip(wrapped, contexts, strict=True)))
            for row, plain in zip(unknown, plains, strict=True):
                keys[row["person_id"]] = self._unwrapped.keep(row["wrapped_key"], AESGCM(plain))
        return {person: key for person, key in keys.items() if key is not None}

    async def _all_made(self, connection: Any, persons: Sequence[UUID]) -> dict[UUID, AESGCM]:
        """Two at once: one key wins, both use it."""
        keys = await self.known(connection, persons)
        if missing := [person for person in persons if person not in keys]:
            version = await active_version(connection, self._master.kind)
            assert version is not None, "the version is active that a master key was opened with"
            plains = [Plain(os.urandom(KEY_BYTES), WRAPPED.context_of(person)) for person in missing]
            # In id order, so that two writers that make the same keys wait for one another in one direction only.
            await connection.execute(
                "insert into person_keys (person_id, wrapped_key, master_key, master_key_version) "
                "select u.person, u.wrapped, $3, $4 from unnest($1::uuid[], $2::bytea[]) as u (person, wrapped) "
                "on conflict (person_id) do nothing",
                missing,
                await self._master.wrap_many(version, plains),
                self._master.kind,
                version,
            )
            keys = await self.known(connection, persons)
        return keys

    def _seal(self, key: AESGCM, person: UUID, text: str) -> Sealed:
        raw = seal(key, text.encode(), person.bytes)
        return Sealed(f"{_PREFIX}{person}:{base64.urlsafe_b64encode(raw).decode().rstrip('=')}")

    def _open(self, keys: dict[UUID, AESGCM], sealed: Sealed) -> str | None:
        key = keys.get(sealed.person)
        if key is None:
            return None
        body = sealed.rsplit(":", 1)[1]
        plain = unsealed(key, base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)), sealed.person.bytes)
        # One that does not open was sealed under a key that was destroyed before the person came back.
        return None if plain is None else plain.decode()
