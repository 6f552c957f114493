"""How our book is brought to what operators found, where it had something of the payment already: only the difference, and only once."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from isthmus.domain.accounts import FreezeReason
from isthmus.domain.reconciliation_cases import ClosedBy, ReconciliationCaseClosed, ReconciliationCaseOpened
from tests.domain.parked_world import (
    ACCOUNT,
    BANK,
    CODE,
    DIFFERENCES,
    EXECUTED,
    NOT_EXECUTED,
    SUSPENSE,
    P,
    Rail,
    submitted,
)


def test_what_was_credited_and_is_found_to_be_more_is_credited_beyond_that_alone_also_where_it_is_frozen() -> None:
    world, named_otherwise = submitted(Rail.TOP_UP), submitted(Rail.TOP_UP)
    for one in (world, named_otherwise):
        one.hear(P.SETTLED)
        one.hear(P.SETTLED, "31")
        one.alter(freezes=frozenset({FreezeReason.OPERATOR}))
        assert one.propose(EXECUTED, "31", one.news(P.SETTLED, "31")) is None

    assert world.confirm(world.news(P.SETTLED, "31")) is None
    assert named_otherwise.confirm(named_otherwise.news(P.SETTLED, "31"), credited=False) is None

    for one in (world, named_otherwise):
        assert (one.lies(ACCOUNT), one.lies(BANK), one.payment.charged) == (131, 31, 31)


def test_what_was_taken_back_and_came_all_the_same_is_booked_once_more_and_not_under_the_same_name() -> None:
    world, spent = submitted(Rail.TOP_UP), submitted(Rail.TOP_UP)
    for one in (world, spent):
        one.hear(P.SETTLED)
        one.hear(P.FAILED)
    spent.book[ACCOUNT] = replace(spent.book[ACCOUNT], posted=Decimal(10))
    for one in (world, spent):
        assert one.decide(NOT_EXECUTED) is None
        one.hear(P.UNKNOWN, None)
        assert one.propose(EXECUTED, "30") is None

    assert world.confirm() is None
    assert spent.confirm(credited=False) is None

    assert (world.lies(ACCOUNT), world.lies(BANK), world.lies(DIFFERENCES)) == (130, 30, 0)
    assert (spent.lies(ACCOUNT), spent.lies(BANK), spent.lies(DIFFERENCES)) == (10, 30, 0), "what they kept is theirs"


def test_what_is_in_suspense_and_is_found_to_be_as_much_or_more_stays_there_with_a_case_for_the_rest() -> None:
    world = submitted(Rail.TOP_UP)
    world.alter(closed=True)
    world.hear(P.SETTLED)
    world.hear(P.FAILED)
    assert world.decide(EXECUTED, "30", world.news(P.SETTLED)) is None
    assert (world.lies(SUSPENSE), world.lies(BANK)) == (30, 30)

    world.hear(P.SETTLED, "31")
    assert world.decide(EXECUTED, "31", world.news(P.SETTLED, "31")) is None
    assert (world.lies(SUSPENSE), world.lies(BANK)) == (31, 31)
    assert [event.ours for event in world.events if isinstance(event, ReconciliationCaseOpened)] == [30, 1]

    world.hear(P.FAILED)
    assert world.decide(NOT_EXECUTED) is CODE.MONEY_IN_SUSPENSE, "one case is not all of it"


def test_what_was_in_suspense_and_was_given_to_somebody_is_not_taken_out_of_it_again() -> None:
    world = submitted(Rail.TOP_UP)
    world.alter(closed=True)
    world.hear(P.SETTLED)
    (case,) = [event.case_id for event in world.events if isinstance(event, ReconciliationCaseOpened)]
    world.take([ReconciliationCaseClosed(case, ClosedBy.OPERATOR)])
    world.book[SUSPENSE] = replace(world.book[SUSPENSE], posted=Decimal(0))
    world.hear(P.FAILED)

    assert world.decide(NOT_EXECUTED) is None

    assert [world.lies(one) for one in (SUSPENSE, BANK, DIFFERENCES)] == [0, 0, 30]
