"""Rows C7 to C9: forged tokens, bent claims, and floods of unknown keys against the verifier."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from isthmus.auth.issuer_keys import BELIEVED_S, REFETCH_S
from isthmus.auth.tokens import IssuerUnavailable, TokenRefused, TokenVerifier
from isthmus.domain.clock import SettableClock
from isthmus.settings import IssuerSettings
from tests.attacks.count import Row
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
from tests.auth.test_tokens import KEYCLOAK, verifying

T = int(NOW.timestamp())
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def unsigned(**header: Any) -> str:
    return f"{b64(json.dumps(header_of(**header)).encode())}.{b64(json.dumps(claims_of()).encode())}"


def signatures(signed: bytes) -> Iterator[bytes]:
    """All but the right one: absent, by a thief, by the public key as a secret, and numbers no curve has."""
    yield b""
    yield b"\0"
    for size in (32, 63, 64, 65, 96):
        yield bytes(size)
    for r, s in itertools.product((0, 1, ORDER - 1, ORDER, ORDER + 1, 2**256 - 1), repeat=2):
        yield r.to_bytes(32, "big") + s.to_bytes(32, "big")
    yield signature_of(ec_key("thief"), signed)
    yield signature_of(rsa_key("thief"), signed)
    yield signature_of(ec_key("384", ec.SECP384R1), signed)
    yield ec_key().sign(signed, ec.ECDSA(SHA256()))  # the right key in DER, which JOSE does not have
    publics = [
        ec_key().public_key().public_bytes(form, PublicFormat.SubjectPublicKeyInfo)
        for form in (Encoding.PEM, Encoding.DER)
    ]
    publics += [rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), b"", b"secret"]
    publics += [json.dumps(jwk_of(ec_key())).encode(), jwk_of(ec_key())["x"].encode()]
    for secret in publics:
        for digest in (hashlib.sha256, hashlib.sha384, hashlib.sha512):
            yield hmac.new(secret, signed, digest).digest()


#: By header, what it must not be; then what goes together.
BENT: dict[str, list[Any]] = {
    "alg": ["HS256", "HS384", "HS512", "ES384", "ES512", "ES256K", "PS256", "PS512", "RS384", "EdDSA", "dir", "A256KW", "es256", " ES256",
            "ES256 ", "ES256\0", "", None, 0, True, [], ["ES256"], {"alg": "ES256"}, ..., "RS256",
            *("".join(signs) for signs in itertools.product("nN", "oO", "nN", "eE"))],
    "typ": [..., None, "", "JWT", "jwt", "dpop+jwt", "logout+jwt", "at+jwt ", "at jwt", ["at+jwt"], 1, "text/at+jwt"],
    "kid": ["../../../../dev/null", "/dev/null", "ec1' or '1'='1", "ec1; drop table users", "ec1\0", "EC1", "", 1, [], "x" * 256, "rsa1",
            "https://evil.example/key", "|/bin/true", "${jndi:ldap://evil}", "of another issuer"],
    "crit": [[], ["exp"], ["b64"], ["nope"], "exp", None, {}],
    "b64": [True, False],
    "jwk": [jwk_of(ec_key("thief")), jwk_of(ec_key()), None],
    "jku": ["https://evil.example/jwks", f"{ISSUER}/jwks", "file:///etc/passwd", "", None],
    "x5u": ["https://evil.example/x5u", f"{ISSUER}/jwks", "file:///etc/passwd", "", None],
    "x5c": [["MIIB"], []],
}  # fmt: skip
HEADERS: list[dict[str, Any]] = [{name: value} for name, values in BENT.items() for value in values] + [
    {"crit": ["b64"], "b64": False},
    {"alg": "RS256", "kid": "rsa1"},
    {"jwk": jwk_of(ec_key("thief")), "kid": ...},
    {"kid": "thief", "jwk": jwk_of(ec_key("thief"), "thief")},
]


async def is_refused(verifier: TokenVerifier, token: str) -> None:
    with pytest.raises(TokenRefused):
        await verifier.verify(token)


async def test_c7_no_header_and_no_signature_but_the_right_ones(row: Row) -> None:
    """Every bent header with every bent signature, and rightly signed too; the right header with every bent signature."""
    async with verifying() as verifier:
        assert await verifier.verify(minted())
        for header in HEADERS:
            head = unsigned(**header)
            for signature in (*signatures(head.encode()), signature_of(ec_key(), head.encode())):
                with row.case(header):
                    await is_refused(verifier, f"{head}.{b64(signature)}")
        for signature in signatures(unsigned().encode()):
            with row.case(signature):
                await is_refused(verifier, f"{unsigned()}.{b64(signature)}")


async def test_c7_no_character_of_a_token_may_change(row: Row) -> None:
    good = minted()
    async with verifying() as verifier:
        assert await verifier.verify(good)
        for place, sign in enumerate(good):
            for other in ("A" if sign != "A" else "B", "", sign + sign, ".", "="):
                bent = good[:place] + other + good[place + 1 :]
                if bent != good:
                    with row.case((place, other)):
                        await is_refused(verifier, bent)


async def test_c7_what_is_no_token_at_all(row: Row) -> None:
    good = minted()
    head, body, signature = good.split(".")
    shapes = ["", ".", "..", "...", head, f"{head}.{body}", f"{head}.{body}.", f".{body}.{signature}", f"{head}..{signature}",
              f"{good}.", f".{good}", f"{good}.{signature}", f"{good}\n", f"\n{good}", f" {good}", f"{good} ", f"{good}\0", "é", "\ud800",
              good.replace(".", "\u3002"), good.replace(".", "%2e"), f"{good},{good}", f"[{good}]", f'"{good}"', f"Bearer {good}",
              json.dumps({"payload": body, "protected": head, "signature": signature}), f"{body}.{head}.{signature}",
              f"{head}.{body}.{signature}=", f"{head}=.{body}.{signature}", f"{head}.{head}.{signature}", minted(good.encode()),
              minted(header=header_of(cty="JWT")).replace(".", "..", 1), "A" * 8_193, "A" * 2**20, "." * 2**20, "a.b.c" * 100_000,
              minted(claims_of(padding="x" * 2**20)), minted(b"[" * 4_000), minted(b'{"a":' * 1_000 + b"1" + b"}" * 1_000)]  # fmt: skip
    bodies = [
        json.dumps(claims_of())[:-1] + f', "{name}": {json.dumps(claims_of().get(name, 1))}}}' for name in claims_of()
    ]
    async with verifying() as verifier:
        for shape in (*shapes, *(minted(body.encode()) for body in bodies)):
            with row.case(shape[:60]):
                await is_refused(verifier, shape)


JUNK: list[Any] = [
    None,
    True,
    False,
    -1,
    0,
    0.5,
    10**30,
    1e300,
    "",
    " ",
    "x",
    "0",
    "\ud800",
    [],
    [None],
    [[]],
    {},
    {"a": 1},
    "a" * 300,
    "é\n",
]
ABOUT_TIME: dict[str, list[Any]] = {
    "exp": [..., T, T - 1, T - 30, T - 31, T - 86_400, T + 631, T + 86_400, 2**53, 2**64, 10**400, str(T + 60)],
    "iat": [..., T + 31, T + 60, T - 86_400, T - 630, 2**53, str(T)],
    "nbf": [T + 31, T + 60, T + 599, 2**53, str(T)],
}
ABOUT_WHOM: dict[str, list[Any]] = {
    "iss": [..., f"{ISSUER}/", f"{ISSUER}.evil.example", ISSUER.upper(), [ISSUER], {ISSUER: 1}, "https://evil.example", f" {ISSUER}"],
    "aud": [..., "isthmus", "isthmus-api-2", "ISTHMUS-API", " isthmus-api", "isthmus-api other", ["other"], [["isthmus-api"]],
            ["isthmus-api", None], ["isthmus-api", 1], {"isthmus-api": True}],
    "sub": [..., "a" * 256, "a\0b", "a\nb", "\x7f", "\u202e", ["5f0c2f5e"], {"sub": 1}],
    "nonce": ["n"], "at_hash": ["x"], "c_hash": ["x"], "s_hash": ["x"], "events": [{}, {"logout": {}}],
    "typ": ["ID", "Refresh", "Logout", "DPoP", "N_A"], "cnf": [{"jkt": "x"}, {"x5t#S256": "x"}, {}, None],
}  # fmt: skip
#: What is genuinely nothing: a name that says nothing, times that hold for this test's instant, a claim that has no junk.
HOLDS = {("sub", "x"), ("sub", "0"), ("sub", " "), ("nbf", 0), ("nbf", 0.5), ("nbf", -0.0)}


async def test_c8_no_claim_but_the_right_ones(row: Row) -> None:
    """Each claim bent in every way, in our tokens and in Keycloak's: rightly signed, and still refused."""
    bent = [(name, value) for name, values in (ABOUT_TIME | ABOUT_WHOM).items() for value in values]
    bent += [(name, value) for name in ("exp", "iat", "nbf", "iss", "aud", "sub") for value in JUNK]
    bent = [
        pair
        for pair in bent
        if not isinstance(pair[1], str | int | float) or isinstance(pair[1], bool) or pair not in HOLDS
    ]
    keycloak = {"typ": "Bearer", "realm_access": {"roles": ["customer"]}, "azp": "web"}
    async with verifying() as ours, verifying(settings=KEYCLOAK) as theirs:
        assert await ours.verify(minted())
        assert await theirs.verify(minted(claims_of(**keycloak), header_of(typ="JWT")))
        for name, value in bent:
            with row.case((name, value)):
                await is_refused(ours, minted(_claims({name: value})))
            with row.case(("keycloak", name, value)):
                await is_refused(theirs, minted(_claims(keycloak | {name: value}), header_of(typ="JWT")))


