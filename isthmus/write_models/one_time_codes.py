"""One-time codes: they follow from the challenge and what it is bound to, under a key of the platform's, and are kept nowhere.

RTS 2018/389 Art. 4 and 5: a code is specific to amount and payee, since the digest is part of what it is made of; from one code nobody
finds another. Whoever delivers it makes it anew.
"""

from __future__ import annotations

import hashlib
import hmac
from uuid import UUID

_DIGITS = 6


class OneTimeCodes:
    """`key`: 32 bytes, the same in every process."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def code(self, challenge_id: UUID, digest: str) -> str:
        """Six digits, each as likely as any other (2^256 is so much larger than a million that nobody could tell)."""
        made = hmac.digest(self._key, challenge_id.bytes + bytes.fromhex(digest), hashlib.sha256)
        return f"{int.from_bytes(made, 'big') % 10**_DIGITS:0{_DIGITS}d}"

    def holds(self, challenge_id: UUID, digest: str, given: str) -> bool:
        return hmac.compare_digest(self.code(challenge_id, digest).encode(), given.encode())
