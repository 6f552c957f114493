"""Payments: wishes, answers and news in any order. Money leaves once or not at all, and no state is ever gone back to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from isthmus.domain import (
    journals,
    payment_events,
    payment_initiation,
    payment_news,
    payment_review,
    payments,
    payments_at_bank,
    sca,
    sca_answers,
)
from isthmus.domain.accounts import Account, AccountType, FreezeReason
from isthmus.domain.compliance import Limits, Ruling, Verdict
from isthmus.domain.ledger import (
    ZERO,
    AccountState,
    Hold,
    HoldVoided,
    JournalPosted,
    JournalReserved,
    LedgerEvent,
    VoidReason,
    apply,
    evolve_hold,
)
from isthmus.domain.payment_asks import PaymentAsked
from isthmus.domain.payment_events import TERMINAL, VOID, PaymentInitiated, PaymentState, Source
from isthmus.domain.payment_initiation import InitiatePayment
from isthmus.domain.payment_news import PaymentNews, ProviderPayment, RecordPaymentNews
from isthmus.domain.payment_review import RefusePayment, ReleasePayment
from isthmus.domain.payments import CancelPayment, StartSubmission
from isthmus.domain.payments_at_bank import StartAsking
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.refusals import Refusal, RefusalCode
from isthmus.domain.sca_answers import AnswerScaChallenge

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ADA, ACCOUNT = uuid4(), uuid4()
RIGHT, WRONG = sca.CodeProof(True), sca.CodeProof(False)
DIGEST = "d" * 64
ALLOWED = Verdict(Ruling.ALLOW, "sanctions-name-clear", "1")
LIMITS = Limits(Decimal(1_000), Decimal(2_000))


class World:
    """One account with 100.00, one payment of 30.00, and everything that can happen to it."""

    def __init__(self, source: Source = Source.OWN) -> None:
        owned = Account(ACCOUNT, "user", AccountType.LIABILITY, "GBP", ADA, may_overdraw=False)
        self.book: dict[UUID, AccountState] = {ACCOUNT: AccountState(owned, posted=Decimal(100))}
        self.now = NOW
        self.source = source
        self.events: list[Any] = []
        self.payment_id, self.challenge_id = uuid4(), uuid4()
        self.hold: Hold | None = None
        self.used = Decimal(0)
        self.refusal: Refusal | None = None

    def take(self, decided: payments.Decision) -> RefusalCode | None:
        if isinstance(decided, Refusal):
            self.refusal = decided
            return decided.code
        for event in decided:
            if isinstance(event, LedgerEvent):
                apply(self.book, [event])
            if isinstance(event, JournalReserved | JournalPosted | HoldVoided):
                self.hold = evolve_hold(self.hold, event)
        self.events += decided
        return None

    @property
    def payment(self) -> payment_events.Payment | None:
        return payment_events.fold(self.events)

    @property
    def attempts(self) -> int:
        return self.payment.attempts if self.payment is not None else 0

    @property
    def challenge(self) -> sca.Challenge | None:
        return sca.fold(self.events)

    @property
    def guard(self) -> sca.Guard:
        return sca.fold_guard(self.events, self.now)

    @property
    def state(self) -> Any:
        assert self.payment is not None
        return self.payment.state

    def initiate(self, amount: str = "30", **other: Any) -> RefusalCode | None:
        def text(plain: str) -> PersonalText:
            return PersonalText("", Sealed(f"sealed:v1:{ADA}:{plain}"))

        wish: dict[str, Any] = {
            "payment_id": self.payment_id,
            "challenge_id": self.challenge_id,
            "owner": ADA,
            "source": self.source,
            "from_account_id": ACCOUNT,
            "provider": "truelayer",
            "amount": Decimal(amount),
            "asset": "GBP",
            "payee_name": text("n"),
            "payee_account": text("a"),
            "reference": None,
            "digest": DIGEST,
            "method": sca.Method.ONE_TIME_CODE,
            "expires_at": self.now + sca.CODE_LIFE,
            "verdict": ALLOWED,
            "limits": LIMITS,
        }
        used = self.used
        return self.take(
            payment_initiation.initiate(self.book, self.guard, used, InitiatePayment(**(wish | other)), self.now)
        )

    def answer(self, proof: sca.Proof = RIGHT, **other: Any) -> RefusalCode | None:
        wish = AnswerScaChallenge(self.challenge_id, self.payment_id, ADA, DIGEST, proof, ACCOUNT)
        decided: Any = sca_answers.answer(
            self.book, self.challenge, self.guard, self.payment, None, replace(wish, **other), self.now
        )
        return self.take(decided)

    def cancel(self, owner: UUID = ADA) -> RefusalCode | None:
        wish = CancelPayment(self.payment_id, self.challenge_id, owner)
        return self.take(payments.cancel(self.book, self.hold, self.payment, self.challenge, wish, self.now))

    def expire(self) -> RefusalCode | None:
        return self.take(payments.expire(self.book, self.hold, self.payment, self.challenge, self.now))

    def submit(self, digest: str = DIGEST) -> RefusalCode | None:
        wish = StartSubmission(self.payment_id, self.challenge_id, digest)
        return self.take(payments.start_submission(self.book, self.hold, self.payment, self.challenge, wish, self.now))

    def hear(self, state: ProviderPayment, told: str = "", **other: Any) -> RefusalCode | None:
        wish = RecordPaymentNews(self.payment_id, PaymentNews(state, told or state, **other), uuid4())
        return self.take(payment_news.record_news(self.book, self.hold, self.payment, wish, self.now))

    @property
    def mine(self) -> Any:
        """(posted, reserved)."""
        return self.book[ACCOUNT].posted, self.book[ACCOUNT].pending_out


def made(source: Source = Source.OWN) -> World:
    world = World(source)
    assert world.initiate() is None
    return world


def authorised(source: Source = Source.OWN) -> World:
    world = made(source)
    assert world.answer() is None
    assert world.state is PaymentState.AUTHORISED
    return world


def submitted(source: Source = Source.OWN) -> World:
    world = authorised(source)
    assert world.submit() is None
    assert world.hear(ProviderPayment.SUBMITTED, reference="p1") is None
    assert world.state is PaymentState.SUBMITTED
    return world


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


# -- compliance ------------------------------------------------------------------------------------------------------------

CLOSE = Verdict(Ruling.REVIEW, "sanctions-name-close", "1")
REFUSED = Verdict(Ruling.REFUSE, "sanctions-name-exact", "1")
OLGA = uuid4()


def judged(world: World, kind: type[ReleasePayment | RefusePayment], operator: UUID = OLGA) -> RefusalCode | None:
    wish = kind(world.payment_id, world.challenge_id, operator)
    if isinstance(wish, ReleasePayment):
        return world.take(payment_review.release(world.book, world.payment, world.challenge, wish))
    return world.take(payment_review.refuse(world.book, world.hold, world.payment, world.challenge, wish, world.now))


def in_review() -> World:
    world = World()
    assert world.initiate(verdict=CLOSE) is None
    assert world.answer() is None
    return world


def test_what_is_refused_is_recorded_with_its_rule_and_neither_holds_money_nor_asks_for_anything() -> None:
    world = World()

    assert world.initiate(verdict=REFUSED) is None

    assert [type(event).__name__ for event in world.events] == [
        "PaymentInitiated",
        "PaymentScreened",
        "PaymentRejected",
    ]
    assert (world.events[1].rule, world.events[1].list_version) == ("sanctions-name-exact", "1")
    assert (world.state, world.events[2].code, world.mine) == (PaymentState.REJECTED, "COMPLIANCE", (100, 0))
    assert (world.challenge, world.hold) == (None, None)


def test_every_payment_is_screened_before_it_is_authorised() -> None:
    kinds = [type(event).__name__ for event in authorised().events]

    assert kinds.index("PaymentScreened") < kinds.index("PaymentAuthorised")


def test_what_is_to_be_judged_waits_after_the_answer_and_is_sent_only_when_it_is_released() -> None:
    world = in_review()
    assert (world.state, world.payment and world.payment.parked, world.mine) == (
        PaymentState.AWAITING_SCA,
        "REVIEW",
        (100, 30),
    )
    world.now += timedelta(days=9)
    assert world.expire() is None
    assert world.submit() is None
    assert (world.state, world.attempts) == (PaymentState.AWAITING_SCA, 0), "days are nothing to it"

    assert judged(world, ReleasePayment, ADA) is RefusalCode.PAYMENT_NOT_IN_REVIEW, "nobody judges their own"
    assert judged(world, ReleasePayment) is None
    assert world.state is PaymentState.AUTHORISED
    assert judged(world, ReleasePayment) is RefusalCode.PAYMENT_NOT_IN_REVIEW
    assert world.submit() is None
    assert world.attempts == 1


def test_what_is_judged_badly_is_rejected_in_the_words_of_the_rules_and_its_money_is_free() -> None:
    world = in_review()

    assert judged(world, RefusePayment) is None

    assert (world.state, world.mine) == (PaymentState.REJECTED, (100, 0))
    assert [event.code for event in world.events if isinstance(event, payment_events.PaymentRejected)] == ["COMPLIANCE"]
    assert world.challenge is not None
    assert world.challenge.state is sca.ChallengeState.INVALIDATED
    assert judged(world, ReleasePayment) is RefusalCode.PAYMENT_NOT_IN_REVIEW


def test_it_cannot_be_judged_before_it_is_answered_for_or_where_no_rule_asks_for_it() -> None:
    world = World()
    assert world.initiate(verdict=CLOSE) is None
    over = in_review()
    assert over.hear(ProviderPayment.REJECTED) is None
    for early in (world, made(), made(Source.BANK), authorised(), over):
        before = early.state
        assert judged(early, ReleasePayment) is RefusalCode.PAYMENT_NOT_IN_REVIEW
        assert judged(early, RefusePayment) is RefusalCode.PAYMENT_NOT_IN_REVIEW
        assert early.state is before


def test_an_account_that_is_frozen_before_the_answer_sends_nothing_until_it_is_thawed_and_released() -> None:
    world = made()
    state = world.book[ACCOUNT]
    frozen = replace(state.account, freezes=frozenset({FreezeReason.OPERATOR}))
    world.book[ACCOUNT] = replace(state, account=frozen)

    assert world.answer() is None
    assert (world.state, world.payment and world.payment.parked) == (PaymentState.AWAITING_SCA, "REVIEW")
    assert judged(world, ReleasePayment) is RefusalCode.ACCOUNT_FROZEN
    world.book[ACCOUNT] = replace(world.book[ACCOUNT], account=state.account)
    assert judged(world, ReleasePayment) is None
    assert world.state is PaymentState.AUTHORISED


def test_from_a_bank_it_is_judged_before_anybody_is_asked_and_then_they_are() -> None:
    world = World(Source.BANK)
    assert world.initiate(verdict=CLOSE) is None

    assert asks(world) == 0
    assert judged(world, ReleasePayment) is None
    assert (world.state, asks(world)) == (PaymentState.AWAITING_SCA, 1)


def asks(world: World, digest: str = DIGEST) -> int:
    wish = StartAsking(world.payment_id, world.challenge_id, digest)
    assert world.take(payments_at_bank.start_asking(world.payment, world.challenge, wish, world.now)) is None
    return world.payment.asks if world.payment is not None else 0


def test_a_bank_is_asked_until_it_is_known_to_ask_and_for_nothing_else_than_what_waits_there() -> None:
    ours, over, parked, late, world = made(), *(made(Source.BANK) for _ in range(4))
    assert over.hear(ProviderPayment.REJECTED) is None
    assert parked.take([payment_events.PaymentParked(parked.payment_id, ADA, "UNKNOWN_STATUS")]) is None
    late.now += sca.CODE_LIFE
    for one in (ours, over, parked, late):
        assert asks(one) == 0
    assert (asks(world), asks(world)) == (1, 2), "whether the first came to anything is not known"
    state = Sealed(f"sealed:v1:{ADA}:s")
    assert world.take([PaymentAsked(world.payment_id, ADA, world.challenge_id, "p9", state, None, None, 2)]) is None
    assert asks(world) == 2


def test_d1_a_bank_is_asked_for_nothing_else_than_what_the_challenge_is_bound_to() -> None:
    wish, log, both = (made(Source.BANK) for _ in range(3))
    for world in (log, both):
        issued = next(event for event in world.events if isinstance(event, sca.ScaChallengeIssued))
        world.events[world.events.index(issued)] = replace(issued, digest="e" * 64)

    for world, digest in ((wish, "e" * 64), (log, DIGEST), (both, "e" * 64)):
        assert asks(world, digest) == 0
        assert world.payment is not None
        assert world.challenge is not None
        assert (world.state, world.payment.parked) == (PaymentState.REJECTED, "CHANGED_AFTER_SCA")
        assert world.challenge.state is sca.ChallengeState.INVALIDATED


def test_its_payer_can_take_it_back_while_it_waits() -> None:
    world = in_review()

    assert world.cancel() is None

    assert (world.state, world.mine) == (PaymentState.CANCELLED, (100, 0))
    assert judged(world, ReleasePayment) is RefusalCode.PAYMENT_NOT_IN_REVIEW


def test_over_the_limit_reserves_nothing() -> None:
    world = World()
    world.used = Decimal("1_970.01")

    assert world.initiate() is RefusalCode.LIMIT_EXCEEDED
    world.used -= Decimal("0.01")
    assert world.initiate() is None
