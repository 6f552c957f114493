"""Rows E2 to E5: whose signature is believed, by what the vendors publish and by what could be made of it.

Plaid's vector was published by one of its customers (a question of 2020-05-31 on hashing its webhooks), TrueLayer's lies in
`test-resources/` of its signing library.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
import truelayer_signing
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from isthmus.domain.banking import ProviderFault, ProviderRefused, ProviderUnavailable
from isthmus.domain.clock import SettableClock
from isthmus.domain.webhooks import WebhookRefused, WebhookSender
from isthmus.integrations.banking.webhooks import Keys, PlaidWebhooks, TrueLayerWebhooks, YapilyWebhooks

PLAID_SIGNED_AT = datetime.fromtimestamp(1590887001, UTC)
PLAID_TOKEN = (
    "eyJhbGciOiJFUzI1NiIsImtpZCI6IjZjNTUxNmUxLTkyZGMtNDc5ZS1hOGZmLTVhNTE5OTJlMDAwMSIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE1OTA4ODcwMDEsInJl"
    "cXVlc3RfYm9keV9zaGEyNTYiOiJiNjNhMDdiNTQ3YjAwZjk5MjU0N2Y2YmJjOGQ5YWNjNjFhOGNjZWUxMzhiYzgyZjQ0YTZiYWEwOTY4M2E1ZDBmIn0.OOKvIihg"
    "qCj7Qrb2bmz7T3t7uK-0JyjiEqL2s1kWeJBM4MMmjaHKK8GmU_z91QolBWMzvPgs718EElY-rE3cwQ"
)
PLAID_KEY = {
    "alg": "ES256",
    "created_at": 1560466143,
    "crv": "P-256",
    "expired_at": None,
    "kid": "6c5516e1-92dc-479e-a8ff-5a51992e0001",
    "kty": "EC",
    "use": "sig",
    "x": "35lvC8uz2QrWpQJ3TUH8t9o9DURMp7ydU518RKDl20k",
    "y": "I8BuXB2bvxelzJAd7OKhd-ZwjCst05Fx47Mb_0ugros",
}
PLAID_TOLD = {
    "error": None,
    "item_id": "yxQbxDjnD8hr69pKbQpbcKeVn3GL9QuyA7NV3",
    "new_transactions": 390,
    "webhook_code": "HISTORICAL_UPDATE",
    "webhook_type": "TRANSACTIONS",
}
PLAID_BODY = json.dumps(PLAID_TOLD, indent=2).encode()

JKU = "https://webhooks.truelayer.com/.well-known/jwks"
TL_SIGNATURE = (
    "eyJhbGciOiJFUzUxMiIsImtpZCI6IjQ1ZmM3NWNmLTU2NDktNDEzNC04NGIzLTE5MmMyYzc4ZTk5MCIsInRsX3ZlcnNpb24iOiIyIiwidGxfaGVhZGVycyI6IlgtVGwt"
    "V2ViaG9vay1UaW1lc3RhbXAsQ29udGVudC1UeXBlIiwiamt1IjoiaHR0cHM6Ly93ZWJob29rcy50cnVlbGF5ZXIuY29tLy53ZWxsLWtub3duL2p3a3MifQ..AB9S1dzZ"
    "Tmw0tofUjJNGO7Kt_jZsahPyIrBTdhfxBWOI3KoLALkMy6ka1MjpZQx06_hQUJnanu9K_LS6V9lNaNGiAX5Cos5RWQfbeBCZWqAvIpXO3FvIzyJKRaTYK8FBG4lfJYPi"
    "76_pIkCLGKWeq8__7ElpMVRcLTM5IBKWL8isVZn_"
)
TL_KEY = {
    "kty": "EC",
    "alg": "ES512",
    "kid": "45fc75cf-5649-4134-84b3-192c2c78e990",
    "crv": "P-521",
    "x": "oLuW4nFqoUuR8d7FVsUoI62libYdQlWGtLStnqdudLY92bQ0ra5eZAbkunrGTR9-w9mr4o2Etyb6pC7YB2-23WM",
    "y": "AX1cjkGMiltikPrkX49qwuJDdcETaTsj-kyFP8jsF9W5XAB3Z4tBiQtc72DQnJYeKyAV_T6qZTtFKFr-Tp4iu-j7",
}
TL_PATH, TL_STAMP = "/tl-webhook", "2021-11-29T11:42:55Z"
TL_BODY = b'{"event_type":"example","event_id":"18b2842b-a57b-4887-a0a6-d3c7c36f1020"}'
TL_HEADERS = {
    "tl-signature": TL_SIGNATURE,
    "x-tl-webhook-timestamp": TL_STAMP,
    "content-type": "application/json",
    "user-agent": "TrueLayer",
}

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
PLAIDS = ec.generate_private_key(ec.SECP256R1())
TRUELAYERS = ec.generate_private_key(ec.SECP521R1())


def jwk(key: ec.EllipticCurvePrivateKey, **more: Any) -> dict[str, Any]:
    return jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "k"} | more


def pem(key: ec.EllipticCurvePrivateKey) -> str:
    form, nothing = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, nothing).decode()


def publishing(*keys: Mapping[str, Any]) -> Callable[[str], Awaitable[dict[str, Any]]]:
    async def fetch(key_id: str) -> dict[str, Any]:
        for key in keys:
            if key["kid"] == key_id:
                return dict(key)
        raise ProviderRefused("no such key")

    return fetch


def plaid(*keys: Mapping[str, Any], at: datetime = NOW) -> PlaidWebhooks:
    return PlaidWebhooks(publishing(*keys), SettableClock(at))


def truelayer(*keys: Mapping[str, Any], at: datetime = NOW) -> TrueLayerWebhooks:
    async def fetch() -> list[Any]:
        return list(keys)

    return TrueLayerWebhooks(JKU, fetch, SettableClock(at))


def verified(sender: WebhookSender, headers: Mapping[str, str], body: bytes, path: str = "/webhooks/x") -> str:
    return asyncio.run(sender.verify(headers, path, body))


def plaid_token(body: bytes, key: Any = PLAIDS, algorithm: str = "ES256", kid: str = "k", **claims: Any) -> str:
    told = {"iat": int(NOW.timestamp()), "request_body_sha256": hashlib.sha256(body).hexdigest()} | claims
    return jwt.encode(told, key, algorithm=algorithm, headers={"kid": kid})


def tl_signed(
    body: bytes,
    path: str = "/webhooks/truelayer",
    stamp: str = NOW.isoformat(),
    jku: str | None = JKU,
    *,
    with_stamp: bool = True,
    key: ec.EllipticCurvePrivateKey = TRUELAYERS,
) -> dict[str, str]:
    signer = truelayer_signing.sign_with_pem("k", pem(key)).set_method(truelayer_signing.HttpMethod.POST).set_path(path)
    if with_stamp:
        signer.add_header("X-TL-Webhook-Timestamp", stamp)
    if jku is not None:
        signer.set_jku(jku)
    return {"tl-signature": signer.set_body(body.decode()).sign(), "x-tl-webhook-timestamp": stamp}


# -- E2: Plaid ---------------------------------------------------------------------------------------------------------------


def test_e2_the_published_vector_of_plaid_is_believed_as_long_as_it_is_fresh() -> None:
    headers = {"plaid-verification": PLAID_TOKEN}

    sender = plaid(PLAID_KEY, at=PLAID_SIGNED_AT + timedelta(minutes=4))
    assert len(verified(sender, headers, PLAID_BODY)) == 64
    news = sender.read(PLAID_BODY)
    assert (news.reference, news.changed) == (PLAID_TOLD["item_id"], True)

    for wrong in (json.dumps(PLAID_TOLD).encode(), PLAID_BODY + b"\n", PLAID_BODY.replace(b"390", b"391")):
        with pytest.raises(WebhookRefused, match="not the one that was signed"):
            verified(sender, headers, wrong)
    for later in (timedelta(minutes=5, seconds=1), timedelta(hours=72), timedelta(days=2_373)):
        with pytest.raises(WebhookRefused, match="too old"):
            verified(plaid(PLAID_KEY, at=PLAID_SIGNED_AT + later), headers, PLAID_BODY)
    with pytest.raises(WebhookRefused, match="from the future"):
        verified(plaid(PLAID_KEY, at=PLAID_SIGNED_AT - timedelta(minutes=2)), headers, PLAID_BODY)
    with pytest.raises(WebhookRefused, match="the key is over"):
        over = PLAID_KEY | {"expired_at": int(PLAID_SIGNED_AT.timestamp()) - 1}
        verified(plaid(over, at=PLAID_SIGNED_AT), headers, PLAID_BODY)


def test_e2_a_signature_of_another_kind_or_by_another_is_refused() -> None:
    body, known = b'{"webhook_type":"ITEM","webhook_code":"ERROR"}', jwk(PLAIDS)
    raw = base64.urlsafe_b64decode(known["x"] + "==")
    stranger = ec.generate_private_key(ec.SECP256R1())
    wrong = {
        "none": jwt.encode({"iat": int(NOW.timestamp())}, "", algorithm="none", headers={"kid": "k"}),
        "HS256 with what is published": plaid_token(body, raw, "HS256"),
        "another's key": plaid_token(body, stranger),
        "no key id": jwt.encode({"iat": 1}, PLAIDS, algorithm="ES256"),
        "no body": jwt.encode({"iat": int(NOW.timestamp())}, PLAIDS, algorithm="ES256", headers={"kid": "k"}),
        "no time": plaid_token(body, iat="now"),
        "time is true": plaid_token(body, iat=True),
        "unknown key": plaid_token(body, kid="other"),
        "nothing": "",
        "no token": "a.b.c",
        "cut": plaid_token(body)[:-8],
        "garbage": "\x00\xff" * 50,
    }
    for what, token in wrong.items():
        with pytest.raises(WebhookRefused):
            verified(plaid(known), {"plaid-verification": token}, body)
            pytest.fail(what)
    assert verified(plaid(known), {"plaid-verification": plaid_token(body)}, body)


def test_e2_the_same_message_under_another_signature_that_holds_is_its_repetition() -> None:
    body = b'{"webhook_type":"ITEM","webhook_code":"ERROR"}'
    one, other = plaid_token(body), plaid_token(body)
    assert one != other, "ECDSA signs with chance"

    sender = plaid(jwk(PLAIDS))

    assert verified(sender, {"plaid-verification": one}, body) == verified(sender, {"plaid-verification": other}, body)
    later = plaid_token(body, iat=int(NOW.timestamp()) - 1)
    assert verified(sender, {"plaid-verification": later}, body) != verified(sender, {"plaid-verification": one}, body)


@given(where=st.integers(0, 5_000), what=st.integers(1, 255))
def test_e2_no_other_bytes_are_believed(where: int, what: int) -> None:
    """A byte changed anywhere in the body or in the token's text, but where base64 leaves bits over."""
    sender = plaid(PLAID_KEY, at=PLAID_SIGNED_AT)
    body, token = bytearray(PLAID_BODY), bytearray(PLAID_TOKEN.encode())
    body[where % len(body)] ^= what
    with pytest.raises(WebhookRefused):
        verified(sender, {"plaid-verification": PLAID_TOKEN}, bytes(body))
    token[where % (len(token) - 1)] ^= what
    with pytest.raises(WebhookRefused):
        verified(sender, {"plaid-verification": token.decode("latin-1")}, PLAID_BODY)


