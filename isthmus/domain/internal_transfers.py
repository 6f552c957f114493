"""Transfers between two accounts of the platform: one journal, Dr payer · Cr payee."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

from isthmus.domain.accounts import Direction
from isthmus.domain.journals import post
from isthmus.domain.ledger import Book, JournalDraft, JournalKind, LedgerEvent, Leg
from isthmus.domain.money import Money
from isthmus.domain.personal import PersonalText
from isthmus.domain.refusals import (
    AccountClosedRefusal,
    AccountFrozenRefusal,
    AccountNotFound,
    AssetMismatch,
    InsufficientFunds,
    RecipientNotFound,
    Refusal,
    SameAccount,
    ScaRequired,
)

REFERENCE_LENGTH_MAX = 140
#: Of what no session and no key wishes: data for a demonstration, measurements.
NOBODY_IS_ASKED = Decimal("Infinity")
_FROM = ("input", "fromAccountId")
_TO = ("input", "toAccountId")
_AMOUNT = ("input", "amount")


@dataclass(frozen=True)
class TransferInternally:
    journal_id: UUID
    payer: UUID
    from_account_id: UUID
    to_account_id: UUID
    amount: Decimal
    asset: str
    reference: PersonalText | None
    #: Most that goes to another person without a challenge.
    unasked: Decimal

    @property
    def person(self) -> UUID:
        """Whose key seals the text."""
        return self.payer


def transfer(book: Book, wish: TransferInternally) -> Sequence[LedgerEvent] | Refusal:
    source = book.get(wish.from_account_id)
    if source is None or source.account.owner != wish.payer:
        return AccountNotFound("There is no such account.", _FROM)
    if source.account.closed:
        return AccountClosedRefusal("The account is closed.", _FROM)
    if source.account.asset != wish.asset:
        return AssetMismatch(f"The account holds {source.account.asset}, not {wish.asset}.", (*_AMOUNT, "asset"))
    if wish.from_account_id == wish.to_account_id:
        return SameAccount("The money would go where it already is.", _TO)
    target = book.get(wish.to_account_id)
    # The platform's own accounts have no owner and are nobody's payee.
    if target is None or target.account.owner is None or target.account.closed or target.account.asset != wish.asset:
        return RecipientNotFound("There is no open account with that id in that asset.", _TO)
    # Between one's own accounts nobody need be asked (RTS 2018/389 Art. 15).
    if target.account.owner != wish.payer and wish.amount > wish.unasked:
        most = Money(wish.unasked, wish.asset)
        return ScaRequired(
            "So much goes to somebody else only once you authorised it: use initiatePayment.", _AMOUNT, most
        )
    legs = (
        Leg(wish.from_account_id, Direction.DEBIT, wish.amount, wish.asset),
        Leg(wish.to_account_id, Direction.CREDIT, wish.amount, wish.asset),
    )
    reference = wish.reference.ciphertext() if wish.reference else None
    decided = post(book, JournalDraft(wish.journal_id, JournalKind.INTERNAL_TRANSFER, legs, reference))
    match decided:
        case InsufficientFunds():
            return replace(decided, path=_AMOUNT)
        case AccountFrozenRefusal():
            return replace(decided, path=_FROM)
        case _:
            return decided
