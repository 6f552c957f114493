"""Proof Key for Code Exchange (RFC 7636), S256 only: `plain` protects nobody who can see the request (RFC 9700, 2.1.1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

METHOD = "S256"
VERIFIER_MIN = 43
VERIFIER_MAX = 128

#: RFC 7636, 4.1: unreserved characters only. Always matched in full: a trailing newline is no part of one.
_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")
#: SHA-256 in base64url without padding.
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


def new_verifier() -> str:
    """43 characters that carry 256 random bits (RFC 7636, 4.1 and 7.1)."""
    return secrets.token_urlsafe(32)


def is_verifier(text: str) -> bool:
    return _VERIFIER.fullmatch(text) is not None


def is_challenge(text: str) -> bool:
    return _CHALLENGE.fullmatch(text) is not None


def challenge_of(verifier: str) -> str:
    """Raises ValueError for what is no verifier by RFC 7636, 4.1."""
    if not is_verifier(verifier):
        raise ValueError(f"a verifier has {VERIFIER_MIN} to {VERIFIER_MAX} unreserved characters")
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).decode("ascii").rstrip("=")


def verify(verifier: str, challenge: str) -> bool:
    """RFC 7636, 4.6, in constant time; False for a malformed verifier or challenge, never an exception."""
    if not is_verifier(verifier) or not is_challenge(challenge):
        return False
    return hmac.compare_digest(challenge_of(verifier).encode("ascii"), challenge.encode("ascii"))