# -- E3: TrueLayer -----------------------------------------------------------------------------------------------------------


def test_e3_the_published_vector_of_truelayer_is_believed_as_long_as_it_is_fresh() -> None:
    then = datetime.fromisoformat(TL_STAMP.replace("Z", "+00:00"))

    sender = truelayer({"kid": "another", "kty": "RSA"}, TL_KEY, at=then + timedelta(minutes=4))
    assert verified(sender, TL_HEADERS, TL_BODY, TL_PATH)
    for later in (timedelta(minutes=6), timedelta(hours=72), timedelta(days=1_826)):
        with pytest.raises(WebhookRefused, match="too old"):
            verified(truelayer(TL_KEY, at=then + later), TL_HEADERS, TL_BODY, TL_PATH)
    changed: list[tuple[dict[str, str], bytes, str]] = [
        (TL_HEADERS, TL_BODY + b" ", TL_PATH),
        (TL_HEADERS, TL_BODY, "/tl-webhook2"),
        (TL_HEADERS, TL_BODY, "/webhooks/truelayer"),
        (TL_HEADERS | {"x-tl-webhook-timestamp": "2021-11-29T11:42:56Z"}, TL_BODY, TL_PATH),
        (TL_HEADERS | {"content-type": "text/plain"}, TL_BODY, TL_PATH),
        ({name: value for name, value in TL_HEADERS.items() if name != "content-type"}, TL_BODY, TL_PATH),
        (TL_HEADERS | {"tl-signature": TL_SIGNATURE[:-6] + "AAAAAA"}, TL_BODY, TL_PATH),
    ]
    for headers, body, path in changed:
        with pytest.raises(WebhookRefused):
            verified(sender, headers, body, path)
            pytest.fail(str((headers, body, path)))


