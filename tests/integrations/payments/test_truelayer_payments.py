"""What TrueLayer's words for a payment mean, and how its webhooks name one of ours."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest

from isthmus.domain.banking import Malformed
from isthmus.domain.clock import SettableClock
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.paying import PaymentOrder
from isthmus.domain.payment_news import PaymentNews, ProviderPayment
from isthmus.integrations.banking.webhooks import TrueLayerWebhooks
from isthmus.integrations.payments.truelayer_api import beneficiary
from isthmus.integrations.payments.truelayer_payments import TrueLayerPayments

OURS = UUID("01a22776-0657-7075-a846-ca1a25d04c02")
CLOCK = SettableClock(datetime(2026, 11, 29, tzinfo=UTC))


class Api:
    def __init__(self, **told: Any) -> None:
        self._told = {"id": "t", "amount_in_minor": 1234, "currency": "GBP", **told}

    async def get(self, name: str, path: str, shape: Any) -> Any:
        return msgspec.convert(self._told, shape)


async def told(**more: Any) -> PaymentNews:
    return await TrueLayerPayments(Api(**more), CLOCK).look_up(str(OURS))  # type: ignore[arg-type]  # as much of it as is asked


@pytest.mark.parametrize(
    ("status", "reason", "state"),
    [
        ("authorization_required", None, ProviderPayment.AWAITING),
        ("authorizing", None, ProviderPayment.AWAITING),
        ("attempt_failed", "authorization_failed", ProviderPayment.AWAITING),
        ("authorized", None, ProviderPayment.SUBMITTED),
        ("executed", None, ProviderPayment.EXECUTED),
        ("settled", None, ProviderPayment.SETTLED),
        ("failed", "authorization_failed", ProviderPayment.REJECTED),
        ("failed", "canceled", ProviderPayment.CANCELLED),
        ("failed", "expired", ProviderPayment.EXPIRED),
        ("failed", "something new", ProviderPayment.FAILED),
        ("failed", None, ProviderPayment.FAILED),
        ("reversed", None, ProviderPayment.UNKNOWN),
    ],
)
async def test_every_word_has_a_meaning(status: str, reason: str | None, state: ProviderPayment) -> None:
    news = await told(status=status, failure_reason=reason)

    assert (news.state, news.told, news.amount, news.asset) == (state, status, Decimal("12.34"), "GBP")


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("Rent 5/2026", "Rent 5/2026"),
        ("Miete für März", "Miete fur Marz"),
        ("(rent) ^ 日", "rent Ri"),
        ("", "Payment"),
        ("\n", "Payment"),
    ],
)
def test_a_reference_is_sent_in_letters_that_are_not_refused_once_it_was_answered_for(written: str, sent: str) -> None:
    order = PaymentOrder(OURS, Decimal(1), "GBP", "Bob", PayeeAccount(sort_code="200000", number="12345678"), written)

    assert beneficiary(order)["reference"] == sent


@pytest.mark.parametrize(
    ("identifier", "account"),
    [
        ({"type": "iban", "iban": "gb29 NWBK60161331926819"}, "IBAN GB29NWBK60161331926819"),
        (
            {"type": "sort_code_account_number", "sort_code": "11-22-33", "account_number": "12345678"},
            "SCAN 112233 12345678",
        ),
        ({"type": "nrb", "nrb": "1"}, "? nrb"),
    ],
)
async def test_who_is_paid_is_told_in_the_one_form_that_an_account_has(identifier: Any, account: str) -> None:
    method = {"beneficiary": {"type": "external_account", "account_identifier": identifier}}

    news = await told(status="executed", payment_method=method, metadata={"payment_id": str(OURS)})

    assert (news.payee_account, news.our_payment) == (account, OURS)


async def test_a_name_that_is_none_of_truelayers_is_put_into_no_address() -> None:
    with pytest.raises(Malformed):
        await TrueLayerPayments(Api(status="executed"), CLOCK).look_up("../payouts/1")  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize(
    ("metadata", "ours"), [({"payment_id": str(OURS)}, OURS), ({"payment_id": 7}, None), (None, None)]
)
def test_a_webhook_names_our_payment_where_it_carries_it(metadata: Any, ours: UUID | None) -> None:
    body = {"type": "payout_executed", "event_id": "e", "payout_id": "p", "metadata": metadata}

    news = TrueLayerWebhooks("https://jku", None, CLOCK).read(msgspec.json.encode(body))  # type: ignore[arg-type]  # no key is asked for

    assert (news.payment, news.our_payment) == ("p", ours)
