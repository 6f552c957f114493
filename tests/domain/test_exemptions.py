"""Exemptions: which rule lets a payment go without a challenge, and what is still held against what was wished."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from isthmus.domain.compliance import Ruling, Verdict
from isthmus.domain.exemptions import Exempt, ExemptionRules, LowValue, Standing, Unproven, exempt
from isthmus.domain.payment_events import PaymentAuthorised, PaymentExempted, PaymentState, Source
from isthmus.domain.sca import ScaChallengeIssued
from isthmus.integrations.screening.files import exemption_rules
from tests.domain.payment_world import DIGEST, World

RULES = ExemptionRules("v1", True, True, {"GBP": LowValue(Decimal(30), Decimal(100), 5)})
TRUSTED, OWN = Standing(trusted=True), Standing(own=True)


@pytest.mark.parametrize(
    ("amount", "in_a_row", "in_total", "asset", "standing", "rule"),
    [
        ("30", 0, "0", "GBP", Standing(), "low-value"),
        ("30.01", 0, "0", "GBP", Standing(), None),
        ("30", 4, "70", "GBP", Standing(), "low-value"),
        ("30", 4, "70.01", "GBP", Standing(), None),
        ("1", 5, "5", "GBP", Standing(), None),
        ("1", 0, "0", "EUR", Standing(), None),
        ("5000", 9, "900", "EUR", TRUSTED, "trusted-beneficiary"),
        ("5000", 9, "900", "EUR", OWN, "own-account"),
    ],
)
def test_which_rule_exempts(
    amount: str, in_a_row: int, in_total: str, asset: str, standing: Standing, rule: str | None
) -> None:
    found = exempt(RULES, standing, asset, Decimal(amount), Unproven(in_a_row, Decimal(in_total)))

    assert found == (Exempt(rule, "v1") if rule else None)


@pytest.mark.parametrize("profile", ["STRICT", "another"])
def test_the_strict_profile_and_one_without_rules_exempt_nothing(profile: str) -> None:
    rules = exemption_rules(None, profile)

    for standing in (Standing(), TRUSTED, OWN):
        assert exempt(rules, standing, "EUR", Decimal("0.01"), Unproven()) is None


def test_the_rules_that_come_with_the_platform_are_the_laws() -> None:
    rules = exemption_rules(None, "EU")

    assert rules.low_value["EUR"] == LowValue(Decimal(30), Decimal(100), 5)
    assert exempt(rules, Standing(), "EUR", Decimal(30), Unproven()) == Exempt("low-value", rules.version)


def kinds(world: World) -> list[type]:
    return [type(event) for event in world.events]


def test_an_exempted_payment_is_authorised_at_once_by_a_rule_that_is_recorded() -> None:
    world = World()

    assert world.initiate("30", exemptions=RULES) is None

    assert world.state is PaymentState.AUTHORISED
    assert ScaChallengeIssued not in kinds(world)
    [exempted] = [event for event in world.events if isinstance(event, PaymentExempted)]
    assert (exempted.rule, exempted.rules_version) == ("low-value", "v1")
    [authorised] = [event for event in world.events if isinstance(event, PaymentAuthorised)]
    assert authorised.by == "EXEMPTION low-value"
    assert world.mine == (Decimal(100), Decimal(30))
    assert world.submit() is None
    assert world.attempts == 1


def test_d1_what_is_sent_is_held_against_what_was_wished_also_where_nobody_was_asked() -> None:
    world = World()
    world.initiate("30", exemptions=RULES)

    world.submit(DIGEST[1:] + "e")

    assert (world.state, world.mine) == (PaymentState.REJECTED, (Decimal(100), Decimal(0)))
    assert world.payment is not None
    assert world.payment.parked == "CHANGED_AFTER_SCA"


def test_without_a_challenge_nothing_is_sent_that_no_rule_exempted() -> None:
    world = World()
    world.initiate("30")
    world.events = [event for event in world.events if not isinstance(event, ScaChallengeIssued)]
    assert world.payment is not None
    world.events.append(PaymentAuthorised(world.payment_id, world.payment.owner, "nobody"))

    world.submit()

    assert world.attempts == 0


@pytest.mark.parametrize(
    "other",
    [
        {"verdict": Verdict(Ruling.REVIEW, "sanctions-name-close", "1")},
        {"source": Source.BANK},
        {"exemptions": ExemptionRules("v1")},
    ],
)
def test_what_is_to_be_judged_and_what_a_bank_asks_for_itself_is_never_exempted(other: dict[str, Any]) -> None:
    world = World()

    world.initiate("1", **({"exemptions": RULES, "standing": TRUSTED} | other))

    assert world.state is PaymentState.AWAITING_SCA
    assert ScaChallengeIssued in kinds(world)
