"""Codes of authenticator apps (RFC 6238): six digits every thirty seconds, by HMAC-SHA-1, which is what every app can do."""

from __future__ import annotations

import base64
import hmac
import secrets
from datetime import datetime
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

_PERIOD_S, _DIGITS = 30, 6
#: 160 bits, as RFC 4226 asks for.
_SECRET_BYTES = 20
#: A telephone's clock may be a step behind or ahead.
_DRIFT = (0, -1, 1)


def new_secret() -> str:
    """In base 32, as apps take it."""
    return base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def otpauth_uri(secret: str, issuer: str, name: str) -> str:
    """What an app reads from a QR code."""
    told = urlencode(
        {"secret": secret, "issuer": issuer, "algorithm": "SHA1", "digits": _DIGITS, "period": _PERIOD_S},
        quote_via=quote,
    )
    return f"otpauth://totp/{quote(issuer)}:{quote(name)}?{told}"


def code_at(secret: str, step: int) -> str:
    return HOTP(base64.b32decode(secret), _DIGITS, SHA1()).generate(step).decode()  # noqa: S303 - see above


def step_at(now: datetime) -> int:
    return int(now.timestamp()) // _PERIOD_S


def step_of(secret: str, given: str, now: datetime) -> int | None:
    """Which step's code it is, of those about now; None where it is none. Every one is compared, so that time tells nothing."""
    wanted = given.strip().encode()
    found = [
        step
        for step in (step_at(now) + drift for drift in _DRIFT)
        if hmac.compare_digest(code_at(secret, step).encode(), wanted)
    ]
    return found[0] if found else None
