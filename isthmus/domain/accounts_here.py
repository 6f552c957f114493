"""Payments to somebody else's account here, named by its id: our own book carries them out, and their payer is asked like for any payee.

Whose the account is nobody is told, and nothing that is kept of the payment says so. The name is the payer's own word: it is screened,
bound and shown, and never compared with the holder's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from isthmus.domain import journals
from isthmus.domain.accounts import Direction
from isthmus.domain.identifiers import house_account_id
from isthmus.domain.ledger import Book, JournalDraft, JournalKind, LedgerEvent, Leg, apply
from isthmus.domain.payment_events import PaymentInitiated, clearing_code
from isthmus.domain.refusals import RecipientNotFound, Refusal, SameAccount

PATH = ("input", "payee", "accountId")
#: Why a payment is refused whose payee's account was closed before it was carried out.
NOT_THERE = "RECIPIENT_NOT_FOUND"


class Wish(Protocol):
    @property
    def from_account_id(self) -> UUID: ...
    @property
    def pays(self) -> UUID | None: ...
    @property
    def asset(self) -> str: ...


def account_fault(book: Book, wish: Wish) -> Refusal | None:
    """Of the account that is paid, in the words of `transferInternally`; one that is frozen receives."""
    if wish.pays == wish.from_account_id:
        return SameAccount("The money would go where it already is.", PATH)
    target = book.get(wish.pays) if wish.pays is not None else None
    # The platform's own accounts have no owner and are nobody's payee.
    if target is None or target.account.owner is None or target.account.closed or target.account.asset != wish.asset:
        return RecipientNotFound("There is no open account with that id in that asset.", PATH)
    return None


def may_be_paid(book: Book, pays: UUID | None) -> bool:
    """At the moment of the booking. None: the payment is to nobody here."""
    target = book.get(pays) if pays is not None else None
    return pays is None or (target is not None and not target.account.closed)


def credit(
    book: Book, posted: Sequence[LedgerEvent], payment: PaymentInitiated, journal_id: UUID
) -> Sequence[LedgerEvent]:
    """Dr `clearing:isthmus` · Cr `user`, behind the journal by which it left its payer (`posted`). Both read what is written on it."""
    if payment.pays is None:
        return []
    after = dict(book)
    apply(after, posted)
    legs = (
        Leg(
            house_account_id(clearing_code(payment.provider, payment.asset)),
            Direction.DEBIT,
            payment.amount,
            payment.asset,
        ),
        Leg(payment.pays, Direction.CREDIT, payment.amount, payment.asset),
    )
    credited = journals.post(after, JournalDraft(journal_id, JournalKind.INTERNAL_TRANSFER, legs, payment.reference))
    assert not isinstance(credited, Refusal), "an account that is open takes what comes"
    return credited
