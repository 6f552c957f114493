"""The master key as a file of ours; see `key_file` for what stands in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from isthmus.integrations.secrets import key_file
from isthmus.integrations.secrets.master_key import Kind, MasterKeyError, Plain, Wrapped, derived
from isthmus.integrations.secrets.sealing import seal, unsealed


class FileMasterKey:
    """Implements `MasterKey`. The file is read again when a version is asked for that was not in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._use(key_file.read(path))

    @classmethod
    def load_or_create(cls, path: Path) -> FileMasterKey:
        """Made at the first start; losing the file loses every personal text for good, so back it up apart from the data."""
        if not path.exists():
            key_file.create(path, key_file.made())
        return cls(path)

    @property
    def kind(self) -> Kind:
        return "file"

    @property
    def root(self) -> bytes:
        return self._content.root

    async def wrap_many(self, version: int, plains: Sequence[Plain]) -> list[bytes]:
        key = self._key(version)
        return [seal(key, plain.key, plain.context) for plain in plains]

    async def unwrap_many(self, wrapped: Sequence[tuple[Wrapped, bytes]]) -> list[bytes]:
        return [self._unwrapped(one, context) for one, context in wrapped]

    async def rewrap_many(self, version: int, wrapped: Sequence[tuple[Wrapped, bytes]]) -> list[bytes]:
        plains = await self.unwrap_many(wrapped)
        return await self.wrap_many(
            version, [Plain(plain, context) for plain, (_, context) in zip(plains, wrapped, strict=True)]
        )

    async def versions(self) -> list[int]:
        self._use(key_file.read(self._path))
        return sorted(self._keys)

    async def add_version(self) -> int:
        return self._replace(key_file.read(self._path).with_another())

    async def drop_version(self, version: int) -> None:
        self._replace(key_file.read(self._path).without(version))

    def derive(self, purpose: str) -> bytes:
        return derived(self._content.root, purpose)

    def _unwrapped(self, wrapped: Wrapped, context: bytes) -> bytes:
        if wrapped.kind != self.kind:
            raise MasterKeyError(f"this was wrapped by a master key of another kind: {wrapped.kind}")
        plain = unsealed(self._key(wrapped.version), wrapped.blob, context)
        if plain is None:
            raise MasterKeyError("this is not the master key that wrapped the key")
        return plain

    def _key(self, version: int) -> AESGCM:
        if version not in self._keys:
            self._use(key_file.read(self._path))
        if version not in self._keys:
            raise MasterKeyError(f"version {version} of the master key is not in {self._path.name} of this machine")
        return self._keys[version]

    def _replace(self, content: key_file.KeyFile) -> int:
        key_file.overwrite(self._path, content)
        self._use(content)
        return content.newest

    def _use(self, content: key_file.KeyFile) -> None:
        self._content = content
        self._keys = {version: AESGCM(derived(key, "wrap")) for version, key in content.keys.items()}
