"""What comes with a command, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from isthmus.domain.events import Event
from isthmus.domain.refusals import Refusal

#: Scope of keys that belong to nobody in particular: an operator's deposits are idempotent by their reference alone.
PLATFORM = UUID(int=1)


@dataclass(frozen=True)
class Envelope:
    """`body` is the canonical input as JSON-able values: it is hashed with a key and never stored or logged."""

    actor: str
    person: UUID
    mutation: str
    idempotency_key: str = field(repr=False)
    body: Mapping[str, object] = field(repr=False)
    correlation_id: str
    causation_id: str | None = None
    #: The carrier of the command's span where it is sampled (isthmus.tracing). It is kept with the events.
    trace: str | None = None


@dataclass(frozen=True)
class Recorded:
    event: Event
    event_id: UUID
    position: int
    committed_at: datetime
    correlation_id: str


@dataclass(frozen=True)
class Done:
    """`events` is empty where the wish was fulfilled already. A replay carries the first answer's events and position."""

    events: tuple[Recorded, ...]
    position: int
    replayed: bool = False


@dataclass(frozen=True)
class Refused:
    refusal: Refusal
    position: int
    replayed: bool = False


Outcome = Done | Refused


class Unavailable(Exception):
    """The database could not be asked, or did not answer: the outcome is unknown. Retry with the same key."""
