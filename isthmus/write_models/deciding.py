"""Deciding a batch in memory, a stretch at a time, each command on what the ones before it leave. Nothing here waits or asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from isthmus.domain.api_keys import ApiKeyEvent
from isthmus.domain.event_codec import ACCOUNT, JOURNAL, stream_of
from isthmus.domain.events import Event
from isthmus.domain.identifiers import IdSource
from isthmus.domain.ledger import JournalEvent, JournalPosted, JournalReserved, LedgerEvent, apply, evolve_hold
from isthmus.domain.money import DIGITS_MAX, SCALE_MAX, Asset, amount_fault
from isthmus.domain.payment_events import PaymentEvent
from isthmus.domain.refusals import IdempotencyKeyReused, InvalidAmount, Refusal, UnknownAsset
from isthmus.domain.sca_devices import DeviceEnrolled
from isthmus.write_models import api_keys, idempotency
from isthmus.write_models.asks import Ask
from isthmus.write_models.envelope import Recorded
from isthmus.write_models.handlers import HANDLERS
from isthmus.write_models.handling import Loaded
from isthmus.write_models.journal import Writer

_MICROSECOND = timedelta(microseconds=1)


@dataclass
class Stretch:
    """A part of the batch that is written in one statement. `base` and `stamp` are known once it is: the position before its first
    event, and that event's stamp."""

    writer: Writer
    fresh: list[Decided] = field(default_factory=list)
    base: int = 0
    stamp: datetime | None = None

    def stamp_of(self, k: int) -> datetime:
        assert self.stamp is not None, "the stretch is written"
        return self.stamp + (k - 1) * _MICROSECOND

    @property
    def events(self) -> list[Event]:
        return [event for one in self.fresh for _, _, event in one.events]


@dataclass(frozen=True)
class Decided:
    """An outcome before its position is known: events with the `k` of each in its stretch, or a refusal."""

    ask: Ask
    stretch: Stretch
    events: tuple[tuple[int, UUID, Event], ...] = ()
    refusal: Refusal | None = None
    remembered: asyncpg.Record | None = None
    k: int = 0

    @property
    def position(self) -> int:
        return self.stretch.base + self.k

    def recorded(self) -> tuple[Recorded, ...]:
        stretch, correlation_id = self.stretch, self.ask.envelope.correlation_id
        return tuple(
            Recorded(event, event_id, stretch.base + k, stretch.stamp_of(k), correlation_id)
            for k, event_id, event in self.events
        )


@dataclass
class Decider:
    """One for a batch. `remembered`: answers given before, by the key's scope."""

    loaded: Loaded
    assets: Mapping[str, Asset]
    ids: IdSource
    remembered: Mapping[bytes, asyncpg.Record]
    _first: dict[bytes, Decided] = field(default_factory=dict)

    def stretch(self, asks: Iterable[Ask]) -> tuple[Stretch, list[Decided]]:
        """The rows of these, and what became of each; twins share one outcome, across stretches as well."""
        stretch = Stretch(Writer(self.ids))
        outcomes = [self._one(ask, stretch) for ask in asks]
        for one in stretch.fresh:
            if one.refusal is None:
                outcome = idempotency.accepted(len(one.events))
            elif one.refusal.sticks:
                outcome = idempotency.refused(one.refusal)
            else:
                continue
            stretch.writer.rows.keys.append(idempotency.row(one.k, one.ask.scope, one.ask.request_hash, outcome))
        return stretch, outcomes

    def _one(self, ask: Ask, stretch: Stretch) -> Decided:
        twin = self._first.get(ask.scope)
        if ask.scope in self.remembered:
            return self._replayed(ask, self.remembered[ask.scope], stretch)
        if twin is not None and (twin.refusal is None or twin.refusal.sticks):
            return twin if twin.ask.request_hash == ask.request_hash else _reused(ask, stretch, stretch.writer.k)
        decided = self._first[ask.scope] = self._decide(ask, stretch)
        stretch.fresh.append(decided)
        return decided

    def _decide(self, ask: Ask, stretch: Stretch) -> Decided:
        loaded, writer = self.loaded, stretch.writer
        asset = getattr(ask.command, "asset", None)
        if asset is not None and asset not in self.assets:
            unknown = UnknownAsset(f"{asset} is not an asset that can be held here.", ("input", "asset"))
            return Decided(ask, stretch, refusal=unknown, k=writer.k)
        decision = HANDLERS[type(ask.command)].decide(loaded, ask.command)
        if not isinstance(decision, Refusal):
            decision = _amounts_fault(decision, self.assets) or loaded.codes.fault(decision, loaded.now) or decision
        if isinstance(decision, Refusal):
            return Decided(ask, stretch, refusal=decision, k=writer.k)
        events = []
        for leg, event in enumerate(decision):
            version = _stream_version(loaded, event) + 1
            _bring_forward(loaded, event)
            event_id = writer.record(event, version, leg, ask.envelope, loaded.now, loaded.book)
            events.append((writer.k, event_id, event))
        return Decided(ask, stretch, tuple(events), k=writer.k)

    def _replayed(self, ask: Ask, row: asyncpg.Record, stretch: Stretch) -> Decided:
        if row["request_hash"] != ask.request_hash:
            return _reused(ask, stretch, 0, row)
        return Decided(ask, stretch, remembered=row)


