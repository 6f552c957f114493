"""What a projection reads: an event as one account sees it, lifted to today's schema version."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from isthmus.domain.events import Event
from isthmus.domain.ledger import Figures, HoldVoided, JournalPosted, JournalReserved
from isthmus.domain.log import LoggedEvent, Metadata, Record
from isthmus.domain.payment_decisions import PaymentDecided, PaymentDecisionProposed, PaymentLookedInto
from isthmus.domain.payment_events import PaymentParked, PaymentReleased, PaymentScreened

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

_PERSON = "person:"
#: That a payment is looked at.
_UNTOLD = (
    PaymentScreened | PaymentParked | PaymentReleased | PaymentDecisionProposed | PaymentDecided | PaymentLookedInto
)


@dataclass(frozen=True, slots=True)
class Fact:
    """`own`: what the event did to the account `key`; None where it moved nothing."""

    key: UUID
    row: LoggedEvent
    event: Event
    written: Metadata
    own: Figures | None

    @property
    def position(self) -> int:
        return self.row.position

    def people(self) -> set[UUID]:
        """Who may see it in the audit trail: owners of what was touched, and the person who did it, with a key or without. That a payment
        is looked at is told to its person nowhere (domain/compliance.py)."""
        if isinstance(self.event, JournalPosted | JournalReserved | HoldVoided):
            people = {figures.owner for figures in self.event.figures if figures.owner is not None}
        else:
            people = set() if self.event.owner is None else {self.event.owner}
        if self.written.actor.startswith(_PERSON):
            people.add(UUID(self.written.actor.removeprefix(_PERSON).partition("/")[0]))
        if isinstance(self.event, _UNTOLD):
            people.discard(self.event.owner)
        return people


def facts_of(records: Iterable[Record]) -> list[Fact]:
    """In log order, each once. Raises UnknownEvent where a newer release wrote one."""
    lifted: dict[int, tuple[Event, Metadata, dict[UUID, Figures]]] = {}
    facts: dict[tuple[int, UUID], Fact] = {}
    for record in records:
        known = lifted.get(record.position)
        if known is None:
            event = record.event.lifted()
            figures: tuple[Figures, ...] = getattr(event, "figures", ())
            known = event, record.event.written(), {one.account_id: one for one in figures}
            lifted[record.position] = known
        facts[record.position, record.key] = Fact(
            record.key, record.event, known[0], known[1], known[2].get(record.key)
        )
    return [facts[place] for place in sorted(facts)]


def columns(rows: Iterable[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Rows as the arrays that `unnest` takes."""
    arrays: list[list[Any]] = [[] for _ in range(width)]
    for row in rows:
        for array, value in zip(arrays, row, strict=True):
            array.append(value)
    return arrays
