"""Cases: what an operator is to look at because our book and a bank's do not agree, or because money came that is nobody's yet.

A difference has one case, named by what differs: found again it is the same case. One that is gone is closed by the run that finds it
gone, and opened again should it come back. What an operator closed stays closed. How money leaves suspense is in `suspense.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar
from uuid import UUID, uuid5

from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.refusals import MoneyInSuspense, ReconciliationCaseNotFound, Refusal
from isthmus.domain.suspense_decisions import SuspenseDecided, SuspenseDecisionProposed

_NAMESPACE = UUID("3d0b5b5e-53f1-5c0e-8b0e-6c9a3f3f0f17")


class Difference(StrEnum):
    """UNASSIGNED: money in suspense, since it is not known whose it is."""

    MISSING = "MISSING"
    EXTRA = "EXTRA"
    DIFFERING = "DIFFERING"
    UNASSIGNED = "UNASSIGNED"


class ClosedBy(StrEnum):
    RUN = "RUN"
    OPERATOR = "OPERATOR"


@dataclass(frozen=True)
class ReconciliationCaseOpened:
    """`journal_id`: ours; `entry_id`: the bank's name for its own. `ours`, `theirs`: what each has, plus is money in. `at`: when it was
    booked first. `why`: of what is unassigned."""

    owner: ClassVar[None] = None
    case_id: UUID
    provider: str
    asset: str
    difference: Difference
    journal_id: UUID | None
    entry_id: str | None
    ours: Decimal | None
    theirs: Decimal | None
    at: datetime
    why: str | None = None


@dataclass(frozen=True)
class ReconciliationCaseClosed:
    """`reason`: an operator's own words, sealed under their key."""

    owner: ClassVar[None] = None
    case_id: UUID
    by: ClosedBy
    reason: Sealed | None = None


CaseEvent = ReconciliationCaseOpened | ReconciliationCaseClosed | SuspenseDecisionProposed | SuspenseDecided


@dataclass(frozen=True)
class Case:
    """Folded. `closed_by` None: it is open. `proposed`: what waits for another operator to confirm it."""

    opened: ReconciliationCaseOpened
    closed_by: ClosedBy | None = None
    proposed: SuspenseDecisionProposed | None = None


@dataclass(frozen=True)
class OpenReconciliationCase:
    found: ReconciliationCaseOpened

    @property
    def case_id(self) -> UUID:
        return self.found.case_id


@dataclass(frozen=True)
class ResolveReconciliationCase:
    """A run found the difference gone."""

    case_id: UUID


@dataclass(frozen=True)
class CloseReconciliationCase:
    """Of a difference. Money in suspense leaves it with its case (`suspense.py`)."""

    case_id: UUID
    operator: UUID
    reason: PersonalText

    @property
    def person(self) -> UUID:
        """Whose key seals the text."""
        return self.operator


Decision = Sequence[CaseEvent] | Refusal


def case_id_of(
    provider: str, asset: str, difference: Difference, journal_id: UUID | None, entry_id: str | None
) -> UUID:
    return uuid5(_NAMESPACE, f"{provider}|{asset}|{difference}|{journal_id or ''}|{entry_id or ''}")


def fold(events: Iterable[object]) -> Case | None:
    case: Case | None = None
    for event in events:
        match event:
            case ReconciliationCaseOpened():
                case = Case(event)
            case ReconciliationCaseClosed():
                assert case is not None, "a case begins with ReconciliationCaseOpened"
                case = replace(case, closed_by=event.by, proposed=None)
            case SuspenseDecisionProposed():
                assert case is not None, "a case begins with ReconciliationCaseOpened"
                case = replace(case, proposed=event)
            case SuspenseDecided():
                pass  # the case is closed by the next
            case _:
                raise TypeError(type(event))
    return case


def open_case(case: Case | None, wish: OpenReconciliationCase) -> Decision:
    return [wish.found] if case is None or case.closed_by is ClosedBy.RUN else []


def resolve(case: Case | None) -> Decision:
    """Money in suspense is nobody's until an operator says whose: no run ends that."""
    if case is None or case.closed_by is not None or case.opened.difference is Difference.UNASSIGNED:
        return []
    return [ReconciliationCaseClosed(case.opened.case_id, ClosedBy.RUN)]


def close(case: Case | None, wish: CloseReconciliationCase) -> Decision:
    if case is None:
        return missing()
    if case.closed_by is not None:
        return []
    if case.opened.difference is Difference.UNASSIGNED:
        return MoneyInSuspense(
            "Its money is in suspense: propose whose it is, or by which entry of the bank's it went back.",
            ("input", "caseId"),
        )
    return [ReconciliationCaseClosed(wish.case_id, ClosedBy.OPERATOR, wish.reason.ciphertext())]


def missing() -> Refusal:
    return ReconciliationCaseNotFound("There is no such case.", ("input", "caseId"))
