"""What may be posted, reserved, resolved and reversed: one case a line, its outcome at the end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from isthmus.domain.accounts import AccountFrozen, AccountType, AccountUnfrozen, FreezeReason
from isthmus.domain.journals import post, post_hold, post_linked, reserve, reverse, void_hold
from isthmus.domain.ledger import (
    AccountState,
    Hold,
    HoldVoided,
    JournalKind,
    JournalPosted,
    JournalReserved,
    LedgerEvent,
    Leg,
    VoidReason,
    apply,
)
from isthmus.domain.money import Money
from isthmus.domain.refusals import (
    AccountClosedRefusal,
    AccountFrozenRefusal,
    AccountNotFound,
    AlreadyResolved,
    AlreadyReversed,
    AssetMismatch,
    ExceedsHold,
    HoldNotDue,
    InsufficientFunds,
    InvalidAmount,
    JournalNotFound,
    Refusal,
    Unbalanced,
)
from tests.domain.builders import GRACE, book, credit, debit, draft, some_id, state

NOW = datetime(2026, 11, 23, tzinfo=UTC)
OPERATOR = frozenset({FreezeReason.OPERATOR})


def accepted(decision: Any) -> list[LedgerEvent]:
    assert not isinstance(decision, Refusal), decision
    return list(decision)


def held(decision: Any) -> Hold:
    (event,) = accepted(decision)
    assert isinstance(event, JournalReserved)
    return Hold(event)


@pytest.mark.parametrize(
    ("a", "legs", "outcome"),
    [
        (state("a", "10"), (debit("a", "10"), credit("b", "10")), None),
        (state("a", "10"), (debit("a", "10.01"), credit("b", "10.01")), InsufficientFunds),
        (state("a", "10", pending_out="3"), (debit("a", "8"), credit("b", "8")), InsufficientFunds),
        (state("a", "10", pending_out="3"), (debit("a", "7"), credit("b", "7")), None),
        (state("a", "10"), (debit("a", "10"), credit("b", "9")), Unbalanced),
        (state("a", "10"), (debit("a", "10"),), Unbalanced),
        (state("a", "10"), (), InvalidAmount),
        (state("a", "10"), (debit("a", "0"), credit("b", "0")), InvalidAmount),
        (state("a", "10"), (debit("a", "-1"), credit("b", "-1")), InvalidAmount),
        (state("a", "10"), (debit("a", "NaN"), credit("b", "NaN")), InvalidAmount),
        (state("a", "10"), (debit("a", "1"), credit("nobody", "1")), AccountNotFound),
        (state("a", "10"), (debit("a", "1", "GBP"), credit("b", "1", "GBP")), AssetMismatch),
        (state("a", "10", closed=True), (debit("a", "1"), credit("b", "1")), AccountClosedRefusal),
        (state("a", "10", freezes=OPERATOR), (debit("a", "1"), credit("b", "1")), AccountFrozenRefusal),
        (state("a", "10", freezes=OPERATOR), (credit("a", "1"), debit("bank", "1")), None),
        (state("a", "0", may_overdraw=True), (debit("a", "99"), credit("b", "99")), None),
        # Out and in again in one journal: what counts is what the journal leaves.
        (state("a", "1"), (debit("a", "5"), credit("a", "4"), credit("b", "1")), None),
    ],
)
def test_posting(a: AccountState, legs: tuple[Leg, ...], outcome: type[Refusal] | None) -> None:
    accounts = book(a, state("b", owner=GRACE), state("bank", account_type=AccountType.ASSET, owner=None))
    decision = post(accounts, draft(*legs))
    if outcome is None:
        assert isinstance(accepted(decision)[0], JournalPosted)
    else:
        assert type(decision) is outcome


def test_too_little_money_says_how_much_there_is() -> None:
    decision = post(book(state("a", "10", pending_out="3"), state("b")), draft(debit("a", "8"), credit("b", "8")))
    assert isinstance(decision, InsufficientFunds)
    assert (decision.available, decision.required) == (Money(Decimal(7), "EUR"), Money(Decimal(8), "EUR"))


def test_figures_are_those_after_the_journal_and_versions_rise_by_one_per_account() -> None:
    accounts = book(state("a", "10"), state("b", "1"), state("fees", account_type=AccountType.REVENUE, owner=None))
    (posted,) = accepted(post(accounts, draft(debit("a", "5"), credit("b", "4"), debit("a", "1"), credit("fees", "2"))))
    assert isinstance(posted, JournalPosted)
    after = {figures.account_id: figures for figures in posted.figures}
    assert [f.account_id for f in posted.figures] == sorted(after)
    assert (after[some_id("a")].posted, after[some_id("a")].version, after[some_id("a")].posted_change) == (4, 1, -6)
    assert (after[some_id("b")].posted, after[some_id("fees")].posted) == (5, 2)


def test_a_swap_balances_per_asset_through_trading_accounts() -> None:
    accounts = book(
        state("eth", "2", asset="ETH"),
        state("eur", "0"),
        state("trading-eth", asset="ETH", account_type=AccountType.EQUITY, owner=None, may_overdraw=True),
        state("trading-eur", account_type=AccountType.EQUITY, owner=None, may_overdraw=True),
    )
    legs = (
        debit("eth", "1", "ETH"), credit("trading-eth", "1", "ETH"), debit("trading-eur", "1700"), credit("eur", "1700")
    )  # fmt: skip
    apply(accounts, accepted(post(accounts, draft(*legs))))
    assert accounts[some_id("eur")].posted == 1700
    crossed = (debit("eth", "1", "ETH"), credit("eur", "1"))
    assert isinstance(post(accounts, draft(*crossed)), Unbalanced)


def test_a_hold_takes_from_what_is_available_until_it_is_posted_or_voided() -> None:
    accounts = book(state("a", "10"), state("clearing", account_type=AccountType.ASSET, owner=None))
    accounts[some_id("clearing")] = state("clearing", "50", account_type=AccountType.ASSET, owner=None)
    decided = reserve(accounts, draft(debit("a", "6"), credit("clearing", "6")), None)
    hold = held(decided)
    apply(accounts, accepted(decided))
    assert (accounts[some_id("a")].posted, accounts[some_id("a")].available) == (10, 4)
    assert isinstance(post(accounts, draft(debit("a", "5"), credit("clearing", "5"))), InsufficientFunds)
    part = (debit("a", "2"), credit("clearing", "2"))
    (posted,) = accepted(post_hold(accounts, hold, some_id("posting"), part, NOW))
    assert isinstance(posted, JournalPosted)
    assert posted.resolves == hold.reserved.journal_id
    apply(accounts, [posted])
    assert (accounts[some_id("a")].posted, accounts[some_id("a")].available) == (8, 8)
    resolved = Hold(hold.reserved, version=2, resolved=True)
    assert isinstance(post_hold(accounts, resolved, some_id("again"), None, NOW), AlreadyResolved)
    assert isinstance(void_hold(accounts, resolved, VoidReason.REQUESTED, NOW), AlreadyResolved)


def test_a_hold_is_never_posted_for_more_than_it_holds_nor_to_someone_else() -> None:
    accounts = book(state("a", "10"), state("b"), state("c"))
    decided = reserve(accounts, draft(debit("a", "6"), credit("b", "6")), None)
    hold = held(decided)
    apply(accounts, accepted(decided))
    for legs in ((debit("a", "7"), credit("b", "7")), (debit("a", "6"), credit("c", "6"))):
        assert isinstance(post_hold(accounts, hold, some_id("x"), legs, NOW), ExceedsHold)
    assert isinstance(post_hold(accounts, None, some_id("x"), None, NOW), JournalNotFound)


def test_a_hold_whose_time_is_over_is_void_and_not_before() -> None:
    accounts = book(state("a", "10"), state("b"))
    decided = reserve(accounts, draft(debit("a", "6"), credit("b", "6")), NOW)
    hold = held(decided)
    apply(accounts, accepted(decided))
    assert isinstance(void_hold(accounts, hold, VoidReason.EXPIRED, NOW - timedelta(seconds=1)), HoldNotDue)
    assert isinstance(post_hold(accounts, hold, some_id("x"), None, NOW), AlreadyResolved)
    (voided,) = accepted(void_hold(accounts, hold, VoidReason.EXPIRED, NOW))
    assert isinstance(voided, HoldVoided)
    apply(accounts, [voided])
    assert accounts[some_id("a")].available == 10


def test_linked_journals_are_all_posted_or_none() -> None:
    accounts = book(state("a", "10"), state("b"), state("c"))
    first = draft(debit("a", "10"), credit("b", "10"), name="one")
    second = draft(debit("b", "10"), credit("c", "10"), name="two")
    third = draft(debit("b", "1"), credit("c", "1"), name="three")
    assert len(accepted(post_linked(accounts, [first, second]))) == 2
    assert isinstance(post_linked(accounts, [first, second, third]), InsufficientFunds)
    assert accounts == book(state("a", "10"), state("b"), state("c"))


def test_a_reversal_is_the_mirror_and_happens_once() -> None:
    accounts = book(state("a", "10"), state("b"))
    (posted,) = accepted(post(accounts, draft(debit("a", "4"), credit("b", "4"))))
    assert isinstance(posted, JournalPosted)
    apply(accounts, [posted])
    (mirror,) = accepted(reverse(accounts, posted, False, some_id("mirror"), None))
    assert isinstance(mirror, JournalPosted)
    apply(accounts, [mirror])
    assert (accounts[some_id("a")].posted, accounts[some_id("b")].posted) == (10, 0)
    assert isinstance(reverse(accounts, posted, True, some_id("x"), None), AlreadyReversed)
    assert isinstance(reverse(accounts, mirror, False, some_id("x"), None), AlreadyReversed)
    assert isinstance(reverse(accounts, None, False, some_id("x"), None), JournalNotFound)


def test_a_reversal_below_zero_freezes_the_account_until_it_is_above_again() -> None:
    accounts = book(state("a", "10"), state("b"), state("c"), state("bank", account_type=AccountType.ASSET, owner=None))
    (posted,) = accepted(post(accounts, draft(debit("a", "4"), credit("b", "4"), name="one")))
    assert isinstance(posted, JournalPosted)
    apply(accounts, [posted])
    apply(accounts, accepted(post(accounts, draft(debit("b", "4"), credit("c", "4"), name="two"))))
    events = accepted(reverse(accounts, posted, False, some_id("mirror"), None))
    assert AccountFrozen(some_id("b"), accounts[some_id("b")].account.owner, FreezeReason.OVERDRAWN) in events
    apply(accounts, events)
    overdrawn = accounts[some_id("b")]
    assert (overdrawn.posted, overdrawn.floor, overdrawn.account.frozen) == (-4, None, True)
    apply(accounts, accepted(post(accounts, draft(debit("bank", "3"), credit("b", "3"), name="three"))))
    assert accounts[some_id("b")].account.frozen
    events = accepted(post(accounts, draft(debit("bank", "1"), credit("b", "1"), name="four")))
    assert any(isinstance(event, AccountUnfrozen) for event in events)
    apply(accounts, events)
    assert (accounts[some_id("b")].floor, accounts[some_id("b")].account.frozen) == (0, False)


def test_amounts_of_full_length_are_moved_to_the_last_digit() -> None:
    """60 digits before the point and 18 behind it: more than Decimal's own context keeps."""
    amount = "9" * 59 + "." + "9" * 17 + "1"
    accounts = book(state("a", amount, asset="ETH"), state("b", asset="ETH"))
    decided = reserve(accounts, draft(debit("a", amount, "ETH"), credit("b", amount, "ETH")), None)
    hold = held(decided)
    apply(accounts, accepted(decided))
    assert accounts[some_id("a")].available == 0
    apply(accounts, accepted(post_hold(accounts, hold, some_id("x"), None, NOW)))
    assert accounts[some_id("a")].empty
    assert accounts[some_id("b")].posted == Decimal(amount)
    more = amount[:-1] + "2"
    assert isinstance(post(accounts, draft(debit("b", more, "ETH"), credit("a", more, "ETH"))), InsufficientFunds)


def test_an_overdrawn_account_thaws_when_a_hold_on_it_is_let_go() -> None:
    overdrawn = frozenset({FreezeReason.OVERDRAWN})
    accounts = book(state("a", "5", pending_out="10", freezes=overdrawn), state("b"))
    hold = Hold(JournalReserved(some_id("hold"), JournalKind.RESERVATION, (debit("a", "10"), credit("b", "10")), ()))
    events = accepted(void_hold(accounts, hold, VoidReason.REQUESTED, NOW))
    assert any(isinstance(event, AccountUnfrozen) for event in events)
    apply(accounts, events)
    assert (accounts[some_id("a")].available, accounts[some_id("a")].floor) == (5, 0)
