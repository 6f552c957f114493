"""Batches: all or nothing is reserved, one answer moves all on, and a change to any of them ends the whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from isthmus.domain import batches, payment_events, payment_review, payments, sca, sca_answers
from isthmus.domain.accounts import Account, AccountType, FreezeReason
from isthmus.domain.batches import Batch, BatchInitiated, InitiateBatch
from isthmus.domain.compliance import Limits, Ruling, Verdict
from isthmus.domain.ledger import AccountState, Hold, HoldVoided, JournalReserved, LedgerEvent, apply, evolve_hold
from isthmus.domain.payment_events import PaymentState, Source, hold_id_of
from isthmus.domain.payment_initiation import InitiatePayment
from isthmus.domain.payment_review import RefusePayment, ReleasePayment
from isthmus.domain.payments import CancelPayment, StartSubmission
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.refusals import InsufficientFunds, LimitExceeded, Refusal, ScaBlockedRefusal, ScaRejected
from isthmus.domain.sca_answers import AnswerScaChallenge

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ADA, ACCOUNT, BATCH, CHALLENGE = uuid4(), uuid4(), uuid4(), uuid4()
DIGEST = "d" * 64
ALLOWED = Verdict(Ruling.ALLOW, "sanctions-name-clear", "1")
REFUSED = Verdict(Ruling.REFUSE, "sanctions-name-exact", "1")
CLOSE = Verdict(Ruling.REVIEW, "sanctions-name-close", "1")
RIGHT, WRONG = sca.CodeProof(True), sca.CodeProof(False)


class World:
    """An account with 100.00, and a batch of payments from it."""

    def __init__(self, *amounts: str) -> None:
        owned = Account(ACCOUNT, "user", AccountType.LIABILITY, "GBP", ADA, may_overdraw=False)
        self.book: dict[UUID, AccountState] = {ACCOUNT: AccountState(owned, posted=Decimal(100))}
        self.ids = [uuid4() for _ in amounts]
        self.amounts = amounts
        self.events: list[Any] = []
        self.holds: dict[UUID, Hold] = {}
        self.now = NOW

    def take(self, decided: Any) -> Refusal | None:
        if isinstance(decided, Refusal):
            return decided
        for event in decided:
            if isinstance(event, LedgerEvent):
                apply(self.book, [event])
            if isinstance(event, JournalReserved | HoldVoided):
                key = event.journal_id
                hold = evolve_hold(self.holds.get(key), event)
                if hold is not None:
                    self.holds[key] = hold
        self.events += decided
        return None

    def wish(self, verdicts: dict[int, Verdict] | None = None, per_day: str = "1000") -> InitiateBatch:
        def text(plain: str) -> PersonalText:
            return PersonalText("", Sealed(f"sealed:v1:{ADA}:{plain}"))

        limits = Limits(Decimal(50), Decimal(per_day))
        lines = tuple(
            InitiatePayment(
                self.ids[n],
                CHALLENGE,
                ADA,
                Source.OWN,
                ACCOUNT,
                "truelayer",
                Decimal(amount),
                "GBP",
                text("n"),
                text("a"),
                None,
                DIGEST,
                sca.Method.ONE_TIME_CODE,
                NOW + sca.CODE_LIFE,
                (verdicts or {}).get(n, ALLOWED),
                limits,
                batch_id=BATCH,
                line=n,
            )
            for n, amount in enumerate(self.amounts)
        )
        return InitiateBatch(BATCH, CHALLENGE, ADA, lines)

    def initiate(
        self,
        verdicts: dict[int, Verdict] | None = None,
        per_day: str = "1000",
        guard: sca.Guard = sca.Guard(),  # noqa: B008 - a value
    ) -> Refusal | None:
        return self.take(batches.initiate(self.book, guard, Decimal(0), self.wish(verdicts, per_day), NOW))

    def payment(self, n: int) -> payment_events.Payment:
        mine = [event for event in self.events if getattr(event, "payment_id", None) == self.ids[n]]
        found = payment_events.fold(mine)
        assert found is not None
        return found

    @property
    def challenge(self) -> sca.Challenge | None:
        return sca.fold(self.events)

    @property
    def states(self) -> list[str]:
        return [self.payment(n).state.value for n in range(len(self.ids))]

    def answer(self, proof: sca.Proof = RIGHT, seen: int | None = None, bound_to: str = DIGEST) -> Refusal | None:
        batch = batches.fold(self.events)
        assert batch is not None
        known = tuple(self.payment(n) for n in range(len(self.ids) if seen is None else seen))
        wish = AnswerScaChallenge(CHALLENGE, BATCH, ADA, DIGEST, proof, ACCOUNT)
        subject = Batch(replace(batch.initiated, digest=bound_to), known)
        return self.take(sca_answers.answer(self.book, self.challenge, sca.Guard(), subject, None, wish, self.now))

    def cancel(self, n: int) -> Refusal | None:
        wish = CancelPayment(self.ids[n], CHALLENGE, ADA)
        hold = self.holds.get(hold_id_of(self.ids[n]))
        return self.take(payments.cancel(self.book, hold, self.payment(n), self.challenge, wish, self.now))

    def expire(self, n: int) -> None:
        hold = self.holds.get(hold_id_of(self.ids[n]))
        assert self.take(payments.expire(self.book, hold, self.payment(n), self.challenge, self.now)) is None

    def submit(self, n: int, digest: str = DIGEST) -> None:
        wish, hold = StartSubmission(self.ids[n], CHALLENGE, digest), self.holds.get(hold_id_of(self.ids[n]))
        decided = payments.start_submission(self.book, hold, self.payment(n), self.challenge, wish, self.now)
        assert self.take(decided) is None

    def judge(self, n: int, *, release: bool) -> Refusal | None:
        hold = self.holds.get(hold_id_of(self.ids[n]))
        mine, challenge, operator = self.payment(n), self.challenge, uuid4()
        if release:
            return self.take(
                payment_review.release(self.book, mine, challenge, ReleasePayment(self.ids[n], CHALLENGE, operator))
            )
        wish = RefusePayment(self.ids[n], CHALLENGE, operator)
        return self.take(payment_review.refuse(self.book, hold, mine, challenge, wish, self.now))

    @property
    def reserved(self) -> Decimal:
        return self.book[ACCOUNT].pending_out


def made(*amounts: str) -> World:
    world = World(*amounts)
    assert world.initiate() is None
    return world


def test_one_challenge_binds_all_and_one_answer_moves_all_on() -> None:
    world = made("10", "20", "30")
    [mine] = [event for event in world.events if isinstance(event, BatchInitiated)]
    assert (mine.total, world.reserved, world.states) == (Decimal(60), Decimal(60), ["AWAITING_SCA"] * 3)
    assert sum(isinstance(event, sca.ScaChallengeIssued) for event in world.events) == 1

    assert world.answer(WRONG) is None
    assert world.states == ["AWAITING_SCA"] * 3
    assert world.answer() is None

    assert world.states == ["AUTHORISED"] * 3
    assert isinstance(world.answer(), ScaRejected)
    for n in range(3):
        world.submit(n)
        assert world.payment(n).attempts == 1


def test_what_does_not_fit_refuses_the_whole_and_says_which() -> None:
    funds = World("50", "40", "20").initiate()
    limit = World("50", "40").initiate(per_day="80")
    at_once = World("10", "51").initiate()

    assert isinstance(funds, InsufficientFunds)
    assert funds.path == ("input", "payments", "2", "amount")
    assert isinstance(limit, LimitExceeded)
    assert limit.path == ("input", "payments", "1", "amount")
    assert isinstance(at_once, LimitExceeded)


def test_where_compliance_refuses_one_it_refuses_all_and_holds_nothing() -> None:
    world = World("10", "20")

    assert world.initiate({1: REFUSED}) is None

    assert (world.states, world.reserved, world.challenge) == (["REJECTED"] * 2, Decimal(0), None)


def test_what_an_operator_is_to_judge_waits_and_the_others_go_on() -> None:
    world = World("10", "20")
    world.initiate({0: CLOSE})
    world.answer()

    assert (world.states, world.payment(0).parked) == (["AWAITING_SCA", "AUTHORISED"], "REVIEW")


def test_from_an_account_that_was_frozen_meanwhile_nothing_goes_on() -> None:
    world = made("10", "20")
    state = world.book[ACCOUNT]
    world.book[ACCOUNT] = replace(state, account=replace(state.account, freezes=frozenset({FreezeReason.UNSPECIFIED})))
    world.answer()

    assert [world.payment(n).parked for n in range(2)] == ["REVIEW", "REVIEW"]


def test_d1_whoever_takes_one_back_before_the_answer_ends_the_whole() -> None:
    world = made("10", "20")

    assert world.cancel(0) is None

    assert isinstance(world.answer(), ScaRejected)
    world.expire(1)
    assert (world.states, world.reserved) == (["CANCELLED", "CANCELLED"], Decimal(0))


def test_after_the_answer_one_is_taken_back_by_itself() -> None:
    world = made("10", "20")
    world.answer()

    assert world.cancel(0) is None
    world.submit(1)

    assert (world.states, world.reserved) == (["CANCELLED", "AUTHORISED"], Decimal(20))
    assert world.payment(1).attempts == 1


def test_d1_a_change_to_one_stops_every_one_that_is_not_at_the_bank_yet() -> None:
    world = made("10", "20", "30")
    world.answer()
    world.submit(0)

    world.submit(1, "e" * 64)
    world.submit(2)

    assert world.states == ["AUTHORISED", "REJECTED", "REJECTED"]
    assert (world.payment(0).attempts, world.payment(2).attempts) == (1, 0)
    assert world.reserved == 10


def test_nobody_answers_for_a_part_of_it() -> None:
    world = made("10", "20")

    assert isinstance(world.answer(seen=1), ScaRejected)
    assert isinstance(world.answer(bound_to="e" * 64), ScaRejected), "nor for another"


def test_of_a_batch_in_which_one_is_over_none_goes_on() -> None:
    world = made("10", "20")
    world.events.append(payment_events.PaymentRejected(world.ids[0], ADA, "x"))

    assert isinstance(world.answer(), ScaRejected)
    assert world.states == ["REJECTED", "AWAITING_SCA"]


def test_who_answered_wrongly_too_often_begins_no_batch() -> None:
    assert isinstance(World("10").initiate(guard=sca.Guard(5, NOW + timedelta(hours=1))), ScaBlockedRefusal)


@pytest.mark.parametrize("end", ["expired", "blocked"])
def test_without_an_answer_all_of_it_ends(end: str) -> None:
    world = made("10", "20")
    if end == "expired":
        world.now += sca.CODE_LIFE + timedelta(seconds=1)
    else:
        world.events.append(sca.ScaFailed(CHALLENGE, ADA))

    for n in range(2):
        world.expire(n)

    state = PaymentState.EXPIRED if end == "expired" else PaymentState.REJECTED
    assert (world.states, world.reserved) == ([state] * 2, Decimal(0))


@pytest.mark.parametrize(("count", "refused"), [(0, True), (1, False), (100, False), (101, True)])
def test_a_batch_has_so_many_and_no_more(count: int, refused: bool) -> None:
    assert (batches.count_fault(count) is not None) is refused


def test_nothing_is_sent_from_an_account_that_was_frozen_after_the_answer_until_it_is_free() -> None:
    world = made("10", "20")
    world.answer()
    world.submit(0)  # and nobody knows what became of it
    before = world.book[ACCOUNT]
    frozen = replace(before.account, freezes=frozenset({FreezeReason.UNSPECIFIED}))
    world.book[ACCOUNT] = replace(before, account=frozen)

    world.submit(0)
    world.submit(1)
    assert [world.payment(n).attempts for n in range(2)] == [2, 0], "what may be at the bank is asked for"
    world.book[ACCOUNT] = before
    world.submit(1)

    assert (world.payment(1).attempts, world.states) == (1, ["AUTHORISED"] * 2)


def test_whom_an_operator_refuses_takes_none_of_the_others_along() -> None:
    world = World("10", "20", "30", "15")
    world.initiate({0: CLOSE, 1: CLOSE})
    world.answer()
    world.submit(2)  # and nobody knows what became of it

    assert world.judge(0, release=False) is None
    world.submit(2)
    world.submit(3)
    assert world.judge(1, release=True) is None

    assert world.states == ["REJECTED", "AUTHORISED", "AUTHORISED", "AUTHORISED"]
    assert ([world.payment(n).attempts for n in (2, 3)], world.reserved) == ([2, 1], Decimal(65))


def test_what_may_be_at_the_bank_keeps_its_money_whatever_was_changed_since() -> None:
    world = made("10", "20")
    world.answer()
    world.submit(0)  # and nobody knows what became of it

    world.submit(1, "e" * 64)
    world.submit(0, "e" * 64)

    assert world.states == ["AUTHORISED", "REJECTED"]
    assert (world.payment(0).parked, world.payment(0).attempts) == ("CHANGED_AFTER_SCA", 1)
    assert world.reserved == 10