def _reused(ask: Ask, stretch: Stretch, k: int, row: asyncpg.Record | None = None) -> Decided:
    message = "This idempotency key came with another input before. Use a new key for a new wish."
    refusal = IdempotencyKeyReused(message, ("input", "idempotencyKey"))
    return Decided(ask, stretch, refusal=refusal, k=k, remembered=row)


def _stream_version(loaded: Loaded, event: Event) -> int:
    aggregate_type, aggregate_id = stream_of(event)
    if aggregate_type == ACCOUNT:
        state = loaded.book.get(aggregate_id)
        return state.account.version if state else 0
    if aggregate_type == JOURNAL:
        hold = loaded.holds.get(aggregate_id)
        return hold.version if hold else 0
    return len(loaded.streams.get(aggregate_id, ()))


def _bring_forward(loaded: Loaded, event: Event) -> None:
    if isinstance(event, LedgerEvent):
        apply(loaded.book, [event])
    else:
        loaded.streams.setdefault(stream_of(event)[1], []).append(event)
        if isinstance(event, ApiKeyEvent):
            api_keys.bring_forward(loaded.live_keys, event)
        elif isinstance(event, DeviceEnrolled):
            loaded.credentials.add(event.credential_id)
        elif isinstance(event, PaymentEvent):
            loaded.spent.bring_forward(event)
            loaded.exempted.bring_forward(event)
        loaded.codes.bring_forward(event, loaded.now)
    if isinstance(event, JournalEvent):
        _, stream = stream_of(event)
        hold = evolve_hold(loaded.holds.get(stream), event)
        if hold is not None:
            loaded.holds[stream] = hold
    if isinstance(event, JournalPosted):
        loaded.posted[event.journal_id] = event
        if event.reverses is not None:
            loaded.reversed.add(event.reverses)


def _amounts_fault(events: Sequence[Event], assets: Mapping[str, Asset]) -> Refusal | None:
    """The last line of defence: NUMERIC would round what has more places than the asset."""
    for event in events:
        if isinstance(event, JournalPosted | JournalReserved):
            for leg in event.legs:
                asset = assets.get(leg.asset)
                if asset is None:
                    return UnknownAsset(f"{leg.asset} is not an asset that can be held here.")
                fault = amount_fault(leg.amount, asset)
                if fault is not None:
                    return InvalidAmount(f"An amount of {leg.asset} is {fault.replace('_', ' ').lower()}.")
            for after in event.figures:
                if any(
                    figure.adjusted() >= DIGITS_MAX - SCALE_MAX
                    for figure in (after.posted, after.pending_in, after.pending_out)
                ):
                    return InvalidAmount(f"An account of {after.asset} cannot hold that much.")
    return None
