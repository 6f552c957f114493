"""Payments: wishes, answers and news in any order. Money leaves once or not at all, and no state is ever gone back to."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from isthmus.domain import (
    journals,
    payment_events,
    payments,
    sca,
)
from isthmus.domain.accounts import FreezeReason
from isthmus.domain.ledger import (
    ZERO,
    VoidReason,
)
from isthmus.domain.payment_asks import PaymentAsked
from isthmus.domain.payment_events import TERMINAL, VOID, PaymentInitiated, PaymentState, Source
from isthmus.domain.payment_news import ProviderPayment
from isthmus.domain.payments import StartSubmission
from isthmus.domain.personal import Sealed
from isthmus.domain.refusals import RefusalCode
from tests.domain.payment_world import (
    ACCOUNT,
    ADA,
    DIGEST,
    RIGHT,
    WRONG,
    World,
    authorised,
    made,
    submitted,
)


def test_the_money_is_reserved_at_once_and_leaves_when_it_is_executed() -> None:
    world = made()
    assert (world.state, world.mine) == (PaymentState.AWAITING_SCA, (100, 30))
    world = submitted()
    assert world.mine == (100, 30)
    assert world.payment is not None
    assert not world.payment.unknown, "it has a name there"
    assert world.hear(ProviderPayment.EXECUTED) is None
    assert (world.state, world.mine) == (PaymentState.EXECUTED, (70, 0))
    assert world.hear(ProviderPayment.SETTLED) is None
    assert (world.state, world.mine) == (PaymentState.SETTLED, (70, 0))


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (lambda world: world.cancel(), PaymentState.CANCELLED),
        (lambda world: world.hear(ProviderPayment.REJECTED), PaymentState.REJECTED),
        (lambda world: world.hear(ProviderPayment.FAILED), PaymentState.FAILED),
        (lambda world: world.hear(ProviderPayment.CANCELLED), PaymentState.CANCELLED),
        (lambda world: world.hear(ProviderPayment.EXPIRED), PaymentState.EXPIRED),
        (lambda world: world.submit("e" * 64), PaymentState.REJECTED),
    ],
)
def test_every_other_end_releases_what_was_reserved(end: Any, state: PaymentState) -> None:
    world = authorised()
    assert end(world) is None
    assert (world.state, world.mine) == (state, (100, 0))


def test_nobody_answers_in_time_and_the_money_is_free_again() -> None:
    world = made()
    assert world.expire() is None
    assert world.state is PaymentState.AWAITING_SCA, "it is not over yet"
    world.now += sca.CODE_LIFE
    assert world.answer() is RefusalCode.SCA_REJECTED
    assert world.expire() is None
    assert (world.state, world.mine) == (PaymentState.EXPIRED, (100, 0))
    assert world.challenge is not None
    assert world.challenge.state is sca.ChallengeState.EXPIRED


def test_five_wrong_answers_end_the_payment_and_block_the_next() -> None:
    world = made()
    for _ in range(sca.FAILURES_MAX):
        assert world.answer(WRONG) is None
    assert world.answer() is RefusalCode.SCA_REJECTED, "the right one comes too late"
    assert world.expire() is None
    assert (world.state, world.mine) == (PaymentState.REJECTED, (100, 0))
    assert world.initiate(payment_id=uuid4(), challenge_id=uuid4()) is RefusalCode.SCA_BLOCKED


def test_d1_what_would_be_sent_is_not_what_was_answered_for_nothing_is_sent() -> None:
    world = authorised()
    assert world.submit("e" * 64) is None
    assert world.payment is not None
    assert (world.state, world.payment.parked, world.payment.attempts) == (
        PaymentState.REJECTED,
        "CHANGED_AFTER_SCA",
        0,
    )
    assert world.challenge is not None
    assert world.challenge.state is sca.ChallengeState.INVALIDATED
    assert world.submit() is None
    assert world.payment.attempts == 0, "nor afterwards"


@pytest.mark.parametrize("source", Source)
def test_d1_what_is_changed_once_it_may_be_at_the_bank_is_not_sent_again_and_nothing_is_released(
    source: Source,
) -> None:
    world = authorised(source)
    assert world.submit() is None
    before = world.mine
    assert world.submit("e" * 64) is None
    assert world.payment is not None
    assert (world.state, world.payment.parked) == (PaymentState.AUTHORISED, "CHANGED_AFTER_SCA")
    assert (world.mine, world.payment.attempts) == (before, 1), "what became of the first is not known"
    assert world.submit() is None
    assert world.payment.attempts == 1
    assert world.hear(ProviderPayment.EXECUTED) is None
    assert world.state is PaymentState.EXECUTED


def test_d1_that_another_challenge_was_passed_sends_nothing() -> None:
    world = authorised()
    assert world.challenge is not None
    other = replace(world.challenge, issued=replace(world.challenge.issued, digest="e" * 64))
    wish = StartSubmission(world.payment_id, world.challenge_id, DIGEST)

    assert world.take(payments.start_submission(world.book, world.hold, world.payment, other, wish, world.now)) is None

    assert (world.state, world.attempts, world.mine) == (PaymentState.REJECTED, 0, (100, 0))


def test_what_is_over_is_neither_answered_for_nor_ended_again() -> None:
    world = made()
    assert world.hear(ProviderPayment.REJECTED) is None
    before = len(world.events)

    assert world.answer() is RefusalCode.SCA_REJECTED, "its challenge waits still"
    for ended in (world, submitted()):
        ended.now += sca.CODE_LIFE
        before = len(ended.events)
        assert ended.expire() is None
        assert len(ended.events) == before


def test_what_is_parked_after_it_was_sent_is_not_sent_again() -> None:
    world = authorised()
    assert world.submit() is None
    assert world.hear(ProviderPayment.SUBMITTED, amount=Decimal("29.99")) is None
    assert world.payment is not None
    assert (world.state, world.payment.parked) == (PaymentState.AUTHORISED, "OTHER_AMOUNT")

    assert world.submit() is None

    assert world.attempts == 1


def test_what_was_released_already_is_not_released_once_more() -> None:
    world = made()
    released = journals.void_hold(world.book, world.hold, VoidReason.REQUESTED, world.now)
    assert world.take(released) is None

    assert world.cancel() is None

    assert (world.state, world.mine) == (PaymentState.CANCELLED, (100, 0))


def test_only_what_is_paid_from_here_reserves_anything() -> None:
    for source, reserves in ((Source.OWN, True), (Source.BANK, False)):
        payment = made(source).payment
        assert payment is not None
        assert (payment.initiated.hold_id is not None) is reserves


def test_an_account_that_is_not_at_hand_is_not_known_to_be_free() -> None:
    world = made()
    del world.book[ACCOUNT]

    assert world.answer() is None

    assert world.payment is not None
    assert (world.state, world.payment.parked) == (PaymentState.AWAITING_SCA, "REVIEW")


@pytest.mark.parametrize("other", [{"owner": uuid4()}, {"subject_id": uuid4()}])
def test_d2_the_answer_of_another_and_for_another_is_not_accepted(other: dict[str, Any]) -> None:
    world = made()
    assert world.answer(**other) is RefusalCode.SCA_REJECTED
    assert (world.state, world.guard.failures) == (PaymentState.AWAITING_SCA, 0)


def test_it_is_cancelled_by_its_owner_until_it_may_be_at_the_bank() -> None:
    world = authorised()
    assert world.cancel(uuid4()) is RefusalCode.PAYMENT_NOT_FOUND
    assert world.submit() is None
    assert world.cancel() is RefusalCode.PAYMENT_NOT_CANCELLABLE, "whether the bank has it is not known yet"
    world = authorised()
    assert world.cancel() is None
    assert world.cancel() is None, "again is the same"
    assert world.submit() is None
    assert world.payment is not None
    assert world.payment.attempts == 0


def test_f20_news_that_go_back_change_nothing_and_what_contradicts_is_shown() -> None:
    world = submitted()
    assert world.hear(ProviderPayment.EXECUTED) is None
    before = len(world.events)
    assert world.hear(ProviderPayment.EXECUTED) is None
    assert len(world.events) == before, "the same again is no news"
    for late in (ProviderPayment.AUTHORISED, ProviderPayment.SUBMITTED, ProviderPayment.AWAITING):
        assert world.hear(late) is None
        assert world.state is PaymentState.EXECUTED
    assert world.payment is not None
    assert world.payment.parked is None
    assert world.payment.evidence == {"AUTHORISED AUTHORISED", "SUBMITTED SUBMITTED"}
    for lie in (ProviderPayment.FAILED, ProviderPayment.REJECTED):
        assert world.hear(lie) is None
    assert world.payment is not None
    assert (world.state, world.mine, world.payment.parked) == (PaymentState.EXECUTED, (70, 0), "CONTRADICTION")


def test_f20_money_that_moved_after_it_was_over_for_us_is_shown_to_an_operator_once() -> None:
    world = submitted()
    assert world.hear(ProviderPayment.FAILED) is None
    before = len(world.events)
    for _ in range(3):
        assert world.hear(ProviderPayment.EXECUTED) is None
    assert world.payment is not None
    assert (world.state, world.mine, world.payment.parked) == (PaymentState.FAILED, (100, 0), "CONTRADICTION")
    assert len(world.events) == before + 2, "the evidence and the alert, once"


def test_f20_what_is_over_and_said_to_be_on_its_way_or_over_otherwise_is_kept_and_shown_to_nobody() -> None:
    world = submitted()
    assert world.hear(ProviderPayment.FAILED) is None
    for late in (ProviderPayment.SUBMITTED, ProviderPayment.REJECTED, ProviderPayment.FAILED):
        assert world.hear(late) is None
    assert world.payment is not None
    assert (world.state, world.payment.parked) == (PaymentState.FAILED, None)
    assert world.payment.evidence == {"SUBMITTED SUBMITTED", "REJECTED REJECTED"}


def test_e6_another_amount_and_a_word_that_is_new_move_nothing() -> None:
    world = submitted()
    assert world.hear(ProviderPayment.SETTLED, amount=Decimal("29.99"), asset="GBP") is None
    assert world.payment is not None
    assert (world.state, world.payment.parked) == (PaymentState.SUBMITTED, "OTHER_AMOUNT")
    assert world.hear(ProviderPayment.EXECUTED) is None
    assert world.payment is not None
    assert (world.state, world.payment.parked) == (PaymentState.EXECUTED, "OTHER_AMOUNT"), (
        "and is looked at all the same"
    )
    world = submitted()
    assert world.hear(ProviderPayment.EXECUTED, asset="EUR") is None
    assert world.state is PaymentState.SUBMITTED
    assert world.hear(ProviderPayment.UNKNOWN, "a new word\n<script>") is None
    assert world.payment is not None
    assert world.payment.parked == "OTHER_AMOUNT", "what is worse is not forgotten for it"
    assert "UNKNOWN anewwordscript" in world.payment.evidence
    world = submitted()
    assert world.hear(ProviderPayment.UNKNOWN, "x" * 1_000) is None
    assert world.payment is not None
    assert (world.payment.parked, world.payment.evidence) == ("UNKNOWN_STATUS", {f"UNKNOWN {'x' * 64}"})
    assert world.hear(ProviderPayment.EXECUTED, asset="EUR") is None
    assert world.payment.parked == "OTHER_AMOUNT", "and what is worse is seen beside it"


def test_steps_that_the_provider_left_out_are_taken_on_the_way() -> None:
    world = made(Source.BANK)
    assert world.hear(ProviderPayment.SETTLED, reference="p9", amount=Decimal("30.00"), asset="GBP") is None
    assert world.state is PaymentState.SETTLED
    kinds = [type(event).__name__ for event in world.events if isinstance(event, payment_events.PaymentEvent)]
    assert kinds[:2] == ["PaymentInitiated", "PaymentScreened"]
    assert kinds[2:] == ["PaymentAuthorised", "PaymentSubmitted", "PaymentExecuted", "PaymentSettled"]
    assert world.mine == (100, 0), "what was paid from a bank's account is not ours"


def test_what_waits_for_us_at_the_bank_is_not_sent_yet_and_keeps_the_name_that_it_has_there() -> None:
    world = made(Source.BANK)
    state = Sealed(f"sealed:v1:{ADA}:s")
    assert world.take([PaymentAsked(world.payment_id, ADA, world.challenge_id, "p9", state, None, None, 2)]) is None

    assert world.hear(ProviderPayment.AUTHORISED) is None
    assert world.state is PaymentState.AUTHORISED
    assert world.hear(ProviderPayment.SUBMITTED) is None

    assert world.payment is not None
    assert world.payment.provider_reference == "p9", "also where it is not said once more"


def test_a_provider_s_sentence_is_no_code_and_is_kept_nowhere() -> None:
    world = submitted()
    assert world.hear(ProviderPayment.FAILED, "FAILED", code="The account of John Smith is closed") is None
    assert (world.events[-1].code, world.events[-1].retryable) == ("FAILED", False)


class Life(RuleBasedStateMachine):
    """Everything that can happen to a payment, in any order, from either source."""

    @initialize(source=st.sampled_from(Source))
    def begin(self, source: Source) -> None:
        self.world = made(source)
        self.ranks = [0]
        self.ended: PaymentState | None = None

    @rule(right=st.booleans())
    def answer(self, right: bool) -> None:
        self.world.answer(RIGHT if right else WRONG)

    @rule()
    def cancel(self) -> None:
        self.world.cancel()

    @rule(minutes=st.sampled_from([1, 5, 60]))
    def wait(self, minutes: int) -> None:
        self.world.now += timedelta(minutes=minutes)

    @rule()
    def expire(self) -> None:
        self.world.expire()

    @rule(same=st.sampled_from([True, True, False]))
    def submit(self, same: bool) -> None:
        self.world.submit(DIGEST if same else "e" * 64)

    @precondition(lambda self: self.world.attempts or self.world.source is Source.BANK)
    @rule(state=st.sampled_from(ProviderPayment), amount=st.sampled_from([None, "30.00", "29.99"]))
    def hear(self, state: ProviderPayment, amount: str | None) -> None:
        self.world.hear(state, amount=None if amount is None else Decimal(amount))

    @invariant()
    def states_only_go_on(self) -> None:
        if not hasattr(self, "world"):
            return
        state = self.world.state
        if self.ended is not None:
            assert state is self.ended, "an end is an end"
        if state in TERMINAL:
            self.ended = state
        else:
            rank = payment_events.RANK[state]
            assert rank >= self.ranks[-1]
            self.ranks.append(rank)

    @invariant()
    def money_is_where_the_state_says(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        if world.source is Source.BANK or world.state in VOID:
            assert world.mine == (100, ZERO)
        elif world.state in (PaymentState.EXECUTED, PaymentState.SETTLED):
            assert world.mine == (70, ZERO)
        else:
            assert world.mine == (100, 30)

    @invariant()
    def nothing_is_sent_without_an_answer(self) -> None:
        if hasattr(self, "world") and self.world.attempts:
            assert any(isinstance(event, sca.ScaPassed) for event in self.world.events)


Life.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestLife = Life.TestCase


@pytest.mark.parametrize(
    ("wish", "account", "code", "path"),
    [
        ({"amount": "100.01"}, {}, RefusalCode.INSUFFICIENT_FUNDS, ("input", "amount")),
        ({"from_account_id": uuid4()}, {}, RefusalCode.ACCOUNT_NOT_FOUND, ("input", "fromAccountId")),
        ({"owner": uuid4()}, {}, RefusalCode.ACCOUNT_NOT_FOUND, ("input", "fromAccountId")),
        ({"asset": "EUR"}, {}, RefusalCode.ASSET_MISMATCH, ("input", "amount", "asset")),
        ({}, {"closed": True}, RefusalCode.ACCOUNT_CLOSED, ("input", "fromAccountId")),
        ({}, {"freezes": frozenset({FreezeReason.OPERATOR})}, RefusalCode.ACCOUNT_FROZEN, ("input", "fromAccountId")),
    ],
)
def test_an_account_that_cannot_pay_is_told_so(
    wish: dict[str, Any], account: dict[str, Any], code: RefusalCode, path: tuple[str, ...]
) -> None:
    world = World()
    state = world.book[ACCOUNT]
    world.book[ACCOUNT] = replace(state, account=replace(state.account, **account))

    assert world.initiate(**wish) is code

    assert world.refusal is not None
    assert world.refusal.path == path
    assert world.events == []
    assert not any(isinstance(event, PaymentInitiated) for event in world.events)
