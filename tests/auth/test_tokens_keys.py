"""An issuer's keys: found by discovery, rotated, refused, and gone when the issuer is (RFC 7517, Discovery 1.0)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from isthmus.auth.issuer_keys import usable_keys
from isthmus.auth.tokens import IssuerUnavailable, TokenRefused, TokenVerifier
from isthmus.domain.clock import SettableClock
from isthmus.read_models.database import is_unavailable
from isthmus.settings import IssuerSettings
from tests.auth.fake_issuer import ISSUER, NOW, FakeIssuer, claims_of, ec_key, header_of, jwk_of, minted, rsa_key

_JWKS = "/jwks"


class Seconds:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


@asynccontextmanager
async def verifying(
    issuer: FakeIssuer, seconds: Seconds | None = None, max_age_s: float = 300.0, url: str = ISSUER
) -> AsyncIterator[TokenVerifier]:
    async with issuer.http() as http:
        verifier = TokenVerifier(
            IssuerSettings(),
            url,
            SettableClock(NOW).now,
            http,
            keys_max_age_s=max_age_s,
            monotonic=seconds or Seconds(),
        )
        await verifier.start()
        try:
            yield verifier
        finally:
            await verifier.aclose()


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The issuer is asked once at the start, not three times."""
    monkeypatch.setattr("isthmus.auth.issuer_keys.ATTEMPTS", 1)


def _by(name: str, kid: str) -> str:
    return minted(claims_of(jti=name), header_of(kid=kid), ec_key(name))


async def _until(condition: Any, patience_s: float = 5.0) -> None:
    until = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        await asyncio.sleep(0.01)


async def test_a_new_key_is_fetched_when_a_token_names_it() -> None:
    issuer, seconds = FakeIssuer(), Seconds()
    async with verifying(issuer, seconds) as verifier:
        await verifier.verify(minted())
        issuer.keys = [jwk_of(ec_key()), jwk_of(ec_key("two"), "ec2")]
        await verifier.verify(_by("two", "ec2"))
        await verifier.verify(minted())
        assert issuer.asked[_JWKS] == 2


async def test_a_removed_key_is_gone_with_all_it_signed_although_cached() -> None:
    issuer = FakeIssuer(keys=[jwk_of(ec_key()), jwk_of(ec_key("two"), "ec2")])
    async with verifying(issuer, max_age_s=0.05) as verifier:
        token = minted()
        await verifier.verify(token)
        issuer.keys = [jwk_of(ec_key("two"), "ec2")]
        generation = verifier._keys.generation
        await _until(lambda: verifier._keys.generation > generation)
        with pytest.raises(TokenRefused, match="unknown key"):
            await verifier.verify(token)
        await verifier.verify(_by("two", "ec2"))


async def test_many_unknown_keys_cost_one_fetch_per_interval() -> None:
    issuer, seconds = FakeIssuer(), Seconds()
    async with verifying(issuer, seconds) as verifier:
        for _ in range(3):
            tokens = [_by("attacker", f"unknown-{n}") for n in range(70)]
            answers = await asyncio.gather(*(verifier.verify(token) for token in tokens), return_exceptions=True)
            assert all(isinstance(answer, TokenRefused) for answer in answers)
        assert issuer.asked[_JWKS] == 2, "one at the start, one for all of them"
        seconds.at += 9.9
        with pytest.raises(TokenRefused):
            await verifier.verify(_by("attacker", "unknown"))
        assert issuer.asked[_JWKS] == 2
        seconds.at += 0.2
        with pytest.raises(TokenRefused):
            await verifier.verify(_by("attacker", "unknown"))
        assert issuer.asked[_JWKS] == 3
        await verifier.verify(minted())


async def test_those_who_come_while_the_issuer_is_asked_share_the_answer() -> None:
    issuer = FakeIssuer()
    async with verifying(issuer) as verifier:
        issuer.keys = [jwk_of(ec_key()), jwk_of(ec_key("two"), "ec2")]
        await asyncio.gather(*(verifier.verify(_by("two", "ec2")) for _ in range(50)))
        assert issuer.asked[_JWKS] == 2


async def test_after_an_hour_of_silence_no_token_is_believed() -> None:
    issuer, seconds = FakeIssuer(), Seconds()
    async with verifying(issuer, seconds) as verifier:
        token = minted()
        await verifier.verify(token)
        issuer.down = True
        seconds.at += 3_599
        await verifier.verify(token)
        seconds.at += 2
        assert not verifier.ready
        with pytest.raises(IssuerUnavailable):
            await verifier.verify(token)


async def test_a_down_issuer_does_not_stop_the_start_and_comes_back() -> None:
    issuer = FakeIssuer(down=True)
    async with verifying(issuer) as verifier:
        assert not verifier.ready
        with pytest.raises(IssuerUnavailable) as caught:
            await verifier.verify(minted())
        assert is_unavailable(caught.value), "the API answers 503, not 500"
        issuer.down = False
        await _until(lambda: verifier.ready)
        await verifier.verify(minted())


