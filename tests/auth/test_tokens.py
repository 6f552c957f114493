"""Access tokens: what is accepted, and every way to forge, bend or reuse one that is known (RFC 8725, RFC 9068)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from isthmus.auth.scopes import Role, Scope
from isthmus.auth.tokens import TokenRefused, TokenVerifier
from isthmus.domain.clock import SettableClock
from isthmus.domain.identifiers import person_id
from isthmus.settings import IssuerSettings
from tests.auth.fake_issuer import (
    ISSUER,
    NOW,
    FakeIssuer,
    b64,
    claims_of,
    ec_key,
    header_of,
    jwk_of,
    minted,
    rsa_key,
    signature_of,
)

T = int(NOW.timestamp())
KEYCLOAK = IssuerSettings(token_types=("JWT",), roles_claim="realm_access.roles", url=ISSUER)


@asynccontextmanager
async def verifying(
    issuer: FakeIssuer | None = None,
    settings: IssuerSettings | None = None,
    clock: SettableClock | None = None,
    url: str = ISSUER,
) -> AsyncIterator[TokenVerifier]:
    issuer = issuer or FakeIssuer(keys=[jwk_of(ec_key()), jwk_of(rsa_key(), "rsa1")])
    async with issuer.http() as http:
        verifier = TokenVerifier(settings or IssuerSettings(), url, clock or SettableClock(NOW), http)
        await verifier.start()
        try:
            yield verifier
        finally:
            await verifier.aclose()


async def refused(token: str, settings: IssuerSettings | None = None) -> str:
    async with verifying(settings=settings) as verifier:
        assert verifier.ready
        with pytest.raises(TokenRefused) as caught:
            await verifier.verify(token)
    return caught.value.reason


async def test_a_good_token() -> None:
    async with verifying() as verifier:
        caller = await verifier.verify(minted())
    assert caller.person_id == person_id("isthmus", "5f0c2f5e")
    assert caller.roles == {Role.CUSTOMER}
    assert caller.scopes == {Scope.READ, Scope.WRITE}, "operate is in the token, but no customer's"
    assert int(caller.expires_at.timestamp()) == T + 600


@pytest.mark.parametrize(
    ("claims", "header"),
    [
        (claims_of(aud=["other", "isthmus-api"]), header_of()),
        (claims_of(nbf=...), header_of()),
        (claims_of(exp=T - 29, iat=T - 600), header_of()),
        (claims_of(iat=T + 29), header_of()),
        (claims_of(nbf=T + 29), header_of()),
        (claims_of(exp=T + 630), header_of()),
        (claims_of(exp=T + 599.5, iat=T - 0.5), header_of()),
        (claims_of(scope=["read", "write"]), header_of()),
        (claims_of(scope=..., scp=["read", "write"]), header_of()),
        (claims_of(roles="customer"), header_of()),
        (claims_of(), header_of(typ="application/at+jwt")),
        (claims_of(), header_of(typ="AT+JWT")),
        (claims_of(), header_of(kid=...)),
        (claims_of(sub="é" * 255), header_of()),
    ],
)
async def test_other_spellings_of_a_good_token(claims: dict[str, Any], header: dict[str, Any]) -> None:
    async with verifying() as verifier:
        caller = await verifier.verify(minted(claims, header))
    assert caller.scopes == {Scope.READ, Scope.WRITE}


async def test_rs256() -> None:
    async with verifying() as verifier:
        caller = await verifier.verify(minted(header=header_of(alg="RS256", kid="rsa1"), key=rsa_key()))
    assert caller.may(Scope.READ)


@pytest.mark.parametrize(
    ("claims", "roles", "scopes"),
    [
        (claims_of(roles=...), set(), set()),
        (claims_of(roles=["admin"]), set(), set()),
        (claims_of(roles={"customer": True}), set(), set()),
        (claims_of(scope=...), {Role.CUSTOMER}, set()),
        (claims_of(scope="openid profile"), {Role.CUSTOMER}, set()),
        (claims_of(scope=7), {Role.CUSTOMER}, set()),
        (claims_of(roles=["auditor"], scope="read write audit"), {Role.AUDITOR}, {Scope.READ, Scope.AUDIT}),
    ],
)
async def test_genuine_without_rights(claims: dict[str, Any], roles: set[Role], scopes: set[Scope]) -> None:
    async with verifying() as verifier:
        caller = await verifier.verify(minted(claims))
    assert (caller.roles, caller.scopes) == (roles, scopes)


# C8: claims

_NOT_ACCESS = {"not an access token"}
_REASONS = {
    "iss": {"iss is another"},
    "aud": {"aud is not for us"},
    "exp": {"exp is no time", "expired", "lives too long"},
    "iat": {"iat is no time", "iat is in the future", "lives too long"},
    "nbf": {"nbf is no time", "not valid yet"},
    "sub": {"no usable sub"},
    "nonce": _NOT_ACCESS,
    "at_hash": _NOT_ACCESS,
    "c_hash": _NOT_ACCESS,
    "events": _NOT_ACCESS,
    "typ": {"not a bearer token"},
    "cnf": {"bound to a key"},
}


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": ...},
        {"iss": "https://other.example"},
        {"iss": f"{ISSUER}/"},
        {"iss": [ISSUER]},
        {"aud": ...},
        {"aud": "other"},
        {"aud": ["other", "isthmus-api-2"]},
        {"aud": []},
        {"aud": {"isthmus-api": 1}},
        {"aud": ["isthmus-api", 1]},
        {"aud": None},
        {"exp": ...},
        {"exp": None},
        {"exp": str(T + 600)},
        {"exp": True},
        {"exp": T - 30, "iat": T - 600},
        {"exp": -1},
        {"exp": 10**400},
        {"exp": T + 631},
        {"exp": T - 10, "iat": T},
        {"iat": ...},
        {"iat": T + 31},
        {"iat": False},
        {"iat": 0},
        {"nbf": T + 31},
        {"nbf": None},
        {"nbf": "0"},
        {"nbf": True},
        {"sub": ...},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a" * 256},
        {"sub": "a\nb"},
        {"sub": "\ud800"},
        {"sub": "a\0"},
        {"nonce": "n"},
        {"at_hash": "h"},
        {"c_hash": "h"},
        {"events": {}},
        {"typ": "ID"},
        {"typ": "Refresh"},
        {"typ": 1},
        {"cnf": {"jkt": "x"}},
    ],
)
async def test_claims_that_are_refused(changed: dict[str, Any]) -> None:
    assert await refused(minted(claims_of(**changed))) in _REASONS[next(iter(changed))]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'"text"',
        b"{",
        b"\xff\xfe",
        json.dumps(claims_of())[:-1].encode() + b', "sub": "someone else"}',
        json.dumps(claims_of())[:-1].encode() + b', "aud": "isthmus-api"}',
        json.dumps(claims_of())[:-1].encode() + b', "x": {"y": 1, "y": 2}}',
        json.dumps(claims_of(exp=0)).replace('"exp": 0', '"exp": Infinity').encode(),
        json.dumps(claims_of(exp=0)).replace('"exp": 0', '"exp": 1e999').encode(),
        json.dumps(claims_of(exp=0)).replace('"exp": 0', '"exp": NaN').encode(),
        b'{"x": ' + b"[" * 2_500 + b"]" * 2_500 + b"}",
        b'{"exp": ' + b"9" * 5_000 + b"}",
    ],
)
async def test_claims_that_are_no_json_object(body: bytes) -> None:
    assert await refused(minted(body))


# C7: header and signature


@pytest.mark.parametrize(
    "changed",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "nOnE"},
        {"alg": ""},
        {"alg": ...},
        {"alg": ["ES256"]},
        {"alg": "es256"},
        {"alg": "ES384"},
        {"alg": "ES256K"},
        {"alg": "PS256"},
        {"alg": "EdDSA"},
        {"alg": "RS256"},
        {"alg": "RS256", "kid": "rsa1"},
        {"typ": ...},
        {"typ": "JWT"},
        {"typ": "dpop+jwt"},
        {"typ": "application/application/at+jwt"},
        {"typ": ["at+jwt"]},
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"b64": True},
        {"jwk": jwk_of(ec_key("attacker"))},
        {"jku": "https://attacker.example/jwks"},
        {"x5u": "https://attacker.example/x5u"},
        {"x5c": ["MIIB"]},
        {"kid": "../../../../dev/null"},
        {"kid": "ec1' OR '1'='1"},
        {"kid": ""},
        {"kid": "k" * 256},
        {"kid": 1},
        {"kid": None, "alg": "PS256"},
        {"kid": ["ec1"]},
    ],
)
async def test_headers_that_are_refused(changed: dict[str, Any]) -> None:
    assert await refused(minted(header=header_of(**changed)))


@pytest.mark.parametrize(
    "head",
    [
        b"[]",
        b"null",
        b"{",
        b'{"alg":"ES256","alg":"none","typ":"at+jwt","kid":"ec1"}',
        b'{"alg":"none","alg":"ES256","typ":"at+jwt"}',
    ],
)
async def test_headers_that_are_no_json_object(head: bytes) -> None:
    assert await refused(minted(header=head))


def _unsigned(**header: Any) -> str:
    return f"{b64(json.dumps(header_of(**header)).encode())}.{b64(json.dumps(claims_of()).encode())}"


def _with_signature(signature: bytes, **header: Any) -> str:
    return f"{_unsigned(**header)}.{b64(signature)}"


def _hmac_with_public_key(format: Encoding) -> str:
    public = rsa_key().public_key().public_bytes(format, PublicFormat.SubjectPublicKeyInfo)
    signed = _unsigned(alg="HS256", kid="rsa1")
    return f"{signed}.{b64(hmac.new(public, signed.encode(), hashlib.sha256).digest())}"


def _der() -> str:
    signed = _unsigned()
    return f"{signed}.{b64(ec_key().sign(signed.encode(), ec.ECDSA(SHA256())))}"


def _padded() -> str:
    head, body, signature = minted().split(".")
    return f"{head}.{body}.{base64.urlsafe_b64encode(base64.urlsafe_b64decode(signature + '==')).decode()}"


def _other_last_character() -> str:
    """The same bytes spelled another way: the last character's spare bits."""
    token = minted()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]