def _claims(changed: dict[str, Any]) -> bytes:
    """Also what no library would write: a number beyond every double."""
    return json.dumps(claims_of(**changed)).encode()


async def test_c8_no_two_wrongs_make_a_right(row: Row) -> None:
    """Pairs of faults: one check must never stand in for another."""
    draw = random.Random(8)
    singles = [(name, value) for name, values in (ABOUT_TIME | ABOUT_WHOM).items() for value in values]
    async with verifying() as verifier:
        for _ in range(600):
            (one, first), (other, second) = draw.sample(singles, 2)
            if one == other or {one, other} <= {"exp", "iat", "nbf"}:
                continue
            with row.case((one, first, other, second)):
                await is_refused(verifier, minted(_claims({one: first, other: second})))


async def test_c8_a_token_that_was_good_ends_on_the_second(row: Row) -> None:
    clock = SettableClock(NOW)
    async with verifying(clock=clock) as verifier:
        for seconds in (1, 60, 599, 600):
            token = minted(claims_of(exp=T + seconds))
            clock.set(NOW)
            await verifier.verify(token)
            clock.set(NOW.fromtimestamp(T + seconds + 30, NOW.tzinfo))
            with row.case(seconds):
                await is_refused(verifier, token)


class Hours:
    """A clock that a test lets pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def flooded(verifier: TokenVerifier, count: int, seed: int) -> int:
    draw = random.Random(seed)
    tokens = [minted(header=header_of(kid=f"unknown-{draw.getrandbits(64):x}")) for _ in range(count)]
    outcomes = await asyncio.gather(*(verifier.verify(token) for token in tokens), return_exceptions=True)
    return sum(isinstance(outcome, TokenRefused) for outcome in outcomes)


async def test_c9_a_flood_of_unknown_keys_asks_the_issuer_once_in_ten_seconds(row: Row) -> None:
    """200 a second for half a minute of the verifier's own time."""
    issuer, hours = FakeIssuer(), Hours()
    async with issuer.http() as http:
        verifier = TokenVerifier(IssuerSettings(), ISSUER, SettableClock(NOW), http, monotonic=hours)
        await verifier.start()
        for second in range(30):
            hours.now += 1
            refused = await flooded(verifier, 200 if second % 10 == 0 else 20, second)
            for _ in range(refused):
                with row.case(second):
                    assert issuer.asked["/jwks"] <= 2 + hours.now / REFETCH_S
            assert refused == (200 if second % 10 == 0 else 20)
        assert await verifier.verify(minted()), "whoever is known comes in meanwhile"
        await verifier.aclose()


