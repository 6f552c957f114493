"""An issuer's signing keys, found by OpenID Connect Discovery 1.0 and kept fresh in the background (RFC 7517).

A key that the issuer takes away is gone here within five minutes. When the issuer has not been heard for an hour, its keys are
no longer believed. A token that names an unknown key has them fetched anew, at most once in ten seconds however many come.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from isthmus.auth.claims import TokenRefused, decode_base64url, strict_object
from isthmus.supervised import Supervised

MAX_AGE_S = 300.0
BELIEVED_S = 3_600.0
REFETCH_S = 10.0
DEADLINE_S = 3.0
ATTEMPTS = 3
RETRY_MAX_S = 5.0
DOCUMENT_BYTES_MAX = 256 * 1024
KEYS_MAX = 100
_RSA_BITS = range(2_048, 8_193)
_P256_BYTES = 32
LOOPBACK = ("127.0.0.1", "localhost", "::1")

log = structlog.get_logger(__name__)


class IssuerUnavailable(ConnectionError):
    """The issuer's keys are not known, or too old to be believed: no token can be checked. Retry later."""


class _Unusable(Exception):
    """What the issuer answered cannot be used; the message is a fixed phrase."""


@dataclass(frozen=True)
class Key:
    key_id: str | None
    algorithm: str
    public: PublicKeyTypes


@dataclass(frozen=True)
class _Discovered:
    issuer: str
    jwks_uri: str


class IssuerKeys:
    def __init__(
        self,
        issuer_url: str,
        http: httpx.AsyncClient,
        *,
        max_age_s: float = MAX_AGE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer_url = issuer_url
        self._http = http
        self._max_age_s = max_age_s
        self._monotonic = monotonic
        self._discovered: _Discovered | None = None
        self._keys: tuple[Key, ...] = ()
        self._shown: Any = None
        self._loaded_at: float | None = None
        self._asked_at: float | None = None
        self._flight: asyncio.Task[bool] | None = None
        self.part = Supervised("issuer keys", self._keep_fresh)
        self._background: asyncio.Task[None] | None = None
        #: Rises whenever the keys change: what was verified with older ones is verified anew.
        self.generation = 0

    @property
    def ready(self) -> bool:
        return bool(self._keys) and self._loaded_at is not None and self._monotonic() - self._loaded_at < BELIEVED_S

    @property
    def issuer(self) -> str:
        """As the issuer spells it. Raises IssuerUnavailable."""
        if self._discovered is None or not self.ready:
            raise IssuerUnavailable("the sign-in issuer cannot be reached")
        return self._discovered.issuer

    async def start(self) -> None:
        """Never raises because of the issuer: whoever is down now is asked again in the background."""
        await self._refresh(rediscover=True)
        self._background = self.part.start()

    async def aclose(self) -> None:
        for task in (self._background, self._flight):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def candidates(self, algorithm: str, key_id: str | None) -> Sequence[Key]:
        """The keys that may have signed such a token; several only where an issuer gives two keys one name."""
        if not self.ready:
            raise IssuerUnavailable("the sign-in issuer cannot be reached")
        found = self._find(algorithm, key_id)
        if not found and key_id is not None and await self._refetch():
            found = self._find(algorithm, key_id)
        return found

    def _find(self, algorithm: str, key_id: str | None) -> list[Key]:
        fitting = [key for key in self._keys if key.algorithm == algorithm]
        if key_id is not None:
            return [key for key in fitting if key.key_id == key_id]
        return fitting if len(fitting) == 1 else []  # no name: only where there is nothing to choose

    async def _refetch(self) -> bool:
        """For an unknown key; False where the issuer was asked for one just now."""
        if self._flight is None:
            now = self._monotonic()
            if self._asked_at is not None and now - self._asked_at < REFETCH_S:
                return False
            self._asked_at = now
        return await self._refresh(rediscover=False)

    async def _refresh(self, *, rediscover: bool) -> bool:
        """Single flight: whoever comes while the issuer is being asked waits for that answer."""
        flight = self._flight
        if flight is None:
            flight = self._flight = asyncio.create_task(self._load(rediscover), name="fetch issuer keys")
            flight.add_done_callback(self._landed)
        return await asyncio.shield(flight)

    def _landed(self, _: asyncio.Task[bool]) -> None:
        self._flight = None

    async def _keep_fresh(self) -> None:
        failures = 0 if self.ready else 1
        while True:
            wait = min(RETRY_MAX_S, 0.25 * 2**failures) if failures else self._max_age_s
            await asyncio.sleep(wait * random.uniform(0.8, 1.0))  # many processes must not ask in step
            failures = 0 if await self._refresh(rediscover=True) else min(failures + 1, 10)

    async def _load(self, rediscover: bool) -> bool:
        """Whether the keys are fresh now. The deadline is for all attempts together."""
        reason = "took too long"
        with suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE_S):
                for attempt in range(ATTEMPTS):
                    if attempt:
                        await asyncio.sleep(0.1 * 2**attempt * random.uniform(0.5, 1.5))
                    try:
                        await self._load_once(rediscover)
                        return True
                    except (_Unusable, TokenRefused) as error:
                        reason = str(error)
                    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
                        reason = type(error).__name__
        log.warning("the issuer's keys could not be fetched", reason=reason, ready=self.ready)
        return False

    async def _load_once(self, rediscover: bool) -> None:
        discovered = self._discovered
        if discovered is None or rediscover:
            url = f"{self._issuer_url.rstrip('/')}/.well-known/openid-configuration"
            discovered = self._checked(await self._get(url))
        document = await self._get(discovered.jwks_uri)
        shown = document.get("keys")
        if not isinstance(shown, list):
            raise _Unusable("no list of keys")
        self._loaded_at = self._monotonic()
        if shown != self._shown or discovered != self._discovered:
            self._keys = usable_keys(shown)
            self._shown, self._discovered = shown, discovered
            self.generation += 1
            log.info("the issuer's keys are known", keys=len(self._keys), shown=len(shown))
        if not self._keys:
            raise _Unusable("no key that can be used")

    def _checked(self, document: Mapping[str, Any]) -> _Discovered:
        """Discovery 1.0, 4.3: the document is about the issuer that we asked for, else someone mixes us up.

        Settings drop a trailing slash, and 4.1 drops it from the document's address too: with or without it is one issuer.
        """
        issuer, jwks_uri = document.get("issuer"), document.get("jwks_uri")
        if not isinstance(issuer, str) or issuer not in (self._issuer_url, f"{self._issuer_url}/"):
            raise _Unusable("the document is about another issuer")
        if not isinstance(jwks_uri, str) or not self._trusted(jwks_uri):
            raise _Unusable("the keys are not served over https")
        return _Discovered(issuer, jwks_uri)

    def _trusted(self, url: str) -> bool:
        parts = urlsplit(url)
        if parts.scheme == "http":
            return urlsplit(self._issuer_url).scheme == "http" and parts.hostname in LOOPBACK
        return parts.scheme == "https" and bool(parts.hostname)

    async def _get(self, url: str) -> dict[str, Any]:
        """No redirects: the addresses come from the issuer, and lead nowhere else."""
        headers = {"accept": "application/json"}
        async with self._http.stream("GET", url, headers=headers, follow_redirects=False) as response:
            if response.status_code != 200:
                raise _Unusable(f"status {response.status_code}")
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > DOCUMENT_BYTES_MAX:
                    raise _Unusable("a document longer than 256 KiB")
        return strict_object(bytes(body))


