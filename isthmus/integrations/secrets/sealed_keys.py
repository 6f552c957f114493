"""Private keys of ours at providers, as files that hold nothing but ciphertext.

Sealed under a key that is derived from the master key's root, so that they open on every machine that has it and after every rotation;
bound to provider and purpose, so that one does not stand in for another.
"""

from __future__ import annotations

import base64
import binascii
import textwrap

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from isthmus.integrations.secrets.master_key import MasterKey
from isthmus.integrations.secrets.sealing import seal, unsealed

_BEGIN, _END = "-----BEGIN ISTHMUS SEALED KEY-----", "-----END ISTHMUS SEALED KEY-----"


class SealedKeys:
    def __init__(self, master_key: MasterKey) -> None:
        self._key = AESGCM(master_key.derive("provider keys"))

    def seal(self, pem: bytes, provider: str, purpose: str) -> bytes:
        text = base64.b64encode(seal(self._key, pem, _context(provider, purpose))).decode()
        return "\n".join((_BEGIN, *textwrap.wrap(text, 64), _END, "")).encode()

    def open(self, sealed: bytes, provider: str, purpose: str) -> bytes | None:
        """None where another master key sealed it, for another provider or purpose, or where it is not whole."""
        body = sealed.strip().removeprefix(_BEGIN.encode()).removesuffix(_END.encode())
        try:
            blob = base64.b64decode(b"".join(body.split()), validate=True)
        except binascii.Error:
            return None
        return unsealed(self._key, blob, _context(provider, purpose))


def is_sealed(content: bytes) -> bool:
    return content.lstrip().startswith(_BEGIN.encode())


def _context(provider: str, purpose: str) -> bytes:
    return f"provider key {provider} {purpose}".encode()