async def test_c9_a_key_that_was_taken_away_signs_nothing_any_more(row: Row) -> None:
    """Not for tokens that were verified before, either: what is remembered was verified with keys that are gone."""
    issuer, hours = FakeIssuer(keys=[jwk_of(ec_key()), jwk_of(ec_key("two"), "ec2")]), Hours()
    async with issuer.http() as http:
        verifier = TokenVerifier(IssuerSettings(), ISSUER, SettableClock(NOW), http, monotonic=hours)
        await verifier.start()
        tokens = [minted(claims_of(jti=str(n))) for n in range(50)]
        for token in tokens:
            await verifier.verify(token)
        issuer.keys = [jwk_of(ec_key("two"), "ec2")]
        hours.now += REFETCH_S + 1
        await flooded(verifier, 1, 0)  # any unknown name has the set fetched anew
        for token in tokens:
            with row.case("gone"):
                await is_refused(verifier, token)
        await verifier.aclose()


async def test_c9_without_its_issuer_nothing_is_believed_for_ever(row: Row) -> None:
    issuer, hours = FakeIssuer(), Hours()
    async with issuer.http() as http:
        verifier = TokenVerifier(IssuerSettings(), ISSUER, SettableClock(NOW), http, monotonic=hours)
        await verifier.start()
        known = minted()
        await verifier.verify(known)
        issuer.down = True
        hours.now += BELIEVED_S - 1
        assert await verifier.verify(known), "an issuer may be away for an hour"
        hours.now += 1
        for token in (known, minted(claims_of(jti="new")), minted(header=header_of(kid="other")), "x"):
            with row.case("after an hour"), pytest.raises(IssuerUnavailable):
                await verifier.verify(token)
        await verifier.aclose()


async def test_c9_key_sets_that_would_lend_a_name_to_a_thief(row: Row) -> None:
    """A set with a thief's key under a name of ours, in every order and use: only keys for signatures count, of the right kind."""
    thief, mine = jwk_of(ec_key("thief")), jwk_of(ec_key())
    wrong: dict[str, list[Any]] = {
        "use": ["enc", "ENC", None, ["sig"]], "key_ops": [["sign"], [], "verify"], "alg": ["ES384", "ECDH-ES", None], "kty": ["oct", "ec"],
        "crv": ["P-384", None], "d": ["AAAA", None], "x": ["", thief["x"] + "="], "y": ["AA"], "kid": ["EC1", 1],
    }  # fmt: skip
    for bent in ({name: value} for name, values in wrong.items() for value in values):
        for keys in ([thief | bent, mine], [mine, thief | bent]):
            with row.case(bent):
                async with verifying(FakeIssuer(keys=keys)) as verifier:
                    assert await verifier.verify(minted())
                    await is_refused(verifier, minted(key=ec_key("thief")))
