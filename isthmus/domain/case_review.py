"""What becomes of cases when both books are read again: a difference is gone where both tell that it is, and never where one tells less.

A bank whose statement lacks a page, or is read for other days, has explained nothing: who took money would be forgotten by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from isthmus.domain.reconciliation import Class, Pair
from isthmus.domain.reconciliation_cases import Difference, ReconciliationCaseOpened, case_id_of


@dataclass(frozen=True)
class OpenCase:
    """`at`: when what it is about was booked first."""

    case_id: UUID
    at: datetime
    journal_id: UUID | None
    entry_id: str | None

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(str(key) for key in (self.journal_id, self.entry_id) if key is not None)


def case_of(provider: str, asset: str, pair: Pair) -> ReconciliationCaseOpened:
    """Of a difference."""
    difference = Difference(pair.found.name)
    journal_id = UUID(pair.ours.key) if pair.ours is not None else None
    entry_id = pair.theirs.key if pair.theirs is not None else None
    return ReconciliationCaseOpened(
        case_id_of(provider, asset, difference, journal_id, entry_id),
        provider,
        asset,
        difference,
        journal_id,
        entry_id,
        pair.ours.amount if pair.ours is not None else None,
        pair.theirs.amount if pair.theirs is not None else None,
        pair.at,
    )


def by_key(pairs: Iterable[Pair]) -> Mapping[str, Pair]:
    return {side.key: pair for pair in pairs for side in (pair.ours, pair.theirs) if side is not None}


def over(
    provider: str, asset: str, case: OpenCase, known: Mapping[str, Pair]
) -> Sequence[ReconciliationCaseOpened] | None:
    """None where the case stands. Else what takes its place: nothing where both books agree; another case where they differ otherwise."""
    pairs = [known[key] for key in case.keys if key in known]
    if len(pairs) < len(case.keys):
        return None
    others = [case_of(provider, asset, pair) for pair in pairs if pair.found is not Class.MATCHED]
    return None if any(other.case_id == case.case_id for other in others) else others
