"""What TrueLayer's payouts and payments ask, and what its refusals say: under one key each time, and only a 400 was never done."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest

from isthmus.domain.bank_payments import BankWish, GoTo
from isthmus.domain.banking import Malformed, NeverAsked, OutcomeUnknown, ProviderRefused
from isthmus.domain.clock import SettableClock
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.paying import PaymentOrder
from isthmus.domain.payment_news import ProviderPayment
from isthmus.integrations.payments.truelayer_api import major, minor
from isthmus.integrations.payments.truelayer_payments import TrueLayerPayments
from isthmus.integrations.payments.truelayer_payouts import TrueLayerPayouts

OURS, THEIRS = UUID("01a22776-0657-7075-a846-ca1a25d04c02"), "01a22776-0657-7075-a846-ca1a25d04c99"
ORDER = PaymentOrder(OURS, Decimal("12.34"), "GBP", "Bob", PayeeAccount(sort_code="200000", number="12345678"), "Rent")
WISH = BankWish(ORDER, "harbour", "GB", UUID(int=7), "https://bank.example/back", "state", None)
CLOCK = SettableClock(datetime(2026, 11, 29, tzinfo=UTC))
FLOW = {"authorization_flow": {"actions": {"next": {"type": "redirect", "uri": "https://bank"}}}}


@dataclass
class Api:
    """`refusals`: what the calls are refused with, by their name; `told`: what it tells of the payment, one after the other."""

    refusals: dict[str, str] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=lambda: [{"status": "executed"}])
    posted: list[tuple[str, str]] = field(default_factory=list)
    client: Any = None

    async def post(self, name: str, path: str, key: str, body: Any, shape: Any) -> Any:
        self.posted.append((name, key))
        if name in self.refusals:
            raise ProviderRefused("no", self.refusals[name])
        return msgspec.convert({"id": THEIRS, "status": "authorizing", **FLOW}, shape)

    async def get(self, name: str, path: str, shape: Any) -> Any:
        return msgspec.convert({"id": THEIRS, **(self.told.pop(0) if len(self.told) > 1 else self.told[0])}, shape)


def payouts(api: Api) -> TrueLayerPayouts:
    return TrueLayerPayouts(api, {"GBP": "merchant"})  # type: ignore[arg-type]  # as much of it as is asked


def payments(api: Api) -> TrueLayerPayments:
    return TrueLayerPayments(api, CLOCK)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("400_Invalid_Parameters", ProviderRefused),
        ("404_Not_Found", OutcomeUnknown),
        ("409_Idempotency_Key_Concurrency_Conflict", OutcomeUnknown),
        ("422_Idempotency_Key_Reuse", OutcomeUnknown),
        ("ACCESS", OutcomeUnknown),
    ],
)
async def test_f18_only_a_400_says_that_it_was_not_done_and_never_will_be(code: str, fault: type[Exception]) -> None:
    with pytest.raises(fault):
        await payouts(Api({"payouts": code})).send(ORDER)
    with pytest.raises(fault):
        await payments(Api({"payments": code})).begin(WISH)


async def test_f18_what_is_asked_again_has_the_same_keys() -> None:
    api = Api()
    for _ in range(2):
        await payouts(api).send(ORDER)
        assert (await payments(api).begin(WISH)).authorization == GoTo("https://bank")
        await payments(Api(posted=api.posted, told=[{"status": "authorizing"}])).cancel(THEIRS)

    half = len(api.posted) // 2
    assert api.posted[:half] == api.posted[half:]
    assert [name for name, _ in api.posted[:half]] == ["payouts", "payments", "authorization_flow", "cancel"]
    assert {key for name, key in api.posted if name in ("payouts", "payments")} == {str(OURS)}


async def test_a_flow_that_was_begun_before_has_its_address_in_the_payment_and_none_is_unknown() -> None:
    begun = await payments(Api({"authorization_flow": "409_Conflict"}, [{"status": "authorizing", **FLOW}])).begin(WISH)
    assert begun.authorization == GoTo("https://bank")
    waits = {"authorization_flow": {"actions": {"next": {"type": "wait", "uri": "https://elsewhere"}}}}
    with pytest.raises(OutcomeUnknown):
        await payments(Api({"authorization_flow": "409_Conflict"}, [{"status": "authorizing", **waits}])).begin(WISH)
    with pytest.raises(ProviderRefused):
        await payments(Api({"authorization_flow": "400_Invalid"})).begin(WISH)


@pytest.mark.parametrize(
    ("refusal", "then", "state"),
    [
        ({}, {"status": "failed", "failure_reason": "canceled"}, ProviderPayment.CANCELLED),
        ({"cancel": "409_Conflict"}, {"status": "executed"}, ProviderPayment.EXECUTED),
    ],
)
async def test_what_waits_is_taken_back_and_told_as_it_is_after_that(
    refusal: dict[str, str], then: dict[str, Any], state: ProviderPayment
) -> None:
    api = Api(refusal, [{"status": "authorizing"}, then])

    assert (await payments(api).cancel(THEIRS)).state is state
    assert [name for name, _ in api.posted] == ["cancel"]


async def test_what_waits_for_nobody_any_more_is_not_taken_back() -> None:
    api = Api()

    assert (await payments(api).cancel(THEIRS)).state is ProviderPayment.EXECUTED
    assert api.posted == []


async def test_where_there_is_no_account_of_ours_to_pay_from_nobody_is_asked() -> None:
    api = Api()
    with pytest.raises(NeverAsked):
        await payouts(api).send(replace(ORDER, asset="EUR"))
    assert api.posted == []


@pytest.mark.parametrize(("amount", "asset", "scaled"), [("12.34", "GBP", 1234), ("7", "JPY", 7), ("7.00", "EUR", 700)])
def test_amounts_are_whole_minor_units_there_and_back(amount: str, asset: str, scaled: int) -> None:
    assert minor(replace(ORDER, amount=Decimal(amount), asset=asset)) == scaled
    assert major(scaled, asset) == Decimal(amount)


def test_what_is_no_amount_is_neither_sent_nor_read() -> None:
    with pytest.raises(ProviderRefused):
        minor(replace(ORDER, amount=Decimal("12.345")))
    with pytest.raises(Malformed):
        major(10**18 + 1, "GBP")
    assert major(None, "GBP") is major(7, None) is None


async def test_a_payout_is_told_with_our_own_name_for_it() -> None:
    told = {"status": "executed", "metadata": {"payment_id": str(OURS)}, "amount_in_minor": 1234, "currency": "GBP"}
    news = await payouts(Api(told=[told])).look_up(THEIRS)

    assert (news.state, news.our_payment, news.amount) == (ProviderPayment.EXECUTED, OURS, Decimal("12.34"))
