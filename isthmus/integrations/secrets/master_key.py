"""The master key: wraps the keys per person, and gives derived keys for digests. A file in the data directory for now."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from isthmus.integrations.secrets.sealing import KEY_BYTES, seal, unsealed


class MasterKeyError(Exception):
    """The master key is missing, malformed or not the one that wrapped what is to be unwrapped."""


class MasterKey(Protocol):
    """The port. `context` binds a ciphertext to its place: unwrapping elsewhere fails."""

    def wrap(self, plain: bytes, context: bytes) -> bytes: ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes: ...

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose: the same for every process that has this master key."""
        ...


class FileMasterKey:
    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise MasterKeyError(f"the master key must have {KEY_BYTES} bytes, base64-encoded")
        self._key = key
        self._aead = AESGCM(self.derive("wrap"))

    @classmethod
    def load(cls, path: Path) -> FileMasterKey:
        try:
            return cls(base64.b64decode(path.read_text(encoding="ascii").strip(), validate=True))
        except (OSError, ValueError) as error:
            raise MasterKeyError(f"the master key cannot be read from {path.name}: {type(error).__name__}") from None

    @classmethod
    def load_or_create(cls, path: Path) -> FileMasterKey:
        """Made at the first start; losing the file loses every personal text for good, so back it up apart from the data."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return cls.load(path)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(base64.b64encode(os.urandom(KEY_BYTES)).decode() + "\n")
            file.flush()
            os.fsync(file.fileno())
        return cls.load(path)

    def wrap(self, plain: bytes, context: bytes) -> bytes:
        return seal(self._aead, plain, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        plain = unsealed(self._aead, wrapped, context)
        if plain is None:
            raise MasterKeyError("this is not the master key that wrapped the key")
        return plain

    def derive(self, purpose: str) -> bytes:
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"isthmus " + purpose.encode()).derive(self._key)
