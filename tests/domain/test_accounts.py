"""What an account may do."""

from __future__ import annotations

from isthmus.domain.accounts import (
    AccountClosed,
    AccountFrozen,
    AccountOpened,
    AccountRenamed,
    AccountType,
    AccountUnfrozen,
    CloseAccount,
    FreezeAccount,
    FreezeReason,
    OpenAccount,
    RenameAccount,
    close,
    evolve,
    freeze,
    name_fault,
    open_account,
    rename,
    unfreeze,
)
from isthmus.domain.refusals import AccountClosedRefusal, AccountFrozenRefusal, AccountNotEmpty, AccountNotFound
from tests.domain.builders import ADA, GRACE, SEALED, TEXT, some_id, state

ACCOUNT = some_id("main")


def test_an_account_is_a_liability_with_its_owner_and_sealed_name() -> None:
    assert open_account(OpenAccount(ACCOUNT, ADA, "EUR", TEXT)) == [
        AccountOpened(ACCOUNT, f"user:{ACCOUNT}:EUR", AccountType.LIABILITY, "EUR", ADA, SEALED, False)
    ]


def test_a_stranger_is_told_that_there_is_no_such_account() -> None:
    account = state("main").account
    assert rename(account, RenameAccount(ACCOUNT, GRACE, TEXT)) == rename(None, RenameAccount(ACCOUNT, GRACE, TEXT))
    assert isinstance(close(account, True, CloseAccount(ACCOUNT, GRACE)), AccountNotFound)


def test_freezing_twice_for_the_same_reason_is_done_already() -> None:
    account = state("main").account
    first = freeze(account, FreezeAccount(ACCOUNT))
    assert first == [AccountFrozen(ACCOUNT, ADA, FreezeReason.OPERATOR)]
    assert freeze(evolve(account, AccountFrozen(ACCOUNT, ADA, FreezeReason.OPERATOR)), FreezeAccount(ACCOUNT)) == []


def test_an_operator_lifts_every_freeze_but_the_one_of_an_overdrawn_account() -> None:
    both = state("main", freezes=frozenset({FreezeReason.OPERATOR, FreezeReason.OVERDRAWN})).account
    assert unfreeze(both) == [AccountUnfrozen(ACCOUNT, ADA, FreezeReason.OPERATOR)]
    only = state("main", freezes=frozenset({FreezeReason.OVERDRAWN})).account
    assert isinstance(unfreeze(only), AccountFrozenRefusal)


def test_a_freeze_from_before_reasons_were_kept_is_lifted_too() -> None:
    old = state("main", freezes=frozenset({FreezeReason.UNSPECIFIED})).account
    assert unfreeze(old) == [AccountUnfrozen(ACCOUNT, ADA, FreezeReason.UNSPECIFIED)]


def test_only_an_empty_unfrozen_account_is_closed_and_once() -> None:
    account = state("main").account
    wish = CloseAccount(ACCOUNT, ADA)
    assert close(account, True, wish) == [AccountClosed(ACCOUNT, ADA)]
    assert isinstance(close(account, False, wish), AccountNotEmpty)
    frozen = state("main", freezes=frozenset({FreezeReason.OPERATOR})).account
    assert isinstance(close(frozen, True, wish), AccountFrozenRefusal)
    assert close(state("main", closed=True).account, True, wish) == []


def test_a_closed_account_is_neither_renamed_nor_frozen() -> None:
    closed = state("main", closed=True).account
    assert isinstance(rename(closed, RenameAccount(ACCOUNT, ADA, TEXT)), AccountClosedRefusal)
    assert isinstance(freeze(closed, FreezeAccount(ACCOUNT)), AccountClosedRefusal)


def test_the_stream_version_counts_every_event() -> None:
    account = evolve(None, AccountOpened(ACCOUNT, "c", AccountType.LIABILITY, "EUR", ADA, SEALED, False))
    account = evolve(account, AccountRenamed(ACCOUNT, ADA, SEALED))
    account = evolve(account, AccountClosed(ACCOUNT, ADA))
    assert (account.version, account.closed) == (3, True)


def test_names_are_neither_empty_nor_endless() -> None:
    assert name_fault("Holidays") is None
    assert name_fault("  ") is not None
    assert name_fault("x" * 101) is not None
