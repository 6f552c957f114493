"""Sealing under a key that is derived from the master key: for what is nobody's in particular."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from isthmus.integrations.secrets.sealing import seal, unsealed

_CONTEXT = b"webhook"


class DerivedSealing:
    """Implements `isthmus.domain.webhooks.Sealing`."""

    def __init__(self, key: bytes) -> None:
        self._key = AESGCM(key)

    def seal(self, plain: bytes) -> bytes:
        return seal(self._key, plain, _CONTEXT)

    def open(self, sealed: bytes) -> bytes | None:
        return unsealed(self._key, sealed, _CONTEXT)