def test_e3_keys_from_elsewhere_are_never_asked_for() -> None:
    body = b'{"type":"payment_settled","event_id":"e"}'
    asked: list[int] = []

    async def fetch() -> list[Any]:
        asked.append(1)
        return [jwk(TRUELAYERS)]

    for jku in (
        None,
        "https://webhooks.truelayer.com.example.org/.well-known/jwks",
        "https://webhooks.truelayer-com.example/.well-known/jwks",
        "http://webhooks.truelayer.com/.well-known/jwks",
        "https://webhooks.truelayer.com@example.org/.well-known/jwks",
        "https://user@webhooks.truelayer.com/.well-known/jwks",
        "https://webhooks.truelayer.com/.well-known/jwks/",
        "https://webhooks.truelayer.com/.well-known/jwks?",
        "https://webhooks.truelayer.com/.well-known/../jwks",
        "https://WEBHOOKS.truelayer.com/.well-known/jwks",
        "https://webhooks.truelayer-sandbox.com/.well-known/jwks",
        "//webhooks.truelayer.com/.well-known/jwks",
        "file:///etc/passwd",
        "https://webhooks.truelayer.cоm/.well-known/jwks",
    ):
        with pytest.raises(WebhookRefused):
            headers = tl_signed(body, jku=jku)
            verified(TrueLayerWebhooks(JKU, fetch, SettableClock(NOW)), headers, body, "/webhooks/truelayer")
            pytest.fail(str(jku))
    assert asked == [], "an environment's keys are from one address, and nobody else's is looked at"
    genuine = tl_signed(body)
    assert verified(TrueLayerWebhooks(JKU, fetch, SettableClock(NOW)), genuine, body, "/webhooks/truelayer")