def _nested() -> str:
    return minted(minted().encode(), header_of(cty="JWT"))


def _changed_body() -> str:
    head, _, signature = minted().split(".")
    return f"{head}.{b64(json.dumps(claims_of(sub='someone else')).encode())}.{signature}"


def _ecdsa_by_other(key: ec.EllipticCurvePrivateKey) -> str:
    return minted(key=key)


_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize(
    "forge",
    [
        lambda: f"{_unsigned(alg='none')}.",
        lambda: _unsigned(alg="none"),
        lambda: f"{_unsigned()}.",
        _unsigned,
        lambda: minted().rsplit(".", 1)[0] + ".",
        lambda: _hmac_with_public_key(Encoding.PEM),
        lambda: _hmac_with_public_key(Encoding.DER),
        lambda: _with_signature(bytes(64)),
        lambda: _with_signature(bytes(32) + (1).to_bytes(32, "big")),
        lambda: _with_signature(_ORDER.to_bytes(32, "big") * 2),
        lambda: _with_signature(bytes(63)),
        lambda: _with_signature(bytes(96)),
        lambda: _with_signature(signature_of(ec_key(), _unsigned().encode()) + b"\0"),
        lambda: _with_signature(signature_of(ec_key(curve=ec.SECP384R1), _unsigned().encode())),
        lambda: _ecdsa_by_other(ec_key("attacker")),
        lambda: _ecdsa_by_other(ec_key("k1", ec.SECP256K1)),
        lambda: minted(header=header_of(alg="RS256", kid="ec1"), key=rsa_key()),
        lambda: minted(header=header_of(alg="ES256", kid="rsa1"), key=ec_key()),
        lambda: minted(header=header_of(alg="RS256", kid="rsa1"), key=rsa_key("attacker")),
        lambda: minted(header=header_of(jwk=jwk_of(ec_key("attacker"))), key=ec_key("attacker")),
        _der,
        _padded,
        _other_last_character,
        _nested,
        _changed_body,
        lambda: "",
        lambda: ".",
        lambda: "..",
        lambda: "a.b.c",
        lambda: "é.é.é",
        lambda: minted() + ".",
        lambda: minted() + "." + b64(b"x"),
        lambda: minted() + "\n",
        lambda: " " + minted(),
        lambda: minted().replace(".", " ."),
        lambda: "A" * 2**20,
        lambda: "." * 2**20,
        lambda: minted(claims_of(padding="x" * 8_192)),
        lambda: json.dumps({"payload": "x", "signatures": []}),
        lambda: minted().replace(".", "\u3002"),
    ],
)
async def test_forgeries(forge: Callable[[], str]) -> None:
    assert await refused(forge())


