"""An OpenID provider that is only a discovery document and a key set, and tokens made by hand: also those no library would make."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA256

ISSUER = "https://issuer.example"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def number(value: int, length: int | None = None) -> str:
    return b64(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))


@cache
def ec_key(name: str = "one", curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve())


@cache
def rsa_key(name: str = "one", bits: int = 2_048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, bits)


def jwk_of(key: PrivateKey, kid: str | None = "ec1", **more: Any) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        n = key.public_key().public_numbers()
        jwk = {"kty": "RSA", "n": number(n.n), "e": number(n.e)}
    else:
        p = key.public_key().public_numbers()
        size = (key.key_size + 7) // 8
        names = {"secp256r1": "P-256", "secp384r1": "P-384", "secp256k1": "secp256k1"}
        jwk = {"kty": "EC", "crv": names[key.curve.name], "x": number(p.x, size), "y": number(p.y, size)}
    return {**jwk, "use": "sig", **({"kid": kid} if kid is not None else {}), **more}


def claims_of(**changed: Any) -> dict[str, Any]:
    """Right in everything; a change of `...` leaves the claim out."""
    now = int(NOW.timestamp())
    claims = {
        "iss": ISSUER,
        "sub": "5f0c2f5e",
        "aud": "isthmus-api",
        "exp": now + 600,
        "iat": now,
        "nbf": now,
        "jti": "t1",
        "client_id": "app",
        "scope": "openid read write operate",
        "roles": ["customer"],
    }
    return {name: value for name, value in {**claims, **changed}.items() if value is not ...}


def header_of(**changed: Any) -> dict[str, Any]:
    header = {"alg": "ES256", "typ": "at+jwt", "kid": "ec1"}
    return {name: value for name, value in {**header, **changed}.items() if value is not ...}


def signature_of(key: PrivateKey, signed: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signed, padding.PKCS1v15(), SHA256())
    r, s = utils.decode_dss_signature(key.sign(signed, ec.ECDSA(SHA256())))
    size = (key.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def minted(
    claims: Mapping[str, Any] | bytes | None = None,
    header: Mapping[str, Any] | bytes | None = None,
    key: PrivateKey | None = None,
) -> str:
    """Rightly signed over whatever is given."""
    head = header if isinstance(header, bytes) else json.dumps(header or header_of()).encode()
    body = claims if isinstance(claims, bytes) else json.dumps(claims or claims_of()).encode()
    signed = f"{b64(head)}.{b64(body)}"
    return f"{signed}.{b64(signature_of(key or ec_key(), signed.encode()))}"


@dataclass
class FakeIssuer:
    """`down` is an issuer that cannot be reached; `asked` counts requests by path."""

    keys: Sequence[Any] = field(default_factory=lambda: [jwk_of(ec_key())])
    issuer: str = ISSUER
    document: dict[str, Any] = field(default_factory=dict)
    down: bool = False
    asked: dict[str, int] = field(default_factory=dict)
    raw_keys: bytes | None = None

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked[request.url.path] = self.asked.get(request.url.path, 0) + 1
        if self.down:
            raise httpx.ConnectError("refused", request=request)
        match request.url.path:
            case "/.well-known/openid-configuration" | "/realms/bank/.well-known/openid-configuration":
                return httpx.Response(200, json={"issuer": self.issuer, "jwks_uri": f"{ISSUER}/jwks", **self.document})
            case "/jwks":
                if self.raw_keys is not None:
                    return httpx.Response(200, content=self.raw_keys)
                return httpx.Response(200, json={"keys": list(self.keys)})
            case _:
                return httpx.Response(404)
