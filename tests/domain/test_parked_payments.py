"""Payments that are parked: whatever a bank says, and whatever operators find, in any order, the book says what the bank moved, nobody is
charged more than they answered for, and no payment is brought back."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.domain import (
    parked_payments,
    payment_events,
    sca,
)
from isthmus.domain.payment_decisions import Finding, PaymentLookedInto
from isthmus.domain.payment_events import RANK, VOID
from isthmus.domain.payment_news import ProviderPayment
from isthmus.domain.payments import StartSubmission, start_submission
from tests.domain.parked_world import (
    ACCOUNT,
    ADA,
    BANK,
    CHALLENGE,
    CLEARING,
    CODE,
    DIFFERENCES,
    EXECUTED,
    MEMO,
    NOT_EXECUTED,
    NOW,
    OLGA,
    OTTO,
    PAYMENT,
    P,
    Rail,
    S,
    World,
    submitted,
)


@pytest.mark.parametrize(
    ("finding", "amount", "said", "told"),
    [
        (EXECUTED, "30", P.REJECTED, "30"),
        (EXECUTED, "30", P.SUBMITTED, "30"),
        (EXECUTED, "30", P.AWAITING, None),
        (EXECUTED, "30", P.EXECUTED, "29"),
        (EXECUTED, "30", P.UNKNOWN, "29"),
        (NOT_EXECUTED, "0", P.EXECUTED, "30"),
        (NOT_EXECUTED, "0", P.SETTLED, None),
        (NOT_EXECUTED, "0", P.SUBMITTED, "30"),
        (NOT_EXECUTED, "0", P.AUTHORISED, None),
        (NOT_EXECUTED, "0", P.AWAITING, None),
    ],
)
def test_nothing_is_decided_against_what_the_provider_definitely_says_then_or_when_it_is_confirmed(
    finding: Finding, amount: str, said: ProviderPayment, told: str | None
) -> None:
    world = submitted()
    world.hear(P.UNKNOWN, None)
    news = world.news(said, told)

    assert world.propose(finding, amount, news) is CODE.PAYMENT_CONTRADICTED
    assert world.propose(finding, amount) is None
    assert world.confirm(news) is CODE.PAYMENT_CONTRADICTED
    assert (world.payment.state, world.mine) == (S.SUBMITTED, (100, 30))


def test_what_the_provider_does_not_know_is_for_operators_to_find_out_and_other_money_is_not() -> None:
    world = submitted()
    world.hear(P.UNKNOWN, None)

    assert world.propose(EXECUTED, "30", replace(world.news(P.EXECUTED), asset="EUR")) is CODE.PAYMENT_CONTRADICTED
    for finding, amount in ((EXECUTED, "30"), (NOT_EXECUTED, "0")):
        assert world.propose(finding, amount, world.news(P.UNKNOWN, None)) is None


@pytest.mark.parametrize(
    ("finding", "amount", "state", "moves"),
    [
        (EXECUTED, "30", sca.ChallengeState.PASSED, ["PaymentAuthorised", "PaymentSubmitted", "PaymentExecuted"]),
        (NOT_EXECUTED, "0", sca.ChallengeState.FAILED, ["PaymentFailed"]),
    ],
)
def test_what_was_found_says_what_became_of_a_banks_question_and_takes_every_step(
    finding: Finding, amount: str, state: sca.ChallengeState, moves: list[str]
) -> None:
    world, void = World(Rail.LINKED), World(Rail.LINKED)
    world.take([payment_events.PaymentParked(PAYMENT, ADA, "UNKNOWN_STATUS")])
    void.hear(P.AWAITING, "29")
    for one in (world, void):
        before = len(one.events)
        assert one.decide(finding, amount) is None
        later = [type(event).__name__ for event in one.events[before:]]
        assert [name for name in later if name.startswith("Payment")][1:-1] == moves

    assert world.challenge is not None
    assert void.challenge is not None
    assert (world.challenge.state, void.challenge.state) == (state, sca.ChallengeState.INVALIDATED)


def test_where_it_does_not_answer_what_it_said_last_counts() -> None:
    moved, over = submitted(), submitted()
    moved.hear(P.EXECUTED, "29")
    over.hear(P.EXECUTED)
    over.hear(P.FAILED)

    assert moved.propose(NOT_EXECUTED) is CODE.PAYMENT_CONTRADICTED
    assert over.propose(EXECUTED, "30") is CODE.PAYMENT_CONTRADICTED


def test_two_operators_decide_neither_of_them_its_payer_and_on_what_is_known() -> None:
    world = submitted()
    assert world.propose(NOT_EXECUTED) is CODE.PAYMENT_NOT_PARKED
    assert world.look(None) is CODE.PAYMENT_NOT_PARKED
    world.take([payment_events.PaymentParked(PAYMENT, ADA, "REVIEW")])
    assert world.propose(NOT_EXECUTED) is CODE.PAYMENT_NOT_PARKED, "that is judged, and not found out"
    world = submitted()
    world.hear(P.UNKNOWN, None)
    assert world.propose(NOT_EXECUTED, operator=ADA) is CODE.PAYMENT_NOT_PARKED, "nobody decides on their own"
    assert world.propose(EXECUTED, "30", in_asset="EUR") is CODE.ASSET_MISMATCH
    assert world.propose(EXECUTED, "30", provider_reference="p2") is CODE.INVALID_INPUT
    assert world.confirm() is CODE.PAYMENT_PROPOSAL_OVER, "nobody proposed anything"
    assert world.propose(NOT_EXECUTED) is None
    first = world.payment.proposed
    assert first is not None
    assert world.confirm(named="p2") is CODE.PAYMENT_PROPOSAL_OVER, "the books are those of another name"
    assert world.confirm(operator=OLGA) is CODE.SECOND_OPERATOR_NEEDED
    assert world.confirm(operator=ADA) is CODE.PAYMENT_NOT_PARKED
    assert world.propose(NOT_EXECUTED, operator=OTTO) is None
    assert world.confirm(operator=OLGA, proposal=first.proposal_id) is CODE.PAYMENT_PROPOSAL_OVER, "it was replaced"
    world.hear(P.UNKNOWN, "7")
    assert world.confirm(operator=OLGA) is CODE.PAYMENT_PROPOSAL_OVER, "something was heard since"
    assert world.payment.state is S.SUBMITTED


@pytest.mark.parametrize(
    "heard",
    [
        payment_events.PaymentEvidenceKept(PAYMENT, ADA, "x"),
        payment_events.PaymentParked(PAYMENT, ADA, "OTHER_AMOUNT"),
        PaymentLookedInto(PAYMENT, ADA, in_order=False),
        payment_events.PaymentExecuted(PAYMENT, ADA),
    ],
)
def test_whatever_is_heard_ends_a_proposal(heard: payment_events.PaymentEvent) -> None:
    world = submitted()
    world.hear(P.UNKNOWN, None)
    assert world.propose(NOT_EXECUTED) is None

    world.take([heard])

    assert world.payment.proposed is None


def test_of_a_decision_and_of_news_at_the_same_moment_the_first_counts_and_the_other_is_seen() -> None:
    news_first, decision_first = submitted(), submitted()
    for world in (news_first, decision_first):
        world.hear(P.UNKNOWN, None)
        assert world.propose(NOT_EXECUTED) is None

    news_first.hear(P.EXECUTED)
    assert news_first.confirm() is CODE.PAYMENT_NOT_PARKED
    assert (news_first.payment.state, news_first.mine) == (S.EXECUTED, (70, 0))

    assert decision_first.confirm() is None
    decision_first.hear(P.EXECUTED)
    assert (decision_first.payment.state, decision_first.mine) == (S.FAILED, (100, 0))
    assert decision_first.payment.parked == "CONTRADICTION"


def test_nothing_is_sent_while_it_is_decided_and_what_is_on_its_way_after_that_is_seen() -> None:
    world = World(Rail.OWN)

    def start() -> int:
        wish = StartSubmission(PAYMENT, CHALLENGE, "d" * 64)
        assert world.take(start_submission(world.book, world.hold, world.payment, world.challenge, wish, NOW)) is None
        return world.payment.attempts

    assert start() == 1
    world.take([payment_events.PaymentParked(PAYMENT, ADA, "UNKNOWN_STATUS")])
    assert start() == 2, "what is unknown is asked for again"
    assert world.propose(NOT_EXECUTED) is None
    assert start() == 2
    assert world.look(None) is None
    assert start() == 3, "whoever looks again does not believe it"

    assert world.propose(NOT_EXECUTED, provider_reference=None) is world.confirm() is None
    world.hear(P.SUBMITTED)
    assert (world.payment.state, world.payment.parked) == (S.FAILED, "CONTRADICTION")
    assert world.payment.last_told == "SUBMITTED SUBMITTED as p1", "by that it can be asked for"


def test_money_of_ours_is_not_said_to_have_moved_without_the_name_that_the_statement_has() -> None:
    own, brought, linked = World(Rail.OWN), World(Rail.TOP_UP), World(Rail.LINKED)
    for world in (own, brought, linked):
        world.take([payment_events.PaymentParked(PAYMENT, ADA, "UNKNOWN_STATUS")])
    assert own.propose(EXECUTED, "30", provider_reference=None) is CODE.INVALID_INPUT
    assert brought.propose(EXECUTED, "30", provider_reference=None) is CODE.INVALID_INPUT
    assert linked.propose(EXECUTED, "30", provider_reference=None) is None
    assert own.decide(EXECUTED, "30") is None
    assert own.payment.provider_reference == "p1"
    over = World(Rail.OWN)
    over.hear(P.REJECTED)
    over.hear(P.EXECUTED)
    assert over.payment.provider_reference is None
    assert over.decide(EXECUTED, "30") is None
    assert over.payment.provider_reference == "p1", "also of what is over"


@pytest.mark.parametrize(
    ("before", "said", "told", "parked"),
    [
        ([(P.UNKNOWN, None)], P.SUBMITTED, "30", None),
        ([(P.UNKNOWN, None)], P.UNKNOWN, None, "UNKNOWN_STATUS"),
        ([(P.EXECUTED, "29")], P.EXECUTED, "30", None),
        ([(P.EXECUTED, "29")], P.EXECUTED, "29", "OTHER_AMOUNT"),
        ([(P.EXECUTED, "29")], P.SUBMITTED, None, "OTHER_AMOUNT"),
        ([(P.EXECUTED, "30"), (P.FAILED, "30")], P.EXECUTED, "30", None),
        ([(P.EXECUTED, "30"), (P.FAILED, "30")], P.FAILED, "30", "CONTRADICTION"),
        ([(P.FAILED, "30"), (P.EXECUTED, "30")], P.FAILED, "30", None),
        ([(P.FAILED, "30"), (P.EXECUTED, "30")], P.EXECUTED, "30", "CONTRADICTION"),
    ],
)
def test_whoever_looks_again_finds_it_in_order_or_it_stays_parked(
    before: list[tuple[ProviderPayment, str | None]], said: ProviderPayment, told: str | None, parked: str | None
) -> None:
    world = submitted()
    for state, amount in before:
        world.hear(state, amount)
    assert world.payment.parked is not None

    assert world.look(world.news(said, told)) is None

    assert world.payment.parked == parked


def test_what_was_found_is_in_order_once_the_provider_says_so_too() -> None:
    moved, void = submitted(), submitted()
    moved.hear(P.REJECTED)
    moved.hear(P.EXECUTED)
    void.hear(P.EXECUTED)
    void.hear(P.FAILED)
    assert moved.decide(EXECUTED, "30") is void.decide(NOT_EXECUTED) is None

    for world, still, said in ((moved, P.FAILED, P.EXECUTED), (void, P.SUBMITTED, P.FAILED)):
        world.hear(P.UNKNOWN, None)
        assert world.look(world.news(still)) is None
        assert world.payment.parked == "UNKNOWN_STATUS"
        assert world.look(world.news(said)) is None
        assert world.payment.parked is None


def test_what_is_still_to_be_answered_for_or_sent_is_not_in_order_by_the_right_amount_since_its_challenge_is_void() -> (
    None
):
    asked, ours = World(Rail.LINKED), World(Rail.OWN)
    asked.hear(P.AWAITING, "29")
    ours.hear(P.SUBMITTED, "29")

    for world, said in ((asked, P.AWAITING), (ours, P.AUTHORISED)):
        assert world.look(world.news(said)) is None
        assert world.payment.parked == "OTHER_AMOUNT"


def test_what_was_changed_here_and_another_payee_are_in_order_by_nothing_that_is_said_of_the_state() -> None:
    world = World(Rail.OWN)
    world.take([payment_events.PaymentParked(PAYMENT, ADA, "CHANGED_AFTER_SCA")])
    assert world.look(world.news(P.SUBMITTED)) is None
    assert (world.payment.state, world.payment.parked) == (S.SUBMITTED, "CHANGED_AFTER_SCA")

    unknown = submitted()
    unknown.hear(P.UNKNOWN, None)
    assert not parked_payments.in_order(unknown.payment, unknown.news(P.SUBMITTED), True)


def test_what_is_known_by_what_was_told_needs_nobody_to_look_any_more() -> None:
    world = World(Rail.OWN)
    world.take([payment_events.PaymentParked(PAYMENT, ADA, "UNKNOWN_STATUS")])

    assert world.look(world.news(P.SUBMITTED)) is None

    assert (world.payment.state, world.payment.parked) == (S.SUBMITTED, None)


def test_another_payee_is_in_order_once_the_provider_names_the_right_one() -> None:
    world = submitted(Rail.LINKED)
    world.hear(P.EXECUTED, other_payee=True)
    assert world.look(world.news(P.SUBMITTED)) is None
    assert world.payment.parked == "OTHER_PAYEE", "it says nothing of the payee"
    assert world.look(world.news(P.EXECUTED), other_payee=False) is None
    assert (world.payment.state, world.payment.parked) == (S.EXECUTED, None)


STEPS = st.one_of(
    st.tuples(st.just("hear"), st.sampled_from(P), st.sampled_from(["30", "30", "29", "31", None])),
    st.tuples(st.just("decide"), st.sampled_from(Finding), st.sampled_from(["30", "29", "31"])),
    st.tuples(st.just("look"), st.sampled_from(P), st.sampled_from(["30", "29", None])),
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(Rail), st.lists(STEPS, max_size=12))
def test_after_any_decisions_and_any_news_the_book_says_what_moved_and_nothing_is_overlooked(
    rail: Rail, steps: list[Any]
) -> None:
    world = World(rail)
    for what, which, amount in steps:
        before = world.payment
        if what == "hear":
            world.hear(which, amount)
        elif what == "look":
            world.look(world.news(which, amount))
        else:
            world.decide(which, amount if which is EXECUTED else "0")

        payment = world.payment
        assert before.state not in VOID or payment.state is before.state, "over is over"
        assert payment.state in VOID or RANK[payment.state] >= RANK[before.state]
        assert not (before.state in (S.EXECUTED, S.SETTLED) and payment.state in VOID)
        moved, charged, differs = payment.moved, payment.charged, world.lies(DIFFERENCES)
        if rail is Rail.OWN:
            waits = payment.state in (S.AWAITING_SCA, S.AUTHORISED, S.SUBMITTED)
            assert world.mine == (100 - charged, 30 if waits else 0)
            assert (world.lies(CLEARING), differs, charged <= 30) == (-moved, moved - charged, True)
        elif rail is Rail.LINKED:
            assert (world.lies(MEMO), world.lies(ACCOUNT), differs) == (moved, 100, 0)
        else:
            assert (world.lies(BANK), world.lies(ACCOUNT), differs) == (moved, 100 + charged, charged - moved)
        if what == "hear" and which in ((P.SETTLED,) if rail is Rail.TOP_UP else (P.EXECUTED, P.SETTLED)):
            told = moved if amount is None else Decimal(amount)
            assert payment.parked is not None or (moved == told and moved > 0), "it moved, and is not booked so"
