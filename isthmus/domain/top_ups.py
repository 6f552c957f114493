"""Money that people bring here from their own bank: a payment whose payee we are, credited to its payer once it has settled, and once.

That the money has left (EXECUTED) gives nobody anything: only what has arrived is ours, and so theirs. The journal's id follows from the
provider's name for the payment, which the statement of our account there has, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from isthmus.domain import pay_ins
from isthmus.domain.ledger import Book, LedgerEvent
from isthmus.domain.pay_ins import ReceivePayIn
from isthmus.domain.payment_events import Payment
from isthmus.domain.payment_initiation import InitiatePayment
from isthmus.domain.personal import PersonalText
from isthmus.domain.reconciliation_cases import CaseEvent
from isthmus.domain.refusals import AccountClosedRefusal, AccountNotFound, AssetMismatch, Refusal

_TO = ("input", "toAccountId")


def account_fault(book: Book, wish: InitiatePayment) -> Refusal | None:
    """Into an own account that is open. One that is frozen receives all the same."""
    state = book.get(wish.credits) if wish.credits is not None else None
    if state is None or state.account.owner != wish.owner:
        return AccountNotFound("There is no such account.", _TO)
    if state.account.closed:
        return AccountClosedRefusal("The account is closed.", _TO)
    if state.account.asset != wish.asset:
        return AssetMismatch(f"The account holds {state.account.asset}, not {wish.asset}.", _TO)
    return None


def credit(book: Book, credited: bool, payment: Payment, name: str, now: datetime) -> Sequence[LedgerEvent | CaseEvent]:
    """Total: what has arrived is booked. What its account does not take any more goes to suspense, with a case. `name`: the provider's
    for the payment; `credited`: the log has its journal."""
    mine = payment.initiated
    text = PersonalText("", mine.reference) if mine.reference is not None else None
    wish = ReceivePayIn(mine.provider, mine.asset, name, mine.amount, now, mine.credits, mine.owner, reference=text)
    decided = pay_ins.receive(book, credited, wish)
    assert not isinstance(decided, Refusal), "what came is booked somewhere"
    return decided
