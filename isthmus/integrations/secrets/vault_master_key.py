"""The master key in a vault, which wraps and unwraps for us and never gives it away.

Derived keys come from a root secret of our own, made once and kept wrapped in the database. Where a key file was used before, the
root is the file's, so that everything derived stays; and what the file wrapped is opened by it until `isthmus secrets rotate` has
brought it under the vault.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from isthmus.integrations.secrets.file_master_key import FileMasterKey
from isthmus.integrations.secrets.master_key import Kind, MasterKeyError, Plain, Wrapped, derived
from isthmus.integrations.secrets.rotation import Place
from isthmus.integrations.secrets.sealing import KEY_BYTES
from isthmus.integrations.secrets.transit import Transit
from isthmus.integrations.secrets.versions import activate, active_version

ROOT_SECRET = Place("root_secret", "one", "wrapped", lambda _: b"root secret")
_ROOT = "select wrapped, master_key, master_key_version from root_secret"


class VaultMasterKey:
    """Implements `MasterKey`."""

    def __init__(self, transit: Transit, file: FileMasterKey | None) -> None:
        self._transit = transit
        self._file = file
        self._root: bytes | None = None

    @classmethod
    async def opened(cls, connection: Any, transit: Transit, file: FileMasterKey | None) -> VaultMasterKey:
        master = cls(transit, file)
        if await active_version(connection, "vault") is None:
            await activate(connection, "vault", (await transit.key()).newest)
        if await connection.fetchrow(_ROOT) is None:
            await master._make_root(connection)
        row = await connection.fetchrow(_ROOT)
        wrapped = Wrapped(row["master_key"], row["master_key_version"], row["wrapped"])
        (master._root,) = await master.unwrap_many([(wrapped, ROOT_SECRET.context_of(None))])
        return master

    @property
    def kind(self) -> Kind:
        return "vault"

    async def wrap_many(self, version: int, plains: Sequence[Plain]) -> list[bytes]:
        return await self._transit.encrypt(version, [(plain.key, plain.context) for plain in plains])

    async def unwrap_many(self, wrapped: Sequence[tuple[Wrapped, bytes]]) -> list[bytes]:
        ours, others = _parted(wrapped)
        opened = dict(zip(ours, await self._transit.decrypt([_blob(wrapped[n]) for n in ours]), strict=True))
        if others:
            if self._file is None:
                raise MasterKeyError("this was wrapped by a key file, which is not on this machine")
            opened |= zip(others, await self._file.unwrap_many([wrapped[n] for n in others]), strict=True)
        return [opened[n] for n in range(len(wrapped))]

    async def rewrap_many(self, version: int, wrapped: Sequence[tuple[Wrapped, bytes]]) -> list[bytes]:
        ours, others = _parted(wrapped)
        made = dict(zip(ours, await self._transit.rewrap(version, [_blob(wrapped[n]) for n in ours]), strict=True))
        if others:
            plains = await self.unwrap_many([wrapped[n] for n in others])
            brought = [Plain(plain, wrapped[n][1]) for n, plain in zip(others, plains, strict=True)]
            made |= zip(others, await self.wrap_many(version, brought), strict=True)
        return [made[n] for n in range(len(wrapped))]

    async def versions(self) -> list[int]:
        key = await self._transit.key()
        return list(range(key.oldest, key.newest + 1))

    async def add_version(self) -> int:
        await self._transit.rotate()
        return (await self._transit.key()).newest

    async def drop_version(self, version: int) -> None:
        """And every older one."""
        await self._transit.open_only_from(version + 1)

    def derive(self, purpose: str) -> bytes:
        assert self._root is not None, "it is read when the master key is opened"
        return derived(self._root, purpose)

    async def _make_root(self, connection: Any) -> None:
        """Two at once: one root wins, both use it."""
        if self._file is None and await connection.fetchval(
            "select exists(select from person_keys where master_key = 'file')"
        ):
            raise MasterKeyError("keys are wrapped by a key file: bring it to this machine for the first start")
        root = os.urandom(KEY_BYTES) if self._file is None else self._file.root
        version = await active_version(connection, "vault")
        assert version is not None, "activated before"
        (wrapped,) = await self.wrap_many(version, [Plain(root, ROOT_SECRET.context_of(None))])
        await connection.execute(
            "insert into root_secret (wrapped, master_key, master_key_version) values ($1, 'vault', $2) on conflict do nothing",
            wrapped,
            version,
        )


def _parted(wrapped: Sequence[tuple[Wrapped, bytes]]) -> tuple[list[int], list[int]]:
    """Where in the list the vault's are, and where the others."""
    ours = [n for n, (one, _) in enumerate(wrapped) if one.kind == "vault"]
    return ours, [n for n, (one, _) in enumerate(wrapped) if one.kind != "vault"]


def _blob(wrapped: tuple[Wrapped, bytes]) -> tuple[bytes, bytes]:
    return wrapped[0].blob, wrapped[1]
