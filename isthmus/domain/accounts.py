"""Accounts: opened, renamed, frozen, unfrozen, closed. What lies in one is told in `ledger.py`.

A frozen account only receives. A closed one does nothing, and must be empty to become so. An account's asset never changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never
from uuid import UUID

from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.refusals import (
    AccountClosedRefusal,
    AccountFrozenRefusal,
    AccountNotEmpty,
    AccountNotFound,
    InvalidInput,
    Refusal,
)

NAME_LENGTH_MAX = 100


class Direction(StrEnum):
    DEBIT = "DEBIT"
    CREDIT = "CREDIT"

    @property
    def opposite(self) -> Direction:
        return Direction.CREDIT if self is Direction.DEBIT else Direction.DEBIT


class AccountType(StrEnum):
    ASSET = "ASSET"
    LIABILITY = "LIABILITY"
    EQUITY = "EQUITY"
    REVENUE = "REVENUE"
    EXPENSE = "EXPENSE"

    @property
    def normal_balance(self) -> Direction:
        return Direction.DEBIT if self in (AccountType.ASSET, AccountType.EXPENSE) else Direction.CREDIT


class FreezeReason(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"  # frozen before reasons were kept (see upcasters)
    OPERATOR = "OPERATOR"
    OVERDRAWN = "OVERDRAWN"  # by a reversing journal; ends by itself once the account is above zero again


@dataclass(frozen=True)
class AccountOpened:
    account_id: UUID
    code: str
    account_type: AccountType
    asset: str
    owner: UUID | None
    name: Sealed | None
    may_overdraw: bool


@dataclass(frozen=True)
class AccountRenamed:
    account_id: UUID
    owner: UUID | None
    name: Sealed


@dataclass(frozen=True)
class AccountFrozen:
    account_id: UUID
    owner: UUID | None
    reason: FreezeReason


@dataclass(frozen=True)
class AccountUnfrozen:
    account_id: UUID
    owner: UUID | None
    reason: FreezeReason


@dataclass(frozen=True)
class AccountClosed:
    account_id: UUID
    owner: UUID | None


AccountEvent = AccountOpened | AccountRenamed | AccountFrozen | AccountUnfrozen | AccountClosed


@dataclass(frozen=True)
class Account:
    """Folded from its events; holds only what a later decision asks for. `version` is the stream's."""

    account_id: UUID
    code: str
    account_type: AccountType
    asset: str
    owner: UUID | None
    may_overdraw: bool
    version: int = 1
    freezes: frozenset[FreezeReason] = frozenset()
    closed: bool = False

    @property
    def frozen(self) -> bool:
        return bool(self.freezes)


def evolve(account: Account | None, event: AccountEvent) -> Account:
    if isinstance(event, AccountOpened):
        assert account is None, "an account is opened once"
        return Account(event.account_id, event.code, event.account_type, event.asset, event.owner, event.may_overdraw)
    assert account is not None, "an account begins with AccountOpened"
    account = replace(account, version=account.version + 1)
    match event:
        case AccountRenamed():
            return account
        case AccountFrozen():
            return replace(account, freezes=account.freezes | {event.reason})
        case AccountUnfrozen():
            return replace(account, freezes=account.freezes - {event.reason})
        case AccountClosed():
            return replace(account, closed=True)
        case _:
            assert_never(event)


@dataclass(frozen=True)
class OpenAccount:
    account_id: UUID
    owner: UUID
    asset: str
    name: PersonalText

    @property
    def person(self) -> UUID:
        """Whose key seals the text."""
        return self.owner


@dataclass(frozen=True)
class RenameAccount:
    account_id: UUID
    owner: UUID
    name: PersonalText

    @property
    def person(self) -> UUID:
        """Whose key seals the text."""
        return self.owner


@dataclass(frozen=True)
class FreezeAccount:
    account_id: UUID
    reason: FreezeReason = FreezeReason.OPERATOR


@dataclass(frozen=True)
class UnfreezeAccount:
    account_id: UUID


@dataclass(frozen=True)
class CloseAccount:
    account_id: UUID
    owner: UUID


def user_account_code(account_id: UUID, asset: str) -> str:
    return f"user:{account_id}:{asset}"


def name_fault(name: str) -> Refusal | None:
    if not name.strip():
        return InvalidInput("The account needs a name.", ("input", "name"))
    if len(name) > NAME_LENGTH_MAX:
        return InvalidInput(f"The name is longer than {NAME_LENGTH_MAX} characters.", ("input", "name"))
    return None


def open_account(wish: OpenAccount) -> Sequence[AccountEvent]:
    code = user_account_code(wish.account_id, wish.asset)
    name = wish.name.ciphertext()
    return [AccountOpened(wish.account_id, code, AccountType.LIABILITY, wish.asset, wish.owner, name, False)]


def open_house_account(
    account_id: UUID, code: str, account_type: AccountType, asset: str, may_overdraw: bool
) -> Sequence[AccountEvent]:
    """One of the platform's own accounts (the chart of accounts in docs/ledger.md)."""
    return [AccountOpened(account_id, code, account_type, asset, None, None, may_overdraw)]


def not_found() -> AccountNotFound:
    return AccountNotFound("There is no such account.", ("input", "accountId"))


def rename(account: Account | None, wish: RenameAccount) -> Sequence[AccountEvent] | Refusal:
    if account is None or account.owner != wish.owner:
        return not_found()
    if account.closed:
        return AccountClosedRefusal("The account is closed.", ("input", "accountId"))
    return [AccountRenamed(account.account_id, account.owner, wish.name.ciphertext())]


def freeze(account: Account | None, wish: FreezeAccount) -> Sequence[AccountEvent] | Refusal:
    if account is None:
        return not_found()
    if account.closed:
        return AccountClosedRefusal("The account is closed.", ("input", "accountId"))
    if wish.reason in account.freezes:
        return []  # the same wish again
    return [AccountFrozen(account.account_id, account.owner, wish.reason)]


def unfreeze(account: Account | None) -> Sequence[AccountEvent] | Refusal:
    if account is None:
        return not_found()
    if account.closed:
        return AccountClosedRefusal("The account is closed.", ("input", "accountId"))
    lifted = sorted(account.freezes - {FreezeReason.OVERDRAWN})
    if not lifted and account.frozen:
        return AccountFrozenRefusal(
            "The account is below zero after a reversal; it is unfrozen by itself once it is not.",
            ("input", "accountId"),
        )
    return [AccountUnfrozen(account.account_id, account.owner, reason) for reason in lifted]


def close(account: Account | None, empty: bool, wish: CloseAccount) -> Sequence[AccountEvent] | Refusal:
    """`empty`: nothing posted and nothing pending."""
    if account is None or account.owner != wish.owner:
        return not_found()
    if account.closed:
        return []
    if account.frozen:
        return AccountFrozenRefusal("A frozen account cannot be closed.", ("input", "accountId"))
    if not empty:
        return AccountNotEmpty(
            "Move the balance out and let pending movements settle before closing.", ("input", "accountId")
        )
    return [AccountClosed(account.account_id, account.owner)]
