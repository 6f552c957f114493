"""What the commands of one batch count of each other: limits, what went unasked, and codes that were sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from isthmus.domain.code_allowance import CodeLimits
from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.exemptions import Unproven
from isthmus.domain.payment_events import PaymentExempted, PaymentFailed, PaymentInitiated, Source
from isthmus.domain.personal import Sealed
from isthmus.domain.sca import Method, ScaChallengeIssued
from isthmus.write_models.codes_sent import CodesSent
from isthmus.write_models.exempted import Exempted
from isthmus.write_models.spending import Spent

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ADA = uuid4()
TEXT = Sealed(f"sealed:v1:{ADA}:t")


def begun(amount: str, **other: Any) -> PaymentInitiated:
    account, challenge = uuid4(), uuid4()
    plain = PaymentInitiated(
        uuid4(), ADA, Source.OWN, account, "bank", "EUR", Decimal(amount), TEXT, TEXT, None, "d" * 64, challenge, None
    )
    return replace(plain, **other)


def test_what_leaves_a_person_counts_until_it_ends_and_what_they_keep_never() -> None:
    spent = Spent({(ADA, "EUR"): Decimal(5)})
    ended, stays = begun("10"), begun("20")
    for event in (ended, stays, begun("40", credits=uuid4()), begun("80", asset="GBP"), begun("160", owner=uuid4())):
        spent.bring_forward(event)
    assert (spent.by(ADA, "EUR"), spent.by(ADA, "GBP")) == (35, 80)

    for _ in range(2):
        spent.bring_forward(PaymentFailed(ended.payment_id, ADA, "x", retryable=False))

    assert spent.by(ADA, "EUR") == 25


def test_what_went_unasked_is_counted_over_all_assets_and_summed_in_each() -> None:
    exempted = Exempted()
    for asset, amount in (("EUR", "10"), ("GBP", "20"), ("EUR", "5")):
        exempted.bring_forward(PaymentExempted(uuid4(), ADA, asset, Decimal(amount), "low-value", "v1"))

    assert exempted.before(ADA, "EUR") == Unproven(3, Decimal(15))
    assert exempted.before(ADA, "BTC") == Unproven(3, Decimal(0))
    assert exempted.before(uuid4(), "EUR") == Unproven()


def test_only_what_is_sent_counts_as_a_code() -> None:
    sent = CodesSent(CodeLimits(per_ten_minutes=1), {ADA: []})
    code = ScaChallengeIssued(
        uuid4(), ADA, Purpose.PAYMENT, uuid4(), "d" * 64, Method.ONE_TIME_CODE, NOW + timedelta(minutes=5)
    )
    for method in set(Method) - {Method.ONE_TIME_CODE}:
        sent.bring_forward(replace(code, method=method), NOW)
    assert sent.fault([code], NOW) is None

    sent.bring_forward(code, NOW)

    assert sent.fault([code], NOW) is not None
    assert sent.fault([replace(code, method=Method.DEVICE)], NOW) is None