def test_e3_a_signature_that_leaves_the_time_out_or_is_not_for_here_is_refused() -> None:
    body, sender = b'{"type":"payment_settled","event_id":"e"}', truelayer(jwk(TRUELAYERS))
    wrong = {
        "without the time": tl_signed(body, with_stamp=False),
        "of another time": tl_signed(body) | {"x-tl-webhook-timestamp": (NOW - timedelta(seconds=1)).isoformat()},
        "no time at all": {"tl-signature": tl_signed(body)["tl-signature"]},
        "a time that is none": tl_signed(body, stamp="yesterday"),
        "a time without a zone": tl_signed(body, stamp="2026-11-29T12:00:00"),
        "ahead": tl_signed(body, stamp=(NOW + timedelta(minutes=2)).isoformat()),
        "old": tl_signed(body, stamp=(NOW - timedelta(minutes=5, seconds=1)).isoformat()),
        "for another path": tl_signed(body, path="/webhooks/plaid"),
        "of another body": tl_signed(body + b" "),
        "another's key": tl_signed(body, key=ec.generate_private_key(ec.SECP521R1())),
        "not detached": {"tl-signature": "a.b.c", "x-tl-webhook-timestamp": NOW.isoformat()},
        "nothing": {"x-tl-webhook-timestamp": NOW.isoformat()},
    }
    for what, headers in wrong.items():
        with pytest.raises(WebhookRefused):
            verified(sender, headers, body, "/webhooks/truelayer")
            pytest.fail(what)
    with pytest.raises(WebhookRefused):
        verified(sender, tl_signed(body), b"\xff\xfe", "/webhooks/truelayer")


