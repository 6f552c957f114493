"""Accounts at banks: that a person linked one, through which consent, and that the link ended. What lies in it is the bank's to say.

An account's id follows from whose it is, where it is and what the bank calls it (integrations hash that under a secret), so that it is
the same after a renewal, another link or another provider.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import assert_never
from uuid import UUID

from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.refusals import ConsentNotFound, Refusal


@dataclass(frozen=True)
class BankAccountLinked:
    """Again where it was unlinked before, or comes by another consent now."""

    bank_account_id: UUID
    owner: UUID
    consent_id: UUID
    institution_id: str
    provider: str
    currency: str


@dataclass(frozen=True)
class BankAccountUnlinked:
    bank_account_id: UUID
    owner: UUID
    consent_id: UUID


@dataclass(frozen=True)
class BankTransactionTagged:
    """`tags`: its owner's words for it, a line each."""

    bank_transaction_id: UUID
    owner: UUID
    tags: Sealed


BankAccountEvent = BankAccountLinked | BankAccountUnlinked


@dataclass(frozen=True)
class BankAccount:
    bank_account_id: UUID
    owner: UUID
    consent_id: UUID
    provider: str
    linked: bool = True


def evolve(account: BankAccount | None, event: BankAccountEvent) -> BankAccount:
    match event:
        case BankAccountLinked():
            return BankAccount(event.bank_account_id, event.owner, event.consent_id, event.provider)
        case BankAccountUnlinked():
            assert account is not None, "what is unlinked was linked"
            return replace(account, linked=False)
        case _:
            assert_never(event)


def fold(events: Iterable[object]) -> BankAccount | None:
    account: BankAccount | None = None
    for event in events:
        if isinstance(event, BankAccountEvent):
            account = evolve(account, event)
    return account


@dataclass(frozen=True)
class FoundAccount:
    bank_account_id: UUID
    currency: str


@dataclass(frozen=True)
class LinkBankAccounts:
    """All that the bank shows under a consent."""

    consent_id: UUID
    owner: UUID
    institution_id: str
    provider: str
    found: tuple[FoundAccount, ...]


@dataclass(frozen=True)
class UnlinkBankAccounts:
    consent_id: UUID
    owner: UUID
    bank_account_ids: tuple[UUID, ...]


@dataclass(frozen=True)
class TagBankTransaction:
    """Whether it is the owner's is known by whoever asks for this: transactions are no events."""

    bank_transaction_id: UUID
    owner: UUID
    tags: PersonalText

    @property
    def person(self) -> UUID:
        """Whose key seals the text."""
        return self.owner


def tag(wish: TagBankTransaction) -> Sequence[BankTransactionTagged]:
    return [BankTransactionTagged(wish.bank_transaction_id, wish.owner, wish.tags.ciphertext())]


def link(accounts: dict[UUID, BankAccount | None], wish: LinkBankAccounts) -> Sequence[BankAccountEvent] | Refusal:
    """Nothing for those that are linked by this consent already."""
    events = []
    for found in wish.found:
        known = accounts.get(found.bank_account_id)
        if known is not None and known.owner != wish.owner:
            return ConsentNotFound("There is no such consent.", ("input", "consentId"))
        if (
            known is not None
            and known.linked
            and (known.consent_id, known.provider) == (wish.consent_id, wish.provider)
        ):
            continue
        events.append(
            BankAccountLinked(
                found.bank_account_id, wish.owner, wish.consent_id, wish.institution_id, wish.provider, found.currency
            )
        )
    return events


def unlink(accounts: dict[UUID, BankAccount | None], wish: UnlinkBankAccounts) -> Sequence[BankAccountEvent] | Refusal:
    """Those that come by another consent meanwhile stay."""
    return [
        BankAccountUnlinked(account.bank_account_id, account.owner, wish.consent_id)
        for account in (accounts.get(key) for key in wish.bank_account_ids)
        if account is not None
        and account.linked
        and (account.owner, account.consent_id) == (wish.owner, wish.consent_id)
    ]
