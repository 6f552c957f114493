"""AES-256-GCM as every key here uses it: a random nonce, then the ciphertext. `context` binds it to its place."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12


def seal(key: AESGCM, plain: bytes, context: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + key.encrypt(nonce, plain, context)


def unsealed(key: AESGCM, sealed: bytes, context: bytes) -> bytes | None:
    """None where it was sealed by another key, for another place, or is not whole."""
    try:
        return key.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
    except (InvalidTag, ValueError):  # a nonce that is too short is a ValueError
        return None
