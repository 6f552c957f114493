"""Row by row: every word that a provider has for a payment means something here, and what it does not have is UNKNOWN."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plaid.model.payment_initiation_payment_status import PaymentInitiationPaymentStatus

from isthmus.domain.payment_news import ProviderPayment
from isthmus.integrations.payments.statuses import known, payment_state, yapily_state
from isthmus.sandbox import yapily_consents, yapily_payments

P = ProviderPayment
DIALECTS = ("truelayer", "truelayer_payout", "yapily", "yapily_consent", "plaid", "iso20022")
WAYS_OUT = frozenset({P.REJECTED, P.CANCELLED, P.EXPIRED, P.FAILED})


def plaids_words() -> frozenset[str]:
    (values,) = PaymentInitiationPaymentStatus.allowed_values.values()
    return frozenset(one.removeprefix("PAYMENT_STATUS_") for one in values.values())


def test_all_words_that_are_published_are_known() -> None:
    assert known("plaid") == plaids_words()
    assert len(known("plaid")) == 14
    assert known("yapily") == yapily_payments.STATUSES
    assert len(known("yapily")) == 9
    assert known("yapily_consent") == yapily_consents.STATUSES
    assert len(known("yapily_consent")) == 17


@pytest.mark.parametrize("dialect", DIALECTS)
def test_only_words_that_say_so_move_money(dialect: str) -> None:
    moved = {word: payment_state(dialect, word) for word in known(dialect)}
    assert {word for word, state in moved.items() if state in (P.EXECUTED, P.SETTLED)} <= {
        *("executed", "settled", "EXECUTED", "SETTLED", "ACSC", "ACCC"),
    }


@pytest.mark.parametrize(
    ("dialect", "ends", "waits"),
    [
        ("truelayer", "failed", "authorization_required authorizing attempt_failed"),
        ("truelayer_payout", "failed", ""),
        ("yapily", "FAILED DECLINED EXPIRED INACTIVE", ""),
        (
            "yapily_consent",
            "REJECTED REVOKED FAILED EXPIRED INVALID",
            "AWAITING_AUTHORIZATION AWAITING_FURTHER_AUTHORIZATION AWAITING_RE_AUTHORIZATION PRE_AUTHORIZED AWAITING_SCA_METHOD "
            "AWAITING_SCA_CODE AWAITING_PRE_AUTHORIZATION AWAITING_DECOUPLED_AUTHORIZATION AWAITING_DECOUPLED_PRE_AUTHORIZATION",
        ),
        ("plaid", "INSUFFICIENT_FUNDS REJECTED FAILED BLOCKED CANCELLED", "INPUT_NEEDED"),
        ("iso20022", "RJCT CANC BLCK", ""),
    ],
)
def test_only_words_that_say_so_end_a_payment_or_let_it_be_taken_back(dialect: str, ends: str, waits: str) -> None:
    states = {word: payment_state(dialect, word) for word in known(dialect)}
    assert {word for word, state in states.items() if state in WAYS_OUT} == set(ends.split())
    assert {word for word, state in states.items() if state is P.AWAITING} == set(waits.split())
    asked_of_us = {"AUTHORIZED", "CONSUMED"} if dialect == "yapily_consent" else set()
    assert {word for word, state in states.items() if state is P.AUTHORISED} == asked_of_us, "these are submitted by us"


@pytest.mark.parametrize(
    ("status", "iso", "acsc_settles", "state"),
    [
        ("PENDING", "PDNG", False, P.SUBMITTED),
        ("PENDING", None, False, P.SUBMITTED),
        ("COMPLETED", None, False, P.SUBMITTED),  # the bank took the order, no more
        ("COMPLETED", "ACSP", False, P.SUBMITTED),
        ("COMPLETED", "ACSC", False, P.EXECUTED),
        ("COMPLETED", "ACSC", True, P.SETTLED),
        ("COMPLETED", "ACCC", False, P.SETTLED),
        ("COMPLETED", "RJCT", False, P.REJECTED),
        ("FAILED", "RJCT", True, P.REJECTED),
        ("FAILED", "PDNG", False, P.FAILED),
        ("FAILED", "ACSC", False, P.UNKNOWN),
        ("FAILED", None, False, P.FAILED),
        ("DECLINED", "ACWP", False, P.REJECTED),
        ("COMPLETED", "NEWS", False, P.UNKNOWN),
        ("NEWS", "ACCC", False, P.UNKNOWN),
        ("UNKNOWN", "ACCC", False, P.UNKNOWN),
    ],
)
def test_yapilys_word_and_the_banks_are_one(status: str, iso: str | None, acsc_settles: bool, state: P) -> None:
    assert yapily_state(status, iso, acsc_settles=acsc_settles) is state


@settings(max_examples=40)
@given(
    status=st.one_of(st.text(), st.sampled_from(sorted(known("yapily")))),
    iso=st.one_of(st.none(), st.text(), st.sampled_from(sorted(known("iso20022")))),
    dialect=st.sampled_from(DIALECTS),
)
def test_no_word_raises_and_one_that_is_not_known_is_unknown(status: str, iso: str | None, dialect: str) -> None:
    if status.removeprefix("PAYMENT_STATUS_") not in known(dialect):
        assert payment_state(dialect, status) is P.UNKNOWN
    told = yapily_state(status, iso, acsc_settles=True)
    if told in (P.EXECUTED, P.SETTLED):
        assert iso in ("ACSC", "ACCC")
        assert payment_state("yapily", status) not in WAYS_OUT
