"""The ledger: every movement of money is one balanced, immutable journal, in one phase or in two.

A reserved journal (a hold) moves what is pending; then exactly one of post (whole or part) and void resolves it, and after its
time-out it is void. A reversing journal is the only correction. Figures in events are absolute and are those *after* the movement.
Told elsewhere: what an account may do at all in `accounts.py`; who may ask in `internal_transfers.py`, `deposits.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import assert_never
from uuid import UUID

from isthmus.domain.accounts import (
    Account,
    AccountEvent,
    AccountOpened,
    Direction,
    FreezeReason,
)
from isthmus.domain.accounts import evolve as evolve_account
from isthmus.domain.money import subtract
from isthmus.domain.personal import Sealed

ZERO = Decimal(0)


class JournalKind(StrEnum):
    DEPOSIT = "DEPOSIT"
    INTERNAL_TRANSFER = "INTERNAL_TRANSFER"
    RESERVATION = "RESERVATION"
    REVERSAL = "REVERSAL"
    PAYMENT = "PAYMENT"


@dataclass(frozen=True)
class Leg:
    """One debit or credit; the amount is positive."""

    account_id: UUID
    direction: Direction
    amount: Decimal
    asset: str


@dataclass(frozen=True)
class Figures:
    """One account after a movement. `posted_change` is signed, in the account's normal direction: for a user, plus is money in.

    `version` counts the account's movements: +1 per journal and account.
    """

    account_id: UUID
    owner: UUID | None
    asset: str
    posted: Decimal
    pending_in: Decimal
    pending_out: Decimal
    version: int
    posted_change: Decimal
    pending_in_change: Decimal = ZERO
    pending_out_change: Decimal = ZERO


@dataclass(frozen=True)
class JournalPosted:
    journal_id: UUID
    kind: JournalKind
    legs: tuple[Leg, ...]
    figures: tuple[Figures, ...]
    reference: Sealed | None = None
    reverses: UUID | None = None
    resolves: UUID | None = None
    linked: UUID | None = None


@dataclass(frozen=True)
class JournalReserved:
    """A hold: its id is the stream's, and `JournalPosted.resolves` or `HoldVoided.journal_id` name it."""

    journal_id: UUID
    kind: JournalKind
    legs: tuple[Leg, ...]
    figures: tuple[Figures, ...]
    reference: Sealed | None = None
    expires_at: datetime | None = None
    linked: UUID | None = None


class VoidReason(StrEnum):
    REQUESTED = "REQUESTED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True)
class HoldVoided:
    journal_id: UUID
    reason: VoidReason
    figures: tuple[Figures, ...]


JournalEvent = JournalPosted | JournalReserved | HoldVoided
LedgerEvent = JournalEvent | AccountEvent


@dataclass(frozen=True)
class AccountState:
    """An account with what lies in it, as the write side locks it. `floor` None: it may be below zero."""

    account: Account
    posted: Decimal = ZERO
    pending_in: Decimal = ZERO
    pending_out: Decimal = ZERO
    version: int = 0
    floor: Decimal | None = ZERO

    @property
    def available(self) -> Decimal:
        return subtract(self.posted, self.pending_out)

    @property
    def empty(self) -> bool:
        return self.posted == self.pending_in == self.pending_out == 0


Book = Mapping[UUID, AccountState]


@dataclass(frozen=True)
class Hold:
    """A reserved journal, folded. `version` is the stream's."""

    reserved: JournalReserved
    version: int = 1
    resolved: bool = False


@dataclass(frozen=True)
class JournalDraft:
    journal_id: UUID
    kind: JournalKind
    legs: tuple[Leg, ...]
    reference: Sealed | None = None
    linked: UUID | None = None


def opened_state(account: Account) -> AccountState:
    return AccountState(account, floor=None if account.may_overdraw else ZERO)


def evolve_hold(hold: Hold | None, event: JournalEvent) -> Hold | None:
    match event:
        case JournalReserved():
            return Hold(event)
        case JournalPosted():
            return replace(hold, version=hold.version + 1, resolved=True) if hold else None
        case HoldVoided():
            assert hold is not None, "a hold begins with JournalReserved"
            return replace(hold, version=hold.version + 1, resolved=True)
        case _:
            assert_never(event)


def apply(book: dict[UUID, AccountState], events: Iterable[LedgerEvent]) -> None:
    """Bring the accounts in `book` to what they are after `events`."""
    for event in events:
        if isinstance(event, JournalPosted | JournalReserved | HoldVoided):
            for after in event.figures:
                state = book[after.account_id]
                book[after.account_id] = AccountState(
                    state.account, after.posted, after.pending_in, after.pending_out, after.version, state.floor
                )
        elif isinstance(event, AccountOpened):
            book[event.account_id] = opened_state(evolve_account(None, event))
        else:
            state = book[event.account_id]
            account = evolve_account(state.account, event)
            overdrawn = FreezeReason.OVERDRAWN in account.freezes or account.may_overdraw
            book[event.account_id] = replace(state, account=account, floor=None if overdrawn else ZERO)
