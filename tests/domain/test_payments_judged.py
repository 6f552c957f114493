"""Payments that rules and operators judge, and banks that are asked about them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from isthmus.domain import (
    payment_events,
    payment_review,
    payments_at_bank,
    sca,
)
from isthmus.domain.accounts import FreezeReason
from isthmus.domain.compliance import Ruling, Verdict
from isthmus.domain.payment_asks import PaymentAsked
from isthmus.domain.payment_events import PaymentState, Source
from isthmus.domain.payment_news import ProviderPayment
from isthmus.domain.payment_review import RefusePayment, ReleasePayment
from isthmus.domain.payments_at_bank import StartAsking
from isthmus.domain.personal import Sealed
from isthmus.domain.refusals import RefusalCode
from tests.domain.payment_world import (
    ACCOUNT,
    ADA,
    DIGEST,
    World,
    authorised,
    made,
)

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
