"""Money that somebody sent us: Dr bank · Cr user, once for each that the bank tells of. What is nobody's goes to suspense, with a case.

Booked is always what the bank's statement says, since that is what came; where it is not what was told of before, or not clear whose it
is, operators decide (`suspense.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID, uuid5

from isthmus.domain import reconciliation_cases as cases
from isthmus.domain.accounts import AccountType, Direction, open_house_account
from isthmus.domain.deposits import SettleDeposit, bank_account_code, bank_account_id, settle
from isthmus.domain.identifiers import NOWHERE, house_account_id
from isthmus.domain.journals import post
from isthmus.domain.ledger import Book, JournalDraft, JournalKind, LedgerEvent, Leg, apply
from isthmus.domain.personal import PersonalText
from isthmus.domain.reconciliation_cases import (
    Difference,
    ReconciliationCaseOpened,
)
from isthmus.domain.refusals import Refusal

_NAMESPACE = UUID("a4d6a2c4-2b0e-5d5b-9a3b-7c1d0c2f6e11")
UNKNOWN_REFERENCE, OTHER_AMOUNT = "UNKNOWN_REFERENCE", "OTHER_AMOUNT"


@dataclass(frozen=True)
class ReceivePayIn:
    """`account_id`, `owner`: whose it is by its reference; None where that is not known. `told`: how much we were told of before, None
    where nobody told."""

    provider: str
    asset: str
    entry_id: str
    amount: Decimal
    at: datetime
    account_id: UUID | None = None
    owner: UUID | None = None
    told: Decimal | None = None
    reference: PersonalText | None = None

    @property
    def person(self) -> UUID:
        """Whose key seals the text. Of money that is nobody's there is none."""
        return self.owner or NOWHERE

    @property
    def journal_id(self) -> UUID:
        return pay_in_journal_id(self.provider, self.entry_id)

    @property
    def bank_id(self) -> UUID:
        return house_account_id(bank_account_code(self.provider, self.asset))

    @property
    def suspense_id(self) -> UUID:
        return suspense_account_id(self.provider, self.asset)


Decision = Sequence[LedgerEvent | cases.CaseEvent] | Refusal


def suspense_code(provider: str, asset: str) -> str:
    return f"suspense:{provider}:{asset}"


def suspense_account_id(provider: str, asset: str) -> UUID:
    return house_account_id(suspense_code(provider, asset))


def pay_in_journal_id(provider: str, entry_id: str) -> UUID:
    """Known from the bank's name for it alone: what came once has one journal, whoever books it."""
    return uuid5(_NAMESPACE, f"{provider}|{entry_id}")


def receive(book: Book, booked: bool, wish: ReceivePayIn) -> Decision:
    """Total: money that came is booked somewhere. An entry of nothing is booked nowhere, and holds up no other."""
    if booked or not wish.amount:
        return []
    if wish.told is not None and wish.told != wish.amount:
        return _parked(book, wish, OTHER_AMOUNT)
    if wish.account_id is None or wish.owner is None or wish.reference is None:
        return _parked(book, wish, UNKNOWN_REFERENCE)
    deposit = SettleDeposit(
        wish.journal_id, wish.account_id, wish.owner, wish.amount, wish.asset, wish.provider, wish.reference
    )
    assert bank_account_id(deposit) == wish.bank_id, "the same account is locked"
    decided = settle(book, deposit)
    return _parked(book, wish, decided.code) if isinstance(decided, Refusal) else decided


def _parked(book: Book, wish: ReceivePayIn, why: str) -> Decision:
    after, opened = dict(book), list[LedgerEvent]()
    for account_id, code, kind in (
        (wish.bank_id, bank_account_code(wish.provider, wish.asset), AccountType.ASSET),
        (wish.suspense_id, suspense_code(wish.provider, wish.asset), AccountType.LIABILITY),
    ):
        if account_id not in after:
            opening = open_house_account(account_id, code, kind, wish.asset, may_overdraw=False)
            apply(after, opening)
            opened += opening
    decided = post(after, _deposit(wish.journal_id, wish.bank_id, wish.suspense_id, wish.amount, wish.asset))
    assert not isinstance(decided, Refusal), "accounts of the house take what comes"
    case = (wish.provider, wish.asset, Difference.UNASSIGNED, wish.journal_id, wish.entry_id)
    told = ReconciliationCaseOpened(cases.case_id_of(*case), *case, wish.amount, wish.told, wish.at, why)
    return [*opened, *decided, told]


def _deposit(journal_id: UUID, debit: UUID, credit: UUID, amount: Decimal, asset: str) -> JournalDraft:
    legs = (Leg(debit, Direction.DEBIT, amount, asset), Leg(credit, Direction.CREDIT, amount, asset))
    return JournalDraft(journal_id, JournalKind.DEPOSIT, legs)