def usable_keys(shown: Sequence[Any]) -> tuple[Key, ...]:
    """What may sign access tokens; everything else in the set is somebody else's business (RFC 7517, 5)."""
    read = (_read(jwk) for jwk in shown[:KEYS_MAX] if isinstance(jwk, dict))
    return tuple(key for key in read if key is not None)


def _read(jwk: Mapping[str, Any]) -> Key | None:
    if jwk.get("use", "sig") != "sig" or "d" in jwk:  # a private key that is shown to all protects nothing
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    key_id = jwk.get("kid")
    if key_id is not None and not isinstance(key_id, str):
        return None
    try:
        match jwk.get("kty"):
            case "EC":
                algorithm, public = "ES256", _p256(jwk)
            case "RSA":
                algorithm, public = "RS256", _rsa(jwk)
            case _:
                return None
    except (ValueError, TypeError):
        return None
    if public is None or jwk.get("alg", algorithm) != algorithm:
        return None
    return Key(key_id, algorithm, public)


def _p256(jwk: Mapping[str, Any]) -> PublicKeyTypes | None:
    """RFC 7518, 6.2.1; a point that is not on the curve raises ValueError."""
    x, y = decode_base64url(jwk["x"]) if "x" in jwk else None, decode_base64url(jwk["y"]) if "y" in jwk else None
    if jwk.get("crv") != "P-256" or x is None or y is None or not len(x) == len(y) == _P256_BYTES:
        return None
    return EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), SECP256R1()).public_key()


def _rsa(jwk: Mapping[str, Any]) -> PublicKeyTypes | None:
    """RFC 7518, 6.3.1; 2048 bits at least (3.3), and not so many that checking a signature becomes an attack."""
    n, e = decode_base64url(jwk["n"]) if "n" in jwk else None, decode_base64url(jwk["e"]) if "e" in jwk else None
    if n is None or e is None or int.from_bytes(n, "big").bit_length() not in _RSA_BITS or len(e) > 4:
        return None
    return RSAPublicNumbers(int.from_bytes(e, "big"), int.from_bytes(n, "big")).public_key()