async def test_only_accepted_algorithms() -> None:
    only_rsa = IssuerSettings(algorithms=("RS256",))
    assert await refused(minted(), only_rsa) == "algorithm not accepted"


async def test_the_reason_tells_nothing_of_the_token() -> None:
    reason = await refused(minted(claims_of(sub="", secret="canary", aud="canary")))
    assert "canary" not in reason


# Keycloak: settings alone


def _keycloak(**changed: Any) -> dict[str, Any]:
    return claims_of(
        **{
            "nbf": ...,
            "client_id": ...,
            "roles": ...,
            "typ": "Bearer",
            "azp": "web",
            "aud": ["isthmus-api", "account"],
            "exp": T + 300,
            "acr": "1",
            "allowed-origins": ["https://app.example"],
            "realm_access": {"roles": ["offline_access", "customer", "uma_authorization"]},
            "scope": "openid email profile read write",
            "sid": "9a1",
            **changed,
        }
    )


_KEYCLOAK_HEADER = {"alg": "RS256", "typ": "JWT", "kid": "rsa1"}


async def test_keycloaks_access_token() -> None:
    async with verifying(settings=KEYCLOAK) as verifier:
        caller = await verifier.verify(minted(_keycloak(), _KEYCLOAK_HEADER, rsa_key()))
    assert caller.roles == {Role.CUSTOMER}
    assert caller.scopes == {Scope.READ, Scope.WRITE}


