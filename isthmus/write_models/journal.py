"""From decided events to rows: event store, outbox, journals, entries. One place, so that none of them can disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import orjson

from isthmus import tracing
from isthmus.domain.accounts import AccountEvent, AccountOpened, AccountRenamed, Direction
from isthmus.domain.event_codec import EVENT_TYPES, dump, fields_of, stream_of
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
    """Gathers the rows of one stretch of a batch. `k` counts events from 1; the stamp of an account is that of its last movement."""

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
        if wave:
            self.rows.chained = True
        occurred_at, correlation_id = now.isoformat(), envelope.correlation_id
        fields = fields_of(event)
        about = {"event_id": event_id, "occurred_at": occurred_at, "correlation_id": correlation_id}
        public = integration_event(kind, fields, about)
        metadata = {
            "occurred_at": occurred_at,
            "actor": envelope.actor,
            "correlation_id": correlation_id,
            "causation_id": envelope.causation_id,
        }
        if envelope.trace is not None:
            metadata[tracing.CARRIER] = envelope.trace
        self.rows.events.append(
            {
                "k": self.k,
                "wave": wave,
                "event_id": event_id,
                "aggregate_type": aggregate_type,
                "aggregate_id": aggregate_id,
                "version": version,
                "type": kind,
                "schema_version": EVENT_TYPES[kind][1],
                "data": orjson.Fragment(dump(fields)),
                "metadata": metadata,
                "topic": public.topic,
                "payload": orjson.Fragment(dump(public.payload)),
            }
        )
        match event:
            case AccountOpened():
                self.opened.add(event.account_id)
                self.rows.accounts.append(
                    {
                        "id": event.account_id,
                        "code": event.code,
                        "name": event.name,
                        "type": event.account_type,
                        "asset": event.asset,
                        "owner": event.owner,
                        "may_overdraw": event.may_overdraw,
                    }
                )
                self.moved[event.account_id] = self.k
            case AccountRenamed():
                self.rows.names[event.account_id] = {"id": event.account_id, "name": event.name}
                self.touched.add(event.account_id)
            case JournalPosted() | JournalReserved() | HoldVoided():
                self._journal(event, event_id, reference_id_of(envelope, leg), envelope.correlation_id, book)
            case _ if isinstance(event, AccountEvent):
                self.touched.add(aggregate_id)
            case _:
                pass  # no money: their tables are written by modules of their own (`api_keys.py`, `consents.py`, `payments.py`)
        return event_id

    def _journal(
        self,
        event: JournalPosted | JournalReserved | HoldVoided,
        event_id: UUID,
        reference_id: str,
        correlation_id: str,
        book: Mapping[UUID, AccountState],
    ) -> None:
        row: Row = {"k": self.k, "reference_id": reference_id, "correlation_id": correlation_id, "event_id": event_id}
        match event:
            case JournalPosted():
                journal_id = event.journal_id
                row |= {
                    "kind": event.kind,
                    "phase": "POSTED",
                    "reference": event.reference,
                    "reverses": event.reverses,
                    "resolves": event.resolves,
                    "linked": event.linked,
                }
                after = {figures.account_id: _after(figures) for figures in event.figures}
                for leg in event.legs:
                    self.rows.entries.append(
                        {
                            "k": self.k,
                            "journal_id": journal_id,
                            "account_id": leg.account_id,
                            "amount": text_of(leg.amount),
                            "asset": leg.asset,
                            "direction": leg.direction,
                            **after[leg.account_id],
                        }
                    )
            case JournalReserved():
                journal_id = event.journal_id
                row |= {
                    "kind": event.kind,
                    "phase": "PENDING",
                    "reference": event.reference,
                    "linked": event.linked,
                    "expires_at": event.expires_at,
                }
            case _:
                journal_id = event_id
                row |= {"kind": "RESERVATION", "phase": "VOIDED", "resolves": event.journal_id}
        row["id"] = journal_id
        self.rows.journals.append(row)
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
                    {
                        "k": self.k,
                        "journal_id": journal_id,
                        "account_id": figures.account_id,
                        "amount": text_of(change.copy_abs()),
                        "asset": figures.asset,
                        "direction": direction,
                        "effect": "RESERVE" if change > 0 else "RELEASE",
                        **_after(figures),
                    }
                )


def balance_row(state: AccountState, moved_at: datetime | None) -> Row:
    """`moved_at`: the stamp of its last movement, None where nothing moved."""
    return {
        "account_id": state.account.account_id,
        "posted": text_of(state.posted),
        "pending_in": text_of(state.pending_in),
        "pending_out": text_of(state.pending_out),
        "version": state.version,
        "floor": None if state.floor is None else text_of(state.floor),
        "freezes": sorted(state.account.freezes),
        "closed": state.account.closed,
        "stream_version": state.account.version,
        "as_of": moved_at,
    }


def _after(figures: Figures) -> Row:
    return {
        "account_version": figures.version,
        "posted": text_of(figures.posted),
        "pending_in": text_of(figures.pending_in),
        "pending_out": text_of(figures.pending_out),
    }
