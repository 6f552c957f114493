"""What is kept of a sign-in and of a session: sealed by a key derived from the master key, each under the digest of its cookie."""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from isthmus.integrations.secrets.master_key import MasterKey
from isthmus.integrations.secrets.sealing import seal, unsealed

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class SessionStore(Protocol):
    """The port. Keys are digests, values are sealed; each raises IssuerUnavailable where the store does not answer."""

    async def put(self, key: str, value: bytes, life_s: int) -> None: ...

    async def get(self, key: str) -> bytes | None: ...

    async def extend(self, key: str, life_s: int) -> bool:
        """Its end is so far away again; False where it is over."""
        ...

    async def take(self, key: str) -> bytes | None:
        """Read and gone, in one step."""
        ...

    async def replace(self, key: str, value: bytes) -> None:
        """Only where it is there; its end stays."""
        ...

    async def delete(self, key: str) -> None: ...

    async def lock(self, key: str, holder: str, life_s: float) -> bool: ...

    async def unlock(self, key: str, holder: str) -> None: ...


class SessionVault:
    def __init__(self, store: SessionStore, master: MasterKey) -> None:
        self._store = store
        self._key = AESGCM(master.derive("browser sessions"))

    async def find(self, key: str, kind: type[_Struct]) -> _Struct | None:
        return self._open(key, await self._store.get(key), kind)

    async def take(self, key: str, kind: type[_Struct]) -> _Struct | None:
        """Read and gone, in one step."""
        return self._open(key, await self._store.take(key), kind)

    async def put(self, key: str, value: msgspec.Struct, life_s: int) -> None:
        await self._store.put(key, self._seal(key, value), life_s)

    async def replace(self, key: str, value: msgspec.Struct) -> None:
        """Only where it is there; its end stays."""
        await self._store.replace(key, self._seal(key, value))

    def _seal(self, key: str, value: msgspec.Struct) -> bytes:
        """Bound to its key: a sealed session that is moved elsewhere does not open."""
        return seal(self._key, msgspec.json.encode(value), key.encode())

    def _open(self, key: str, raw: bytes | None, kind: type[_Struct]) -> _Struct | None:
        plain = None if raw is None else unsealed(self._key, raw, key.encode())
        try:
            return None if plain is None else msgspec.json.decode(plain, type=kind)
        except (msgspec.MsgspecError, ValueError):
            return None
