"""What operators find that the bank moved is booked: as far as somebody answered for it, and beyond that as a difference."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from isthmus.domain import (
    payment_events,
)
from isthmus.domain.accounts import FreezeReason
from isthmus.domain.ledger import (
    JournalPosted,
)
from isthmus.domain.pay_ins import pay_in_journal_id
from isthmus.domain.reconciliation_cases import ClosedBy, ReconciliationCaseClosed, ReconciliationCaseOpened
from isthmus.domain.refusals import RefusalCode
from tests.domain.parked_world import (
    ACCOUNT,
    BANK,
    CLEARING,
    CODE,
    DIFFERENCES,
    EXECUTED,
    MEMO,
    NOT_EXECUTED,
    PAYMENT,
    SUSPENSE,
    P,
    Rail,
    S,
    submitted,
)


@pytest.mark.parametrize(
    ("amount", "charged", "beside"), [("30", 30, 0), ("29.50", Decimal("29.50"), 0), ("31", 30, 1)]
)
def test_what_the_bank_moved_is_booked_and_beyond_what_they_answered_for_nobody_is_charged(
    amount: str, charged: Any, beside: Any
) -> None:
    world = submitted()
    world.hear(P.EXECUTED, "35")
    world.hear(P.UNKNOWN, None)

    assert world.decide(EXECUTED, amount) is None

    assert (world.payment.state, world.payment.parked) == (S.EXECUTED, None)
    assert world.mine == (100 - charged, 0), "what was reserved beyond it is free"
    assert (world.lies(CLEARING), world.lies(DIFFERENCES)) == (-Decimal(amount), beside)


def test_what_was_not_done_and_never_will_be_is_free_again() -> None:
    world = submitted()
    world.hear(P.UNKNOWN, None)

    assert world.decide(NOT_EXECUTED, news=world.news(P.FAILED)) is None

    assert (world.payment.state, world.mine) == (S.FAILED, (100, 0))
    assert world.confirm() is CODE.PAYMENT_NOT_PARKED, "once"


def test_it_was_over_here_and_moved_all_the_same_it_stays_over_and_what_moved_is_seen() -> None:
    world = submitted()
    world.hear(P.REJECTED)
    world.hear(P.EXECUTED)
    assert (world.payment.state, world.payment.parked) == (S.REJECTED, "CONTRADICTION")

    assert world.decide(EXECUTED, "30", world.news(P.EXECUTED)) is None

    assert (world.payment.state, world.mine) == (S.REJECTED, (100, 0))
    assert (world.lies(CLEARING), world.lies(DIFFERENCES)) == (-30, 30)
    world.hear(P.EXECUTED)
    assert world.payment.parked is None, "the same again is no news"


def test_what_left_and_came_back_is_given_back_and_the_payment_stays_what_it_was() -> None:
    world = submitted()
    world.hear(P.EXECUTED)
    world.hear(P.FAILED)

    assert world.decide(NOT_EXECUTED, news=world.news(P.FAILED)) is None

    assert (world.payment.state, world.mine, world.lies(CLEARING)) == (S.EXECUTED, (100, 0), 0)
    assert world.payment.proposed is None
    world.hear(P.FAILED)
    assert world.payment.parked is None
    world.hear(P.EXECUTED)
    assert world.payment.parked == "CONTRADICTION", "it did not come back, then"


def test_what_was_found_wrongly_is_found_anew_and_only_the_difference_is_booked() -> None:
    world = submitted()
    world.hear(P.EXECUTED, "31")
    assert world.decide(EXECUTED, "31") is None
    world.hear(P.EXECUTED, "29")
    assert world.payment.parked == "OTHER_AMOUNT"

    assert world.decide(EXECUTED, "29", world.news(P.EXECUTED, "29")) is None

    assert (world.mine, world.lies(CLEARING), world.lies(DIFFERENCES)) == ((71, 0), -29, 0)


def test_what_was_not_to_arrive_any_more_and_does_is_credited() -> None:
    world = submitted(Rail.TOP_UP)
    world.hear(P.EXECUTED)
    world.hear(P.FAILED)
    assert world.decide(NOT_EXECUTED) is None
    assert (world.payment.state, world.lies(ACCOUNT)) == (S.EXECUTED, 100)

    world.hear(P.SETTLED)

    assert (world.payment.state, world.payment.moved, world.lies(ACCOUNT)) == (S.SETTLED, 30, 130)
    world.hear(P.FAILED)
    assert world.decide(NOT_EXECUTED) is None
    world.hear(P.SETTLED)
    assert world.payment.parked == "CONTRADICTION", "what arrived and was taken back arrives no second time unseen"


@pytest.mark.parametrize("why", [CODE.ACCOUNT_CLOSED, CODE.ACCOUNT_NOT_FOUND])
def test_what_its_payers_account_does_not_take_any_more_is_in_suspense_with_a_case(why: RefusalCode) -> None:
    world = submitted()
    world.hear(P.EXECUTED)
    world.hear(P.FAILED)
    world.alter(closed=True)
    if why is CODE.ACCOUNT_NOT_FOUND:
        del world.book[ACCOUNT]

    assert world.decide(NOT_EXECUTED) is None

    (case,) = [event for event in world.events if isinstance(event, ReconciliationCaseOpened)]
    assert (case.why, case.ours) == (why, 30)
    assert world.lies(SUSPENSE) == 30
    last = [event for event in world.events if isinstance(event, JournalPosted)][-1]
    assert last.linked == payment_events.hold_id_of(PAYMENT), "with what was reserved it is one movement at the bank"


def test_what_was_brought_here_is_credited_as_much_as_arrived() -> None:
    less, late = submitted(Rail.TOP_UP), submitted(Rail.TOP_UP)
    less.hear(P.SETTLED, "29")
    late.hear(P.CANCELLED)
    late.hear(P.SETTLED)
    assert (less.payment.parked, late.payment.parked) == ("OTHER_AMOUNT", "CONTRADICTION")

    assert less.propose(EXECUTED, "29", less.news(P.EXECUTED, "29")) is CODE.PAYMENT_CONTRADICTED, "it left, no more"
    assert less.decide(EXECUTED, "29", less.news(P.SETTLED, "29")) is None
    assert late.decide(EXECUTED, "30") is None

    assert (less.payment.state, less.lies(ACCOUNT), less.lies(BANK)) == (S.SETTLED, 129, 29)
    assert (late.payment.state, late.lies(ACCOUNT), late.lies(BANK)) == (S.CANCELLED, 130, 30)
    for world in (less, late):
        assert pay_in_journal_id("truelayer", "p1") in world.journals, "the bank's statement finds its way to it"


def test_what_was_credited_and_taken_back_by_the_bank_is_taken_as_far_as_it_is_there() -> None:
    there, just, spent, frozen, closed = worlds = [submitted(Rail.TOP_UP) for _ in range(5)]
    for world in worlds:
        world.hear(P.SETTLED)
        world.hear(P.FAILED)
    just.book[ACCOUNT] = replace(just.book[ACCOUNT], posted=Decimal(30))
    spent.book[ACCOUNT] = replace(spent.book[ACCOUNT], posted=Decimal(10))
    frozen.alter(freezes=frozenset({FreezeReason.OPERATOR}))
    closed.alter(closed=True)

    for world in worlds:
        assert world.decide(NOT_EXECUTED) is None

    assert (there.lies(ACCOUNT), there.lies(BANK), there.lies(DIFFERENCES)) == (100, 0, 0)
    assert (just.lies(ACCOUNT), just.lies(BANK), just.lies(DIFFERENCES)) == (0, 0, 0)
    for world, left in ((spent, 10), (frozen, 130), (closed, 130)):
        assert (world.lies(ACCOUNT), world.lies(BANK), world.lies(DIFFERENCES)) == (left, 0, 30)
        assert (world.payment.moved, world.payment.charged) == (0, 30), "they have it still"


def test_what_found_its_account_closed_and_was_taken_back_by_the_bank_is_nobodys_to_be_given() -> None:
    world, less = submitted(Rail.TOP_UP), submitted(Rail.TOP_UP)
    for one in (world, less):
        one.book[ACCOUNT] = replace(one.book[ACCOUNT], account=replace(one.book[ACCOUNT].account, closed=True))
        one.hear(P.SETTLED)
        one.hear(P.FAILED)
        assert one.lies(SUSPENSE) == 30

    assert world.decide(NOT_EXECUTED) is None
    assert less.decide(EXECUTED, "29", less.news(P.SETTLED, "29")) is CODE.MONEY_IN_SUSPENSE, "its case first"

    assert [world.lies(one) for one in (SUSPENSE, BANK, DIFFERENCES)] == [0, 0, 0]
    closed = [event for event in world.events if isinstance(event, ReconciliationCaseClosed)]
    assert [event.by for event in closed] == [ClosedBy.OPERATOR]


def test_of_other_peoples_money_what_is_noted_says_what_moved() -> None:
    world = submitted(Rail.LINKED)
    world.hear(P.EXECUTED, "29")
    assert world.decide(EXECUTED, "29", world.news(P.EXECUTED, "29")) is None
    assert (world.payment.state, world.lies(MEMO), world.lies(ACCOUNT)) == (S.EXECUTED, 29, 100)
    world.hear(P.SETTLED, "29")
    assert (world.payment.state, world.payment.parked) == (S.SETTLED, None), "that amount is what is known now"
    world.hear(P.SETTLED, "30")
    assert world.payment.parked == "OTHER_AMOUNT"
    assert world.decide(EXECUTED, "30") is None
    assert world.lies(MEMO) == 30