async def test_a_short_outage_changes_nothing() -> None:
    issuer = FakeIssuer()
    async with verifying(issuer, max_age_s=0.05) as verifier:
        issuer.down = True
        asked = issuer.asked[_JWKS]
        await asyncio.sleep(0.2)
        await verifier.verify(minted())
        assert issuer.asked[_JWKS] == asked


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://other.example"},
        {"issuer": ISSUER.upper()},
        {"issuer": f"{ISSUER}//"},
        {"issuer": None},
        {"jwks_uri": "http://issuer.example/jwks"},
        {"jwks_uri": "http://127.0.0.1/jwks"},
        {"jwks_uri": "file:///jwks"},
        {"jwks_uri": "https://[/jwks"},
        {"jwks_uri": 7},
        {"jwks_uri": f"{ISSUER}/nowhere"},
    ],
)
async def test_discovery_that_is_not_trusted(document: dict[str, Any], once: None) -> None:
    async with verifying(FakeIssuer(document=document)) as verifier:
        assert not verifier.ready
        with pytest.raises(IssuerUnavailable):
            await verifier.verify(minted())


async def test_an_issuer_whose_name_ends_in_a_slash() -> None:
    """Settings drop it; the `iss` claim is still compared with what the issuer calls itself."""
    async with verifying(FakeIssuer(issuer=f"{ISSUER}/")) as verifier:
        await verifier.verify(minted(claims_of(iss=f"{ISSUER}/")))
        with pytest.raises(TokenRefused, match="iss"):
            await verifier.verify(minted())


async def test_an_issuer_with_a_path() -> None:
    realm = f"{ISSUER}/realms/bank"
    async with verifying(FakeIssuer(issuer=realm), url=realm) as verifier:
        await verifier.verify(minted(claims_of(iss=realm)))


_LONG = json.dumps({"keys": [jwk_of(ec_key())]}).encode() + b" " * 300_000


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b'{"keys": [1, null, "x", []]}', _LONG]
)
async def test_key_sets_that_are_none(raw: bytes, once: None) -> None:
    async with verifying(FakeIssuer(raw_keys=raw)) as verifier:
        assert not verifier.ready


_POINT = jwk_of(ec_key())


@pytest.mark.parametrize(
    "jwk",
    [
        jwk_of(ec_key(), use="enc"),
        jwk_of(ec_key(), use=["sig"]),
        jwk_of(ec_key(), key_ops=["sign"]),
        jwk_of(ec_key(), key_ops="verify"),
        jwk_of(ec_key(), alg="ES384"),
        jwk_of(ec_key(), alg="ECDH-ES"),
        jwk_of(ec_key(), d="AAAA"),
        jwk_of(ec_key(), kid=None) | {"kid": 1},
        jwk_of(ec_key("p384", ec.SECP384R1)),
        jwk_of(ec_key("k1", ec.SECP256K1)),
        jwk_of(ec_key("k1", ec.SECP256K1)) | {"crv": "P-256"},
        _POINT | {"x": _POINT["y"]},
        _POINT | {"x": _POINT["x"] + "AA"},
        _POINT | {"x": 1},
        _POINT | {"crv": "P-384"},
        {name: value for name, value in _POINT.items() if name != "crv"},
        {name: value for name, value in _POINT.items() if name != "y"},
        _POINT | {"kty": "oct", "k": "c2VjcmV0"},
        _POINT | {"kty": "OKP"},
        jwk_of(rsa_key("small", 1_024)),
        jwk_of(rsa_key()) | {"e": "AQ"},
        jwk_of(rsa_key()) | {"e": "AA"},
        jwk_of(rsa_key()) | {"alg": "PS256"},
        jwk_of(rsa_key()) | {"n": "_" * 2_000},
    ],
)
def test_keys_that_are_left_out(jwk: dict[str, Any]) -> None:
    assert usable_keys([jwk]) == ()
    assert len(usable_keys([jwk, jwk_of(ec_key())])) == 1, "and the others are still used"


@pytest.mark.parametrize(
    "keys",
    [
        [jwk_of(ec_key("other")), jwk_of(ec_key())],
        [jwk_of(ec_key()), jwk_of(ec_key("other"))],
        [jwk_of(rsa_key(), "ec1"), jwk_of(ec_key())],
        [jwk_of(ec_key(), use="enc"), jwk_of(ec_key())],
    ],
)
async def test_two_keys_of_one_name(keys: Sequence[Any]) -> None:
    async with verifying(FakeIssuer(keys=keys)) as verifier:
        await verifier.verify(minted())
        with pytest.raises(TokenRefused, match="signature"):
            await verifier.verify(_by("attacker", "ec1"))


async def test_without_a_name_only_where_there_is_one_key() -> None:
    async with verifying(FakeIssuer(keys=[jwk_of(ec_key(), None)])) as verifier:
        await verifier.verify(minted(header=header_of(kid=...)))
        with pytest.raises(TokenRefused, match="unknown key"):
            await verifier.verify(minted())
    async with verifying(FakeIssuer(keys=[jwk_of(ec_key()), jwk_of(ec_key("two"), "ec2")])) as verifier:
        with pytest.raises(TokenRefused, match="unknown key"):
            await verifier.verify(minted(header=header_of(kid=...)))
