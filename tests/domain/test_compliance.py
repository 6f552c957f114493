"""What compliance decides: pure rules over lists and limits."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.domain.compliance import (
    Intent,
    Limits,
    LimitTable,
    Movement,
    Ruling,
    SanctionsList,
    frozen_account,
    limit_fault,
    sanctions,
)
from isthmus.domain.names import words

LISTED = SanctionsList("7", date(2026, 11, 1), frozenset({words("Mordecai Vane"), words("Виктор Темнояров")}))
LIMITS = Limits(Decimal(100), Decimal(250))
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def intent(*names: str) -> Intent:
    return Intent(Movement.PAYMENT, uuid4(), uuid4(), "EUR", Decimal(1), names)


@pytest.mark.parametrize(
    ("name", "ruling", "rule"),
    [
        ("Mordecai Vane", Ruling.REFUSE, "sanctions-name-exact"),
        ("VANE, Mr. Mordecai", Ruling.REFUSE, "sanctions-name-exact"),
        ("Viktor Temnoyarov", Ruling.REFUSE, "sanctions-name-exact"),
        ("Mоrdесаi Vаnе", Ruling.REFUSE, "sanctions-name-exact"),  # Cyrillic letters that look the same
        ("M Vane", Ruling.REVIEW, "sanctions-name-close"),
        ("Mordecai John Vane", Ruling.REVIEW, "sanctions-name-close"),
        ("Mordecal Vane", Ruling.REVIEW, "sanctions-name-close"),
        # Parted, run together, turned about or strewn with signs: a bank's clerk reads the same name, or asks what that is.
        ("MordecaiVane", Ruling.REVIEW, "sanctions-name-close"),
        ("M.o.r.d.e.c.a.i V a n e", Ruling.REVIEW, "sanctions-name-close"),
        ("Mor decai Va-ne", Ruling.REVIEW, "sanctions-name-close"),
        ("Mor\N{GRINNING FACE}decai Va\N{GRINNING FACE}ne", Ruling.REVIEW, "sanctions-name-close"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}enaV iacedroM", Ruling.REVIEW, "sanctions-name-close"),
        ("MordecaiVane Limited", Ruling.REVIEW, "sanctions-name-close"),
        ("MоrdесаiVаnе", Ruling.REVIEW, "sanctions-name-close"),  # and Cyrillic letters
        ("Evan Medoc", Ruling.ALLOW, "sanctions-name-clear"),
        ("Vane", Ruling.ALLOW, "sanctions-name-clear"),
        ("Bob Builder", Ruling.ALLOW, "sanctions-name-clear"),
    ],
)
def test_names(name: str, ruling: Ruling, rule: str) -> None:
    verdict = sanctions(LISTED, intent(name))

    assert (verdict.ruling, verdict.rule, verdict.list_version) == (ruling, rule, "7")


def test_of_several_payees_the_worst_decides() -> None:
    assert sanctions(LISTED, intent("Bob", "M Vane", "Mordecai Vane")).ruling is Ruling.REFUSE
    assert sanctions(LISTED, intent("Bob", "M Vane")).ruling is Ruling.REVIEW
    assert sanctions(LISTED, intent("Bob", "\N{RIGHT-TO-LEFT OVERRIDE}enaV iacedroM")).ruling is Ruling.REVIEW


def test_what_is_frozen_meanwhile_is_for_an_operator() -> None:
    assert frozen_account(True).ruling is Ruling.REVIEW
    assert frozen_account(False).ruling is Ruling.ALLOW


@given(st.decimals("0.01", 400, places=2), st.decimals(0, 400, places=2))
def test_what_is_granted_is_within_both_limits_and_everything_within_is_granted(amount: Decimal, used: Decimal) -> None:
    fault = limit_fault(LIMITS, "EUR", amount, used, NOON)

    assert (fault is None) is (amount <= 100 and used + amount <= 250)


def test_a_day_is_one_of_utc_and_the_refusal_says_when_it_ends() -> None:
    fault = limit_fault(LIMITS, "EUR", Decimal(60), Decimal(200), NOON.astimezone(timezone(timedelta(hours=14))))

    assert fault is not None
    assert fault.limit is not None
    assert fault.used is not None
    assert (fault.limit.amount, fault.used.amount) == (250, 200)
    assert fault.resets_at == datetime(2026, 11, 30, tzinfo=UTC)
    alone = limit_fault(LIMITS, "EUR", Decimal(101), Decimal(0), NOON)
    assert alone is not None
    assert alone.resets_at is None


def test_what_has_no_limit_of_its_own_cannot_be_paid_with() -> None:
    table = LimitTable("1", {"EUR": LIMITS})

    assert table.of("EUR") is LIMITS
    assert limit_fault(table.of("BTC"), "BTC", Decimal("0.001"), Decimal(0), NOON) is not None
