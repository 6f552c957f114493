"""Events of a case of money in suspense: where one operator proposes that it goes, and that another confirmed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from isthmus.domain.personal import Sealed


@dataclass(frozen=True)
class SuspenseDecisionProposed:
    """Nothing comes of it until another operator confirms it; a later one takes its place. `account_id`: whose account the money goes to;
    `return_entry`: what the bank calls the entry by which it went back; one of the two. `reason`: the operator's own words, sealed under
    their key."""

    owner: ClassVar[None] = None
    case_id: UUID
    proposal_id: UUID
    account_id: UUID | None
    return_entry: str | None
    operator: UUID
    reason: Sealed


@dataclass(frozen=True)
class SuspenseDecided:
    """Two operators agree on where the money goes. `journal_id`: by which it went."""

    owner: ClassVar[None] = None
    case_id: UUID
    proposal_id: UUID
    journal_id: UUID
    account_id: UUID | None
    return_entry: str | None
    proposed_by: UUID
    confirmed_by: UUID
