"""How money in suspense leaves it: to the account of whom it is for, or back to whoever sent it. One operator proposes, another confirms.

Whoever owns the account that would be credited does neither. What is proposed is held against the book at once, and again when it is
confirmed: an account may be closed in between, and an entry of the bank's be booked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from isthmus.domain import reconciliation_cases as cases
from isthmus.domain.accounts import Direction
from isthmus.domain.deposits import bank_account_code
from isthmus.domain.identifiers import house_account_id
from isthmus.domain.journals import post
from isthmus.domain.ledger import Book, JournalDraft, JournalKind, LedgerEvent, Leg
from isthmus.domain.pay_ins import pay_in_journal_id, suspense_account_id
from isthmus.domain.personal import PersonalText
from isthmus.domain.reconciliation_cases import Case, ClosedBy, Difference, ReconciliationCaseClosed
from isthmus.domain.refusals import (
    AccountNotFound,
    CaseProposalOver,
    InvalidInput,
    Refusal,
    SecondOperatorNeeded,
)
from isthmus.domain.second_operator import PROPOSAL, confirm_fault
from isthmus.domain.suspense_decisions import SuspenseDecided, SuspenseDecisionProposed

Decision = Sequence[LedgerEvent | cases.CaseEvent] | Refusal
_ENTRY = ("input", "returnEntry")


@dataclass(frozen=True)
class _Wish:
    """`provider`, `asset_code`: the case's. `account_id`, `return_entry`: as in `SuspenseDecisionProposed`; neither where nothing is known
    to be proposed."""

    case_id: UUID
    provider: str
    asset_code: str
    proposal_id: UUID
    account_id: UUID | None
    return_entry: str | None
    operator: UUID

    @property
    def suspense_id(self) -> UUID:
        return suspense_account_id(self.provider, self.asset_code)

    @property
    def other_side_id(self) -> UUID:
        if self.account_id is not None:
            return self.account_id
        return house_account_id(bank_account_code(self.provider, self.asset_code))

    @property
    def journal_id(self) -> UUID:
        """Of what went back it is the one that the statement's entry leads to: both are found to be the same, whichever is there first. A
        proposal is booked once, and gives its own id else."""
        return self.proposal_id if self.return_entry is None else pay_in_journal_id(self.provider, self.return_entry)


@dataclass(frozen=True)
class ProposeSuspenseDecision(_Wish):
    reason: PersonalText

    @property
    def person(self) -> UUID:
        """Whose key seals the text."""
        return self.operator


@dataclass(frozen=True)
class ConfirmSuspenseDecision(_Wish):
    """Account and entry are as they were shown to whoever confirms them."""


def propose(book: Book, booked: bool, case: Case | None, wish: ProposeSuspenseDecision) -> Decision:
    """`booked`: the log has a journal of that entry of the bank's."""
    moved = _moved(book, booked, case, wish, _ENTRY, own=_not_theirs())
    if isinstance(moved, Refusal):
        return moved
    return [
        SuspenseDecisionProposed(
            wish.case_id,
            wish.proposal_id,
            wish.account_id,
            wish.return_entry,
            wish.operator,
            wish.reason.ciphertext(),
        )
    ]


def confirm(book: Book, booked: bool, case: Case | None, wish: ConfirmSuspenseDecision) -> Decision:
    fault = _case_fault(case)
    if fault is not None or case is None:
        return fault or cases.missing()
    standing = case.proposed
    over = CaseProposalOver("It was confirmed or replaced.", PROPOSAL)
    fault = confirm_fault(standing, wish.proposal_id, wish.operator, over)
    if fault is not None or standing is None:
        return fault or over
    if (standing.account_id, standing.return_entry) != (wish.account_id, wish.return_entry):
        return over
    own = SecondOperatorNeeded("It is your own account: another operator is to confirm it.", PROPOSAL)
    moved = _moved(book, booked, case, wish, PROPOSAL, own=own)
    if isinstance(moved, Refusal):
        return moved
    decided = SuspenseDecided(
        wish.case_id,
        wish.proposal_id,
        wish.journal_id,
        wish.account_id,
        wish.return_entry,
        standing.operator,
        wish.operator,
    )
    return [*moved, decided, ReconciliationCaseClosed(wish.case_id, ClosedBy.OPERATOR, standing.reason)]


def _moved(
    book: Book, booked: bool, case: Case | None, wish: _Wish, entry: tuple[str, str], own: Refusal
) -> Sequence[LedgerEvent] | Refusal:
    """The money leaves suspense. `entry`: the field that names the bank's entry; `own`: the answer to whom it would be credited."""
    fault = _case_fault(case)
    if fault is not None or case is None:
        return fault or cases.missing()
    if booked:
        return InvalidInput("That entry of the bank's is booked already.", entry)
    if wish.account_id is not None:
        state = book.get(wish.account_id)
        if state is None or state.account.owner is None:
            return _not_theirs()
        if state.account.owner == wish.operator:
            return own
    amount, asset = case.opened.ours, case.opened.asset
    assert amount is not None, "what is in suspense was booked"
    kind = JournalKind.DEPOSIT if wish.account_id is not None else JournalKind.PAYMENT
    legs = (
        Leg(wish.suspense_id, Direction.DEBIT, amount, asset),
        Leg(wish.other_side_id, Direction.CREDIT, amount, asset),
    )
    return post(book, JournalDraft(wish.journal_id, kind, legs))


def _not_theirs() -> Refusal:
    return AccountNotFound("There is no such account, or it is your own.", ("input", "accountId"))


def _case_fault(case: Case | None) -> Refusal | None:
    if case is None or case.opened.difference is not Difference.UNASSIGNED:
        return cases.missing()
    if case.closed_by is not None:
        # It may be closed with another's account: who is told that it is done believes that this one has the money.
        return InvalidInput("The case is closed already: nothing was booked by this.", ("input", "caseId"))
    return None
