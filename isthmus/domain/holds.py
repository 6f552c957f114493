"""Wishes about journals that other contexts' handlers build on: two phases, linked groups, reversals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from isthmus.domain.ledger import JournalDraft, Leg, VoidReason
from isthmus.domain.personal import PersonalText


@dataclass(frozen=True)
class ReserveFunds:
    """The draft's journal id is the hold's id from then on."""

    draft: JournalDraft
    expires_at: datetime | None = None


@dataclass(frozen=True)
class PostHold:
    """`legs` None posts the whole hold."""

    hold_id: UUID
    journal_id: UUID
    legs: tuple[Leg, ...] | None = None


@dataclass(frozen=True)
class VoidHold:
    hold_id: UUID
    reason: VoidReason = VoidReason.REQUESTED


@dataclass(frozen=True)
class PostLinked:
    """All of the journals or none of them."""

    drafts: tuple[JournalDraft, ...]


@dataclass(frozen=True)
class ReverseJournal:
    """`person` is whose key seals the reference: the person whom the correction concerns."""

    original_id: UUID
    journal_id: UUID
    person: UUID
    reference: PersonalText | None = None
