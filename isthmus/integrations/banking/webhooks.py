"""The signatures of Plaid's, TrueLayer's and Yapily's webhooks, and what their bodies say.

Sources: plaid.com/docs/api/webhooks/webhook-verification (ES256, five minutes, SHA-256 of the body); TrueLayer/truelayer-signing (detached
ES512, `jku` from one address, the timestamp among what is signed); docs.yapily.com (HMAC-SHA256 over the body).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import jwt
import msgspec

from isthmus.domain.banking import ConsentNews, ProviderFault, ProviderRefused, ProviderUnavailable
from isthmus.domain.clock import Clock
from isthmus.domain.webhooks import PayInNews, WebhookNews, WebhookRefused
from isthmus.integrations.banking.amounts import places_of
from isthmus.integrations.banking.statuses import consent_state

AGE_MAX = timedelta(minutes=5)
_AHEAD_MAX = timedelta(seconds=60)
#: A published key is believed for so long; then it is fetched again, since it may have been taken back.
_KEY_LASTS_S = 3_600.0
#: So many keys that are not known are asked for in a minute, whoever invents them.
_ASKS_A_MINUTE = 12
_KEYS_MAX, _UNKNOWN_MAX = 64, 1_024

FetchKey = Callable[[str], Awaitable[dict[str, Any]]]


class Keys:
    """Published keys by their id, fetched when one is not known: one at a time, and not again and again."""

    def __init__(self, fetch: FetchKey, seconds: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._seconds = seconds
        self._known: dict[str, tuple[dict[str, Any], float]] = {}
        self._unknown: dict[str, float] = {}
        self._asked: deque[float] = deque(maxlen=_ASKS_A_MINUTE)
        self._asking = asyncio.Lock()

    async def find(self, key_id: str) -> dict[str, Any]:
        """Raises WebhookRefused, and ProviderFault where it cannot be told now."""
        if (found := self._fresh(key_id)) is not None:
            return found
        async with self._asking:
            if (found := self._fresh(key_id)) is not None:
                return found
            old = self._known.get(key_id)
            try:
                self._spend()
                told = await self._fetch(key_id)
            except (ProviderRefused, WebhookRefused):
                self._known.pop(key_id, None)
                if len(self._unknown) >= _UNKNOWN_MAX:
                    self._unknown.clear()
                self._unknown[key_id] = self._seconds()
                raise WebhookRefused("a key that nobody knows") from None
            except ProviderFault:
                if old is not None:
                    return old[0]
                raise
            if len(self._known) >= _KEYS_MAX:
                self._known.clear()
            self._known[key_id] = told, self._seconds()
            return told

    def _fresh(self, key_id: str) -> dict[str, Any] | None:
        now = self._seconds()
        if now - self._unknown.get(key_id, -60.0) < 60:
            raise WebhookRefused("a key that nobody knows")
        found = self._known.get(key_id)
        return found[0] if found is not None and now - found[1] < _KEY_LASTS_S else None

    def _spend(self) -> None:
        now = self._seconds()
        if len(self._asked) == _ASKS_A_MINUTE and now - self._asked[0] < 60:
            raise ProviderUnavailable("keys were asked for too often")
        self._asked.append(now)


class PlaidWebhooks:
    def __init__(self, fetch: FetchKey, clock: Clock) -> None:
        self._keys = Keys(fetch)
        self._clock = clock

    async def verify(self, headers: Mapping[str, str], path: str, body: bytes) -> str:  # noqa: ARG002 - as the port has it
        token = headers.get("plaid-verification", "")
        try:
            head = jwt.get_unverified_header(token)
            if head.get("alg") != "ES256" or not isinstance(head.get("kid"), str):
                raise WebhookRefused("not signed as Plaid signs")
            key = await self._keys.find(head["kid"])
            told = jwt.decode(
                token,
                jwt.PyJWK(key).key,
                algorithms=["ES256"],
                # Whether it is too old, or ahead, is looked at below, by our own clock.
                options={"verify_iat": False, "verify_exp": False, "verify_nbf": False},
            )
        except (jwt.PyJWTError, ValueError, KeyError, TypeError):
            raise WebhookRefused("the signature is not Plaid's") from None
        now = self._clock.now().timestamp()
        if key.get("expired_at") is not None and key["expired_at"] <= now:
            raise WebhookRefused("the key is over")
        issued = told.get("iat")
        if (
            not isinstance(issued, int | float)
            or not -_AHEAD_MAX.total_seconds() <= now - issued <= AGE_MAX.total_seconds()
        ):
            raise WebhookRefused("it is too old, or from the future")
        digest = told.get("request_body_sha256")
        if not isinstance(digest, str) or not hmac.compare_digest(digest, hashlib.sha256(body).hexdigest()):
            raise WebhookRefused("the body is not the one that was signed")
        # Without the signature: of one message there may be several that hold.
        return hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest()

    def read(self, body: bytes) -> WebhookNews:
        told = _read(body, _PlaidBody)
        kind = f"{told.webhook_type}.{told.webhook_code}"
        match told.webhook_code:
            case (
                "SYNC_UPDATES_AVAILABLE"
                | "INITIAL_UPDATE"
                | "HISTORICAL_UPDATE"
                | "DEFAULT_UPDATE"
                | "TRANSACTIONS_REMOVED"
            ):
                return WebhookNews(told.item_id, kind, changed=True)
            case "NEW_ACCOUNTS_AVAILABLE":
                return WebhookNews(told.item_id, kind, changed=True)
            case "ERROR":
                word = told.error.error_code if told.error else "UNKNOWN"
            case (
                "PENDING_EXPIRATION"
                | "PENDING_DISCONNECT"
                | "LOGIN_REPAIRED"
                | "USER_PERMISSION_REVOKED"
                | "USER_ACCOUNT_REVOKED" as code
            ):
                word = code
            case "PAYMENT_STATUS_UPDATE":
                return WebhookNews(None, kind, payment=told.payment_id)
            case _:
                return WebhookNews(told.item_id, kind)
        ends = told.consent_expiration_time
        return WebhookNews(
            told.item_id,
            kind,
            ConsentNews(consent_state("plaid", word), word, ends),
            changed=word == "LOGIN_REPAIRED",
            ahead=word == "PENDING_DISCONNECT",
        )


class TrueLayerWebhooks:
    """`jku`: the one address of the keys; `fetch` gets the set that lies there."""

    def __init__(self, jku: str, fetch: Callable[[], Awaitable[Sequence[Mapping[str, str]]]], clock: Clock) -> None:
        async def by_id(key_id: str) -> dict[str, Any]:
            for key in await fetch():
                if key.get("kid") == key_id:
                    return dict(key)
            raise WebhookRefused("a key that nobody knows")

        self._jku = jku
        self._keys = Keys(by_id)
        self._clock = clock

    async def verify(self, headers: Mapping[str, str], path: str, body: bytes) -> str:
        import truelayer_signing

        signature, stamp = headers.get("tl-signature", ""), headers.get("x-tl-webhook-timestamp", "")
        try:
            head = truelayer_signing.extract_jws_header(signature)
            if not isinstance(head.jku, str) or not hmac.compare_digest(head.jku.encode(), self._jku.encode()):
                raise WebhookRefused("its keys are not where TrueLayer's are")
            key = await self._keys.find(str(head.kid))
            (
                truelayer_signing.verify_with_jwks({"keys": [key]}, head)
                .set_method(truelayer_signing.HttpMethod.POST)
                .set_path(path)
                .add_headers(headers)  # which of them are signed is the signature's to say
                .add_required_header("X-TL-Webhook-Timestamp")
                .set_body(body.decode())
                .verify(signature)
            )
            age = self._clock.now() - datetime.fromisoformat(stamp.replace("Z", "+00:00"))
        except WebhookRefused:
            raise
        except (truelayer_signing.TlSigningException, ValueError, TypeError, KeyError, AttributeError):
            raise WebhookRefused("the signature is not TrueLayer's") from None
        if not -_AHEAD_MAX <= age <= AGE_MAX:
            raise WebhookRefused("it is too old, or from the future")
        try:
            told = _read(body, _TrueLayerBody)
        except WebhookRefused:  # genuine, and of a form that is not known yet: set aside once it is read
            return hashlib.sha256(body).hexdigest()
        return f"{told.type} {told.event_id}"

    def read(self, body: bytes) -> WebhookNews:
        """Of consents there are none. One of a kind that is not known, but about a payment, is a reason to ask for it all the same."""
        told = _read(body, _TrueLayerBody)
        if told.type == "external_payment_received":
            return WebhookNews(None, told.type, pay_in=_pay_in(told))
        ours = None
        with suppress(ValueError):
            ours = UUID(str((told.metadata or {}).get("payment_id")))
        return WebhookNews(None, told.type, payment=told.payout_id or told.payment_id, our_payment=ours)


class YapilyWebhooks:
    """`secrets`: more than one while one takes the other's place. `header`: Yapily does not publish its name."""

    def __init__(self, secrets: Sequence[str], header: str = "x-yapily-signature") -> None:
        self._secrets = [secret.encode() for secret in secrets]
        self._header = header

    async def verify(self, headers: Mapping[str, str], path: str, body: bytes) -> str:  # noqa: ARG002 - as the port has it
        given = headers.get(self._header, "").removeprefix("sha256=").encode()
        genuine = [hmac.new(secret, body, hashlib.sha256).hexdigest().encode() for secret in self._secrets]
        # All are compared, so that nothing is told by how long it takes.
        if not any([hmac.compare_digest(given, one) for one in genuine]):  # noqa: C419 - all are compared, so that the time tells nothing
            raise WebhookRefused("the signature is not Yapily's")
        return hashlib.sha256(body).hexdigest()

    def read(self, body: bytes) -> WebhookNews:
        told = _read(body, _YapilyBody)
        event = told.event
        if told.type.startswith("single_payment.") and event is not None and event.id and event.consent_id:
            # By the name that `payments/yapily_payments.py` has for it, or by the key that it was made under.
            ours = None
            with suppress(ValueError):
                ours = UUID(event.payment_idempotency_id or "")
            return WebhookNews(None, told.type, payment=f"{event.consent_id}:{event.id}", our_payment=ours)
        if not told.type.startswith("consent.") or event is None or event.status is None:
            return WebhookNews(event.consent_id if event else None, told.type)
        news = ConsentNews(consent_state("yapily", event.status), event.status)
        return WebhookNews(event.consent_id or event.id, told.type, news)


