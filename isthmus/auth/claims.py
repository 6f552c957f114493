"""What an access token must look like: RFC 7515 (form), RFC 7519 (claims), RFC 9068 (access tokens), RFC 8725 (what went wrong before).

Pure: no keys, no clock, no network. Everything is checked as it was written by whoever wrote it, so nothing here trusts a type.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

from isthmus.auth.caller import Caller, SignedIn
from isthmus.auth.scopes import allowed, known_roles, known_scopes
from isthmus.domain.identifiers import person_id
from isthmus.settings import IssuerSettings

TOKEN_BYTES_MAX = 8 * 1024
SUBJECT_LENGTH_MAX = 255
KEY_ID_LENGTH_MAX = 255
#: Beyond what a double holds exactly, times are no times (and arithmetic on them may overflow).
_TIME_MAX = 2**53
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")

#: RFC 8725, 3.10 and 3.12: keys come from the configured issuer alone, and extensions that we do not know are not skipped.
_FORBIDDEN_HEADERS = ("crit", "jwk", "jku", "x5u", "x5c", "b64")
#: OpenID Connect Core 2 and 3.3.2.11, Back-Channel Logout 2.4: these stand in ID and logout tokens, never in access tokens.
_FOREIGN_CLAIMS = ("nonce", "at_hash", "c_hash", "s_hash", "events")


class TokenRefused(Exception):
    """`reason` is for logs and counters: one of a few fixed phrases, never a part of the token. Clients are not told it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Parts:
    """A token taken apart; nothing of it is believed before the signature is checked over `signed` with `algorithm`."""

    algorithm: str
    key_id: str | None
    claims: Mapping[str, Any] = field(repr=False)
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def bytes_of(token: str) -> bytes:
    """Before anything is spent on it. Raises TokenRefused."""
    if len(token) > TOKEN_BYTES_MAX:
        raise TokenRefused("longer than 8 KiB")
    if not token.isascii():
        raise TokenRefused("not ASCII")
    return token.encode("ascii")


def take_apart(token: str, settings: IssuerSettings) -> Parts:
    """The compact serialisation (RFC 7515, 7.1) with a header that we accept. Raises TokenRefused."""
    segments = token.split(".")
    if len(segments) != 3:
        raise TokenRefused("not three parts")
    header = strict_object(_decoded(segments[0]))
    if any(name in header for name in _FORBIDDEN_HEADERS):
        raise TokenRefused("a header that brings its own key or an extension")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in settings.algorithms:
        raise TokenRefused("algorithm not accepted")
    kind = header.get("typ")
    if not isinstance(kind, str) or _media_type(kind) not in {
        _media_type(accepted) for accepted in settings.token_types
    }:
        raise TokenRefused("typ not accepted")
    key_id = header.get("kid")
    if key_id is not None and (not isinstance(key_id, str) or not 0 < len(key_id) <= KEY_ID_LENGTH_MAX):
        raise TokenRefused("kid is no name")
    claims = strict_object(_decoded(segments[1]))
    signed = f"{segments[0]}.{segments[1]}".encode("ascii")
    return Parts(algorithm, key_id, claims, signed, _decoded(segments[2]))


def caller_of(claims: Mapping[str, Any], settings: IssuerSettings, issuer: str, now: float) -> Caller:
    """Check every claim of a token whose signature is right. Raises TokenRefused."""
    _check_issuer_and_audience(claims, issuer, settings.audience)
    expires = _check_times(claims, settings, now)
    _check_is_access_token(claims)
    subject = claims.get("sub")
    # Not printable: control characters, and halves of surrogate pairs, which cannot even be hashed.
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_LENGTH_MAX or not subject.isprintable():
        raise TokenRefused("no usable sub")
    roles = known_roles(_names(_at_path(claims, settings.roles_claim)))
    scopes = known_scopes(_names(claims.get("scope", claims.get("scp"))))
    return Caller(
        person_id=person_id(settings.name, subject),
        subject=subject,
        roles=roles,
        scopes=scopes & allowed(roles),
        expires_at=datetime.fromtimestamp(expires, UTC),
        signed_in=_signed_in(claims, subject),
    )