@pytest.mark.parametrize(
    "changed",
    [
        {"typ": "ID"},
        {"typ": "id"},
        {"typ": "Refresh"},
        {"typ": "Logout"},
        {"typ": "DPoP"},
        {"typ": ..., "nonce": "n"},
        {"typ": ..., "at_hash": "h"},
        {"typ": ..., "c_hash": "h"},
        {"typ": ..., "aud": "web"},
    ],
)
async def test_keycloaks_other_tokens(changed: dict[str, Any]) -> None:
    assert await refused(minted(_keycloak(**changed), _KEYCLOAK_HEADER, rsa_key()), KEYCLOAK)


async def test_our_type_is_not_keycloaks() -> None:
    assert await refused(minted(), KEYCLOAK) == "typ not accepted"


async def test_a_roles_claim_whose_name_has_dots() -> None:
    settings = IssuerSettings(roles_claim="https://bank.example/roles")
    async with verifying(settings=settings) as verifier:
        caller = await verifier.verify(minted(claims_of(**{"roles": ..., "https://bank.example/roles": ["auditor"]})))
    assert caller.roles == {Role.AUDITOR}


# The cache


async def test_a_cached_token_still_expires() -> None:
    clock = SettableClock(NOW)
    token = minted()
    async with verifying(clock=clock) as verifier:
        first = await verifier.verify(token)
        assert await verifier.verify(token) is first
        clock.set(first.expires_at)
        assert (await verifier.verify(token)) is not first, "within the leeway it is checked anew"
        clock.set(first.expires_at.replace(second=30))
        with pytest.raises(TokenRefused, match="expired"):
            await verifier.verify(token)


async def test_refusals_are_not_cached() -> None:
    clock = SettableClock(NOW)
    token = minted(claims_of(nbf=T + 60))
    async with verifying(clock=clock) as verifier:
        with pytest.raises(TokenRefused, match="not valid yet"):
            await verifier.verify(token)
        clock.set(NOW.replace(minute=1))
        await verifier.verify(token)


async def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.auth.tokens.CACHED_MAX", 3)
    async with verifying() as verifier:
        for n in range(8):
            await verifier.verify(minted(claims_of(jti=str(n))))
        assert len(verifier._cache) == 3
