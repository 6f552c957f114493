"""From decided events to rows: event store, outbox, journals, entries. One place, so that none of them can disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import orjson

from isthmus.domain.accounts import AccountOpened, AccountRenamed, Direction
from isthmus.domain.api_keys import ApiKeyMade, ApiKeyRevoked
from isthmus.domain.event_codec import EVENT_TYPES, encode, stream_of
from isthmus.domain.events import Event
from isthmus.domain.identifiers import IdSource
from isthmus.domain.ledger import (
    AccountState,
    Figures,
    HoldVoided,
    JournalPosted,
    JournalReserved,
)
from isthmus.domain.money import text_of
from isthmus.write_models.envelope import Envelope
from isthmus.write_models.flush import Row, Rows
from isthmus.write_models.idempotency import reference_id_of
from isthmus.write_models.outbox import integration_event


@dataclass
class Writer:
    """Gathers the rows of one batch. `k` counts events from 1; the stamp of an account is that of its last movement."""

    ids: IdSource
    rows: Rows = field(default_factory=Rows)
    k: int = 0
    moved: dict[UUID, int] = field(default_factory=dict)
    touched: set[UUID] = field(default_factory=set)
    opened: set[UUID] = field(default_factory=set)
    _waves: dict[UUID, int] = field(default_factory=dict)

    def record(
        self,
        event: Event,
        version: int,
        leg: int,
        envelope: Envelope,
        now: datetime,
        book: Mapping[UUID, AccountState],
    ) -> UUID:
        """Rows of one event at `version` of its stream. `leg` is its place among the command's events. Returns the event's id."""
        self.k += 1
        event_id = self.ids()
        kind = type(event).__name__
        aggregate_type, aggregate_id = stream_of(event)
        wave = self._waves.get(aggregate_id, -1) + 1
        self._waves[aggregate_id] = wave
        metadata = {
            "occurred_at": now.isoformat(),
            "actor": envelope.actor,
            "correlation_id": envelope.correlation_id,
            "causation_id": envelope.causation_id,
        }
        self.rows.events.append(
            (self.k, wave, event_id, aggregate_type, aggregate_id, version, kind, EVENT_TYPES[kind][1],
             encode(event).decode(), orjson.dumps(metadata).decode())
        )  # fmt: skip
        about = {
            "event_id": event_id,
            "occurred_at": metadata["occurred_at"],
            "correlation_id": envelope.correlation_id,
        }
        public = integration_event(event, about)
        self.rows.outbox.append(
            (self.k, event_id, public.aggregatetype, public.aggregateid, public.type, public.payload,
             envelope.correlation_id)
        )  # fmt: skip
        match event:
            case AccountOpened():
                self.opened.add(event.account_id)
                self.rows.accounts.append(
                    (event.account_id, event.code, event.name, event.account_type, event.asset, event.owner,
                     event.may_overdraw)
                )  # fmt: skip
                self.moved[event.account_id] = self.k
            case AccountRenamed():
                self.rows.names.append((event.account_id, event.name))
                self.touched.add(event.account_id)
            case JournalPosted() | JournalReserved() | HoldVoided():
                self._journal(event, event_id, reference_id_of(envelope, leg), envelope.correlation_id, book)
            case ApiKeyMade() | ApiKeyRevoked():
                pass  # no money: its own table is written in `api_keys.py`
            case _:
                self.touched.add(aggregate_id)
        return event_id

    def _journal(
        self,
        event: JournalPosted | JournalReserved | HoldVoided,
        event_id: UUID,
        reference_id: str,
        correlation_id: str,
        book: Mapping[UUID, AccountState],
    ) -> None:
        common: Row = (correlation_id, event_id)
        match event:
            case JournalPosted():
                journal_id = event.journal_id
                head: Row = (event.kind, "POSTED", event.reference)
                links: Row = (event.reverses, event.resolves, event.linked, None)
                after = {figures.account_id: figures for figures in event.figures}
                for leg in event.legs:
                    self.rows.entries.append(
                        (self.k, journal_id, leg.account_id, text_of(leg.amount), leg.asset, leg.direction,
                         *_after(after[leg.account_id]))
                    )  # fmt: skip
            case JournalReserved():
                journal_id = event.journal_id
                head = (event.kind, "PENDING", event.reference)
                links = (None, None, event.linked, event.expires_at)
            case _:
                journal_id = event_id
                head = ("RESERVATION", "VOIDED", None)
                links = (None, event.journal_id, None, None)
        self.rows.journals.append((self.k, journal_id, reference_id, *head, *common, *links))
        for figures in event.figures:
            self._pending(journal_id, figures, book[figures.account_id].account.account_type.normal_balance)
            self.moved[figures.account_id] = self.k

    def _pending(self, journal_id: UUID, figures: Figures, normal: Direction) -> None:
        for change, direction in (
            (figures.pending_in_change, normal),
            (figures.pending_out_change, normal.opposite),
        ):
            if change:
                self.rows.pending.append(
                    (self.k, journal_id, figures.account_id, text_of(change.copy_abs()), figures.asset, direction,
                     "RESERVE" if change > 0 else "RELEASE", *_after(figures))
                )  # fmt: skip

    def balances(self, book: Mapping[UUID, AccountState]) -> None:
        """Each account the batch touched, once, as the whole batch leaves it."""
        for account_id in sorted(self.touched | self.moved.keys()):
            state = book[account_id]
            row = (
                account_id,
                text_of(state.posted),
                text_of(state.pending_in),
                text_of(state.pending_out),
                state.version,
                _text_or_none(state.floor),
                "{" + ",".join(sorted(state.account.freezes)) + "}",
                state.account.closed,
                state.account.version,
                self.moved.get(account_id, 0),
            )
            (self.rows.opened if account_id in self.opened else self.rows.balances).append(row)


def _after(figures: Figures) -> Row:
    return (
        figures.version,
        text_of(figures.posted),
        text_of(figures.pending_in),
        text_of(figures.pending_out),
    )


def _text_or_none(value: Decimal | None) -> str | None:
    return None if value is None else text_of(value)