def strict_object(raw: bytes) -> dict[str, Any]:
    """A JSON object with no key twice (RFC 7515, 4: reject, or parsers disagree), no NaN, no depth that ends the parser."""
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise TokenRefused("not JSON") from None
    if not isinstance(value, dict):
        raise TokenRefused("not a JSON object")
    return value


def decode_base64url(text: str) -> bytes | None:
    """RFC 7515, 2: no padding, no blanks, and one spelling only; None for anything else."""
    if not _BASE64URL.fullmatch(text):
        return None
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=") == text.encode("ascii") else None


def _decoded(segment: str) -> bytes:
    raw = decode_base64url(segment)
    if raw is None:
        raise TokenRefused("not base64url")
    return raw


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key twice")
    return made


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _media_type(text: str) -> str:
    """RFC 7515, 4.1.9: `application/` may be left out, and case does not matter."""
    return text.casefold().removeprefix("application/")


def _check_issuer_and_audience(claims: Mapping[str, Any], issuer: str, audience: str) -> None:
    if claims.get("iss") != issuer:
        raise TokenRefused("iss is another")
    found = claims.get("aud")
    audiences = found if isinstance(found, list) else [found]
    if not all(isinstance(one, str) for one in audiences) or audience not in audiences:
        raise TokenRefused("aud is not for us")


def _check_times(claims: Mapping[str, Any], settings: IssuerSettings, now: float) -> float:
    """RFC 7519, 4.1.4 to 4.1.6; `iat` too, because the life of a token is bounded. Returns `exp`."""
    leeway = settings.leeway_s
    expires, issued = _time(claims, "exp"), _time(claims, "iat")
    if now >= expires + leeway:
        raise TokenRefused("expired")
    if issued > now + leeway:
        raise TokenRefused("iat is in the future")
    if "nbf" in claims and _time(claims, "nbf") > now + leeway:
        raise TokenRefused("not valid yet")
    if not 0 < expires - issued <= settings.access_token_minutes * 60 + leeway:
        raise TokenRefused("lives too long")
    return expires


def _signed_in(claims: Mapping[str, Any], subject: str) -> SignedIn:
    """By `sid` (OpenID Connect Front-Channel Logout 1.0, 3) and `auth_time` (RFC 9068, 2.2.1): some issuers keep the `sid` when a person
    signs in again. Where an issuer tells no `sid` each token is a session of its own."""
    issued, session = _time(claims, "iat"), claims.get("sid")
    known = [session, claims.get("auth_time")] if isinstance(session, str) else [subject, claims.get("jti"), issued]
    digest = hashlib.sha256(json.dumps([claims.get("iss"), *known], default=str).encode()).hexdigest()
    return SignedIn(digest, datetime.fromtimestamp(issued, UTC))


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _TIME_MAX:
        raise TokenRefused(f"{name} is no time")
    return float(value)


def _check_is_access_token(claims: Mapping[str, Any]) -> None:
    if any(name in claims for name in _FOREIGN_CLAIMS):
        raise TokenRefused("not an access token")
    # Keycloak says in a claim what it says nowhere in the header: Bearer, ID, Refresh, Logout, DPoP.
    kind = claims.get("typ", "Bearer")
    if not isinstance(kind, str) or kind.casefold() != "bearer":
        raise TokenRefused("not a bearer token")
    # RFC 7800: bound to a key whose proof (DPoP, mutual TLS) we do not check; without it, it is whoever stole it who calls.
    if "cnf" in claims:
        raise TokenRefused("bound to a key")


def _at_path(claims: Mapping[str, Any], path: str) -> Any:
    """`realm_access.roles` steps into objects; a claim whose own name has dots (`https://example.com/roles`) comes first."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _names(value: Any) -> Iterable[object]:
    """RFC 8693, 4.2 has a string with blanks between; many issuers write an array."""
    if isinstance(value, str):
        return value.split(" ")
    return value if isinstance(value, list) else ()
