"""Access tokens of any OpenID provider: found by discovery, checked with pinned algorithms (RFC 8725, RFC 9068).

Another provider is a matter of settings. For Keycloak: `ISTHMUS_ISSUER__URL=https://host/realms/NAME`,
`ISTHMUS_ISSUER__TOKEN_TYPES='["JWT"]'`, `ISTHMUS_ISSUER__ROLES_CLAIM=realm_access.roles`, and in the realm: roles named
`customer`, `operator`, `auditor`, `developer`; an audience mapper that adds `isthmus-api`; tokens that live ten minutes at most; and
client scopes named `read`, `write`, `operate`, `audit`, `schema:read` (as default scopes of the client, or asked for in the request).
A token without a scope of ours, or without a role of ours, is genuine but may do nothing: nobody is given a scope that their issuer
did not write.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import httpx
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from prometheus_client import Counter

from isthmus.auth.caller import Caller
from isthmus.auth.claims import Parts, TokenRefused, bytes_of, caller_of, take_apart
from isthmus.auth.issuer_keys import DEADLINE_S, LOOPBACK, MAX_AGE_S, IssuerKeys, IssuerUnavailable, Key
from isthmus.domain.clock import Clock
from isthmus.settings import IssuerSettings

__all__ = ["IssuerUnavailable", "TokenRefused", "TokenVerifier"]

CACHED_MAX = 10_000
_ES256 = ECAlgorithm(ECAlgorithm.SHA256, SECP256R1)
_RS256 = RSAAlgorithm(RSAAlgorithm.SHA256)

log = structlog.get_logger(__name__)
_verified = Counter("isthmus_tokens_total", "Access tokens checked, by outcome.", ["outcome"])


@dataclass(frozen=True)
class _Known:
    """A token that was verified with the keys of `generation`."""

    caller: Caller
    generation: int


class TokenVerifier:
    def __init__(
        self,
        settings: IssuerSettings,
        issuer_url: str,
        clock: Clock | Callable[[], datetime],
        http: httpx.AsyncClient | None = None,
        *,
        keys_max_age_s: float = MAX_AGE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`http` stays the caller's to close. `monotonic` is for tests that let an hour pass."""
        self._settings = settings
        self._now: Callable[[], datetime] = clock if callable(clock) else clock.now
        self._own_http = http is None
        self._http = http or _client(issuer_url)
        self._keys = IssuerKeys(issuer_url, self._http, max_age_s=keys_max_age_s, monotonic=monotonic)
        self._cache: OrderedDict[bytes, _Known] = OrderedDict()

    @property
    def ready(self) -> bool:
        """Whether tokens can be checked now."""
        return self._keys.ready

    async def start(self) -> None:
        """Returns within a few seconds, also when the issuer is down: then `ready` is false until it is back."""
        await self._keys.start()

    async def aclose(self) -> None:
        await self._keys.aclose()
        if self._own_http:
            await self._http.aclose()

    async def verify(self, token: str) -> Caller:
        """Whoever the token speaks for. Raises TokenRefused, or IssuerUnavailable where no token can be checked."""
        try:
            caller = await self._verify(token)
        except TokenRefused as refusal:
            _verified.labels(refusal.reason).inc()
            log.debug("token refused", reason=refusal.reason)
            raise
        except IssuerUnavailable:
            _verified.labels("issuer unavailable").inc()
            raise
        _verified.labels("accepted").inc()
        return caller

    async def _verify(self, token: str) -> Caller:
        if not self._keys.ready:
            raise IssuerUnavailable("the sign-in issuer cannot be reached")
        now = self._now().timestamp()
        digest = hashlib.sha256(bytes_of(token)).digest()
        if (known := self._recall(digest, now)) is not None:
            return known
        parts = take_apart(token, self._settings)
        keys = await self._keys.candidates(parts.algorithm, parts.key_id)
        generation = self._keys.generation
        if not keys:
            raise TokenRefused("unknown key")
        if not any(_signed_by(key, parts) for key in keys):
            raise TokenRefused("signature is wrong")
        caller = caller_of(parts.claims, self._settings, self._keys.issuer, now)
        self._remember(digest, _Known(caller, generation))
        return caller

    def _recall(self, digest: bytes, now: float) -> Caller | None:
        """Only until `exp` (leeway is for tokens seen anew), and only while the keys are those that verified it."""
        known = self._cache.get(digest)
        if known is None:
            return None
        if known.generation != self._keys.generation or now >= known.caller.expires_at.timestamp():
            del self._cache[digest]
            return None
        self._cache.move_to_end(digest)
        return known.caller

    def _remember(self, digest: bytes, known: _Known) -> None:
        self._cache[digest] = known
        if len(self._cache) > CACHED_MAX:
            self._cache.popitem(last=False)


def _signed_by(key: Key, parts: Parts) -> bool:
    """With the key's own algorithm, which was matched with the header's before: the token never chooses (RFC 8725, 3.1)."""
    match key.public:
        case EllipticCurvePublicKey():
            return key.algorithm == "ES256" and _ES256.verify(parts.signed, key.public, parts.signature)
        case RSAPublicKey():
            return key.algorithm == "RS256" and _RS256.verify(parts.signed, key.public, parts.signature)
        case _:
            return False


def _client(issuer_url: str) -> httpx.AsyncClient:
    """A proxy from the environment is for the world outside; an issuer on this machine is reached directly."""
    return httpx.AsyncClient(timeout=DEADLINE_S, trust_env=urlsplit(issuer_url).hostname not in LOOPBACK)
