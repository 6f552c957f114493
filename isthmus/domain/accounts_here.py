"""Payments to somebody else's account here, named by its id: our own book carries them out, and their payer is asked like for any payee.

Whose the account is nobody is told, and nothing that is kept of the payment says so. The name is the payer's own word: it is screened,
bound and shown, and never compared with the holder's.
"""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from isthmus.domain.ledger import Book
from isthmus.domain.refusals import RecipientNotFound, Refusal, SameAccount

PATH = ("input", "payee", "accountId")


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
