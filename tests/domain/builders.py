"""Builders that name only what matters to a test."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID, uuid5

from isthmus.domain.accounts import Account, AccountType, Direction, FreezeReason
from isthmus.domain.ledger import AccountState, JournalDraft, JournalKind, Leg
from isthmus.domain.personal import PersonalText, Sealed

_NAMESPACE = UUID(int=7)


def some_id(name: str) -> UUID:
    return uuid5(_NAMESPACE, name)


ADA = some_id("ada")
GRACE = some_id("grace")
SEALED = Sealed(f"sealed:v1:{ADA}:AAAA")
TEXT = PersonalText("", SEALED)


def state(
    name: str,
    posted: str = "0",
    *,
    asset: str = "EUR",
    owner: UUID | None = ADA,
    account_type: AccountType = AccountType.LIABILITY,
    pending_out: str = "0",
    freezes: frozenset[FreezeReason] = frozenset(),
    closed: bool = False,
    may_overdraw: bool = False,
) -> AccountState:
    account = Account(some_id(name), f"user:{name}", account_type, asset, owner, may_overdraw, 1, freezes, closed)
    floor = None if may_overdraw or FreezeReason.OVERDRAWN in freezes else Decimal(0)
    return AccountState(account, Decimal(posted), Decimal(0), Decimal(pending_out), 0, floor)


def book(*states: AccountState) -> dict[UUID, AccountState]:
    return {one.account.account_id: one for one in states}


def debit(name: str, amount: str, asset: str = "EUR") -> Leg:
    return Leg(some_id(name), Direction.DEBIT, Decimal(amount), asset)


def credit(name: str, amount: str, asset: str = "EUR") -> Leg:
    return Leg(some_id(name), Direction.CREDIT, Decimal(amount), asset)


def draft(*legs: Leg, name: str = "journal") -> JournalDraft:
    return JournalDraft(some_id(name), JournalKind.INTERNAL_TRANSFER, legs)
