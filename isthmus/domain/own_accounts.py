"""Payments between two accounts here of the same person: our own book carries them out, and nobody's bank.

They alone are credit transfers between accounts of one person at one institution, and that institution is us (RTS 2018/389 Art. 15). Whose
the accounts are is read of both under their locks, in the transaction that decides: never of what somebody wished or wrote.
"""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from isthmus.domain.banking import ProviderRefused
from isthmus.domain.ledger import Book
from isthmus.domain.paying import PaymentOrder
from isthmus.domain.payment_news import PaymentNews, ProviderPayment
from isthmus.domain.refusals import AccountClosedRefusal, AccountNotFound, AssetMismatch, Refusal, SameAccount

#: Who carries them out, as a payment's `provider`.
HERE = "isthmus"
#: Who is paid, as the payer reads it.
NAME = "Own account"
PATH = ("input", "payee", "ownAccountId")


class Wish(Protocol):
    @property
    def owner(self) -> UUID: ...
    @property
    def from_account_id(self) -> UUID: ...
    @property
    def credits(self) -> UUID | None: ...
    @property
    def asset(self) -> str: ...


def account_fault(book: Book, wish: Wish) -> Refusal | None:
    """Of the account that is paid. Another person's is as one that does not exist; one that is frozen receives."""
    target = book.get(wish.credits) if wish.credits is not None else None
    if target is None or target.account.owner != wish.owner:
        return AccountNotFound("There is no such account.", PATH)
    if wish.credits == wish.from_account_id:
        return SameAccount("The money would go where it already is.", PATH)
    if target.account.closed:
        return AccountClosedRefusal("The account is closed.", PATH)
    if target.account.asset != wish.asset:
        return AssetMismatch(f"The account holds {target.account.asset}, not {wish.asset}.", PATH)
    return None


def is_own(book: Book, wish: Wish) -> bool:
    """Whether the payer is paid here, by themselves: what a rule may let go unasked. An account that somebody froze is one that is looked
    into, maybe for whose it really is."""
    if wish.credits is None or account_fault(book, wish) is not None:
        return False
    both = (book.get(wish.from_account_id), book.get(wish.credits))
    return all(one is not None and one.account.owner == wish.owner and not one.account.frozen for one in both)


class OurBook:
    """Implements `isthmus.domain.paying.Payouts`. There is nobody to ask: with this word the journal is posted, in the transaction of the
    payment's events, and posted once."""

    name = HERE

    async def send(self, order: PaymentOrder) -> PaymentNews:
        # Without a name: there is nothing to look up.
        return PaymentNews(ProviderPayment.SETTLED, "booked", amount=order.amount, asset=order.asset)

    async def look_up(self, reference: str) -> PaymentNews:  # noqa: ARG002 - as the port has it
        """What was booked the payment knows itself. Nothing moved that it does not know of: nobody finds here that something did."""
        raise ProviderRefused("our own book keeps nothing beside the payment")
