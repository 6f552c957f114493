"""The two kinds of JWT, told apart by `typ`: access tokens `at+jwt` (RFC 9068), ID tokens `JWT` (OpenID Connect Core 2).

authlib's own generators take the time from the wall clock and leave out `nbf` and `kid`, so these are made with joserfc directly.
An access token that was given out cannot be called back where it is verified by signature alone; that is why it lives ten minutes
at most. Here, at /userinfo, `sid` says which family it belongs to, and a revoked family's tokens are refused at once.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from isthmus.auth.provider.keys import ALGORITHM
from isthmus.auth.provider.store import Grant, User

ACCESS_TYPE = "at+jwt"
ID_TYPE = "JWT"


@dataclass(frozen=True)
class Minter:
    issuer: str
    audience: str
    access_life: timedelta

    def access_token(self, key: ECKey, now: datetime, user: User, grant: Grant, scope: str) -> str:
        issued = int(now.timestamp())
        claims = {
            "iss": self.issuer,
            "sub": user.subject,
            "aud": self.audience,
            "exp": issued + int(self.access_life.total_seconds()),
            "iat": issued,
            "nbf": issued,
            "jti": str(uuid4()),
            "client_id": grant.client_id,
            "sid": str(grant.family),
            "scope": scope,
            "roles": sorted(role.value for role in user.roles),
            "auth_time": int(grant.signed_in_at.timestamp()),
        }
        return _sign(key, ACCESS_TYPE, claims)

    def id_token(self, key: ECKey, now: datetime, grant: Grant, access_token: str) -> str:
        issued = int(now.timestamp())
        claims = {
            "iss": self.issuer,
            "sub": grant.subject,
            "aud": grant.client_id,
            "exp": issued + int(self.access_life.total_seconds()),
            "iat": issued,
            "auth_time": int(grant.signed_in_at.timestamp()),
            "amr": ["pwd"],
            "at_hash": half_hash(access_token),
            "sid": str(grant.family),
        }
        if grant.nonce is not None:
            claims["nonce"] = grant.nonce
        return _sign(key, ID_TYPE, claims)

    def read_access_token(self, keys: list[dict[str, Any]], token: str, now: datetime) -> dict[str, Any] | None:
        """Our own, unexpired, or None."""
        claims = _verify(keys, ACCESS_TYPE, token)
        if claims is None or claims.get("iss") != self.issuer or claims.get("aud") != self.audience:
            return None
        return claims if claims["nbf"] <= now.timestamp() < claims["exp"] else None

    def read_id_token_hint(self, keys: list[dict[str, Any]], token: str) -> dict[str, Any] | None:
        """Our own; it may have expired (OpenID Connect RP-Initiated Logout 1.0, 4)."""
        claims = _verify(keys, ID_TYPE, token)
        return claims if claims is not None and claims.get("iss") == self.issuer else None


def half_hash(access_token: str) -> str:
    """`at_hash` (OpenID Connect Core 3.1.3.6) for ES256."""
    return base64.urlsafe_b64encode(hashlib.sha256(access_token.encode()).digest()[:16]).decode().rstrip("=")


def family_of(claims: dict[str, Any]) -> UUID:
    return UUID(claims["sid"])


def _sign(key: ECKey, type_: str, claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": ALGORITHM, "typ": type_, "kid": key.kid}, claims, key, [ALGORITHM])


def _verify(keys: list[dict[str, Any]], type_: str, token: str) -> dict[str, Any] | None:
    try:
        read = jwt.decode(token, KeySet.import_key_set({"keys": keys}), [ALGORITHM])
    except (JoseError, ValueError, TypeError):
        return None
    return dict(read.claims) if read.header.get("typ") == type_ else None