class _PlaidError(msgspec.Struct):
    error_code: str = "UNKNOWN"


class _PlaidBody(msgspec.Struct):
    webhook_type: str
    webhook_code: str
    item_id: str | None = None
    error: _PlaidError | None = None
    consent_expiration_time: datetime | None = None
    payment_id: str | None = None


class _TrueLayerBody(msgspec.Struct):
    type: str
    event_id: str
    payment_id: str | None = None
    payout_id: str | None = None
    transaction_id: str | None = None
    currency: str | None = None
    amount_in_minor: int | None = None
    settled_at: datetime | None = None
    metadata: dict[str, Any] | None = None


class _YapilyEvent(msgspec.Struct, rename="camel"):
    id: str | None = None
    consent_id: str | None = None
    status: str | None = None
    payment_idempotency_id: str | None = None


class _YapilyBody(msgspec.Struct):
    type: str
    event: _YapilyEvent | None = None


def _pay_in(told: _TrueLayerBody) -> PayInNews:
    at, amount = told.settled_at, told.amount_in_minor
    if told.transaction_id is None or told.currency is None or amount is None or at is None or at.tzinfo is None:
        raise WebhookRefused("it does not say what came")
    return PayInNews(told.transaction_id, told.currency, Decimal(amount).scaleb(-places_of(told.currency)), at)


def _read(body: bytes, shape: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise WebhookRefused("the body is not of its form") from None