# -- E4: Yapily --------------------------------------------------------------------------------------------------------------


def test_e4_yapilys_secret_counts_over_the_bytes_as_they_came_and_two_while_it_changes() -> None:
    """RFC 2202's form of a vector: HMAC has no other parts. Yapily publishes none."""
    body = b'{"type":"consent.status.updated"}'

    def signed(secret: bytes, prefix: str = "sha256=") -> dict[str, str]:
        return {"x-yapily-signature": prefix + hmac.new(secret, body, hashlib.sha256).hexdigest()}

    sender = YapilyWebhooks(["new", "old"])
    assert verified(sender, signed(b"new"), body) == verified(sender, signed(b"old"), body)
    for headers in (signed(b"older"), signed(b""), signed(b"new", "sha1="), {}, {"x-yapily-signature": "sha256=é"}):
        with pytest.raises(WebhookRefused):
            verified(sender, headers, body)
    with pytest.raises(WebhookRefused):
        verified(sender, signed(b"new"), body + b"\n")
    with pytest.raises(WebhookRefused):
        verified(YapilyWebhooks(["new"]), signed(b"old"), body)


# -- keys --------------------------------------------------------------------------------------------------------------------


class Publisher:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.keys: dict[str, dict[str, Any]] = {"k": {"kid": "k"}}
        self.down = False
        self.now = 0.0

    async def __call__(self, key_id: str) -> dict[str, Any]:
        self.asked.append(key_id)
        await asyncio.sleep(0)
        if self.down:
            raise ProviderUnavailable("down")
        if key_id not in self.keys:
            raise ProviderRefused("no such key")
        return self.keys[key_id]


async def test_a_key_is_asked_for_once_however_many_want_it_and_again_after_an_hour() -> None:
    publisher = Publisher()
    keys = Keys(publisher, lambda: publisher.now)

    assert len({id(key) for key in await asyncio.gather(*(keys.find("k") for _ in range(100)))}) == 1
    assert publisher.asked == ["k"]
    publisher.now, publisher.down = 3_601, True
    assert await keys.find("k") == {"kid": "k"}, "while it cannot be asked the old one counts"
    publisher.down = False
    del publisher.keys["k"]
    with pytest.raises(WebhookRefused):
        await keys.find("k")


async def test_e2_a_flood_of_unknown_keys_costs_a_few_questions_and_no_known_key_is_lost_by_it() -> None:
    publisher = Publisher()
    keys = Keys(publisher, lambda: publisher.now)
    await keys.find("k")

    found = await asyncio.gather(*(keys.find(f"invented {n}") for n in range(1_000)), return_exceptions=True)

    assert {type(one) for one in found} <= {WebhookRefused, ProviderUnavailable}
    assert len(publisher.asked) == 12
    assert await keys.find("k") == {"kid": "k"}
    with pytest.raises(WebhookRefused):
        await keys.find("invented 0")
    publisher.keys["new"] = {"kid": "new"}
    with pytest.raises(ProviderFault):
        await keys.find("new")
    publisher.now += 61
    assert await keys.find("new") == {"kid": "new"}, "it comes again, and is believed then"
