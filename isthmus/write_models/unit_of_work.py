"""One transaction for the commands that arrived together, each with its own outcome.

Lock, then read, then decide in memory, then write: (1) the accounts, in id order; (2) keys and streams, in statements of their own
*after* the lock, since a read beside a lock would show what was before the wait; (3) every command on what the ones before it
leave; (4) one flush. A refused command writes its key and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from isthmus.domain.accounts import Account, AccountType, FreezeReason
from isthmus.domain.clock import Clock
from isthmus.domain.event_codec import ACCOUNT, JOURNAL, stream_of
from isthmus.domain.events import Event
from isthmus.domain.identifiers import IdSource
from isthmus.domain.ledger import (
    AccountState,
    JournalEvent,
    JournalPosted,
    JournalReserved,
    LedgerEvent,
    apply,
    evolve_hold,
)
from isthmus.domain.money import DIGITS_MAX, SCALE_MAX, Asset, AssetKind, amount_fault
from isthmus.domain.personal import PersonalTexts
from isthmus.domain.refusals import IdempotencyKeyReused, InvalidAmount, Refusal, UnknownAsset
from isthmus.failpoints import failpoint_async
from isthmus.write_models import api_keys, event_store, idempotency
from isthmus.write_models.asks import Ask, sealed
from isthmus.write_models.connection import Connection
from isthmus.write_models.envelope import Done, Outcome, Recorded, Refused
from isthmus.write_models.flush import flush, flush_refusals
from isthmus.write_models.handlers import HANDLERS, Loaded
from isthmus.write_models.journal import Writer
from isthmus.write_models.timers import expire_hold_at

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class _Decided:
    """An outcome before its position is known: events with the `k` of each, or a refusal."""

    ask: Ask
    events: tuple[tuple[int, UUID, Event], ...] = ()
    refusal: Refusal | None = None
    remembered: asyncpg.Record | None = None
    k: int = 0


class _HoldWithAnEnd(NamedTuple):
    journal_id: UUID
    expires_at: datetime


_LOCK = """
select b.account_id, b.posted, b.pending_in, b.pending_out, b.version, b.floor, b.freezes, b.closed, b.stream_version,
    a.code, a.type, a.asset, a.owner, a.may_overdraw
from unnest($1::uuid[], $2::uuid[]) as wanted (id, owner)
    join account_balances b on b.account_id = wanted.id join accounts a on a.id = wanted.id
where wanted.owner is null or wanted.owner = a.owner order by b.account_id for update of b"""


class UnitOfWork:
    def __init__(
        self, connection: Connection, clock: Clock, ids: IdSource, assets: Mapping[str, Asset], texts: PersonalTexts
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._ids = ids
        self._assets = assets
        self._texts = texts

    async def run(self, asks: Sequence[Ask]) -> list[Outcome]:
        """Inside the caller's transaction, which must commit right after. Raises asyncpg's errors; nothing is then written."""
        asks = await sealed(asks, self._connection, self._texts)
        await failpoint_async("unit.before_lock")
        loaded = await self._load(asks)
        await failpoint_async("unit.after_lock")
        remembered = await self._remembered(asks)
        writer = Writer(self._ids)
        decided: list[_Decided] = []
        first: dict[bytes, _Decided] = {}
        for ask in asks:
            twin = first.get(ask.scope)
            if ask.scope in remembered:
                one = self._replayed(ask, remembered[ask.scope])
            elif twin is not None and (twin.refusal is None or twin.refusal.sticks):
                one = twin if twin.ask.request_hash == ask.request_hash else self._reused(ask, writer.k)
            else:
                one = first[ask.scope] = self._decide(ask, loaded, writer)
            decided.append(one)
        await failpoint_async("unit.after_decide")
        base, stamps = await self._write(writer, loaded, list(first.values()))
        replays = await self._replays(decided)
        seen: set[int] = set()
        outcomes = []
        for one in decided:
            outcomes.append(self._outcome(one, base, stamps, replays, twin=id(one) in seen))
            seen.add(id(one))
        return outcomes

    async def _load(self, asks: Sequence[Ask]) -> Loaded:
        needs = [ask.needs() for ask in asks]
        accounts = {account for need in needs for account in need.accounts}
        owned = {pair for need in needs for pair in need.owned}
        holds = {hold for need in needs for hold in need.holds}
        reversing = {journal for need in needs for journal in need.reversing}
        # Which accounts a hold or journal touches never changes, so it may be read before the lock; its state may not.
        if holds:
            for hold in (await event_store.load_holds(self._connection, sorted(holds))).values():
                accounts |= event_store.accounts_of(hold.reserved)
        loaded = Loaded(self._assets, self._clock.now())
        if reversing:
            loaded.posted = await event_store.load_posted(self._connection, sorted(reversing))
            for journal in loaded.posted.values():
                accounts |= event_store.accounts_of(journal)
        if accounts or owned:
            anyones: list[tuple[UUID, UUID | None]] = [(account, None) for account in accounts]
            wanted = anyones + [(account, owner) for account, owner in owned if account not in accounts]
            rows = await self._connection.fetch(_LOCK, *map(list, zip(*wanted, strict=True)))
            loaded.book = {row["account_id"]: _state(row) for row in rows}
        if holds:
            # One that was made between the two readings has accounts that are not locked: it was not there yet.
            loaded.holds = {
                hold_id: hold
                for hold_id, hold in (await event_store.load_holds(self._connection, sorted(holds))).items()
                if event_store.accounts_of(hold.reserved) <= loaded.book.keys()
            }
        if reversing:
            loaded.reversed = await event_store.load_reversed(self._connection, sorted(reversing))
        if owners := {owner for need in needs for owner in need.key_owners}:
            loaded.live_keys = await api_keys.load_live(self._connection, sorted(owners), loaded.now)
        if streams := {stream for need in needs for stream in need.streams}:
            loaded.streams = await event_store.load_streams(self._connection, sorted(streams))
        return loaded

    async def _remembered(self, asks: Sequence[Ask]) -> dict[bytes, asyncpg.Record]:
        rows = await self._connection.fetch(
            "select scope, request_hash, outcome::text as outcome, position from idempotency where scope = any($1::bytea[])",
            [ask.scope for ask in asks],
        )
        return {row["scope"]: row for row in rows}

    def _decide(self, ask: Ask, loaded: Loaded, writer: Writer) -> _Decided:
        asset = getattr(ask.command, "asset", None)
        if asset is not None and asset not in self._assets:
            unknown = UnknownAsset(f"{asset} is not an asset that can be held here.", ("input", "asset"))
            return _Decided(ask, refusal=unknown, k=writer.k)
        decision = HANDLERS[type(ask.command)].decide(loaded, ask.command)
        if not isinstance(decision, Refusal):
            decision = _amounts_fault(decision, self._assets) or decision
        if isinstance(decision, Refusal):
            return _Decided(ask, refusal=decision, k=writer.k)
        events = []
        for leg, event in enumerate(decision):
            version = _stream_version(loaded, event) + 1
            _bring_forward(loaded, event)
            event_id = writer.record(event, version, leg, ask.envelope, loaded.now, loaded.book)
            events.append((writer.k, event_id, event))
        return _Decided(ask, tuple(events), k=writer.k)

    def _replayed(self, ask: Ask, row: asyncpg.Record) -> _Decided:
        if row["request_hash"] != ask.request_hash:
            return self._reused(ask, 0, row)
        return _Decided(ask, remembered=row)

    def _reused(self, ask: Ask, k: int, row: asyncpg.Record | None = None) -> _Decided:
        message = "This idempotency key came with another input before. Use a new key for a new wish."
        return _Decided(ask, refusal=IdempotencyKeyReused(message, ("input", "idempotencyKey")), k=k, remembered=row)

    async def _write(self, writer: Writer, loaded: Loaded, decided: list[_Decided]) -> tuple[int, dict[int, Any]]:
        """Returns the position before the batch's first event, and the stamp of each event by its `k`."""
        for one in decided:
            if one.refusal is None:
                outcome = idempotency.accepted(len(one.events))
            elif one.refusal.sticks:
                outcome = idempotency.refused(one.refusal)
            else:
                continue
            writer.rows.keys.append(idempotency.row(one.k, one.ask.scope, one.ask.request_hash, outcome))
        if not writer.k:
            if writer.rows.keys:
                return await flush_refusals(self._connection, writer.rows.keys), {}
            return await self._connection.fetchval("select position from log_head"), {}
        # Before the flush: nothing may come between it and the commit.
        for hold in _holds_with_an_end(decided):
            await expire_hold_at(self._connection, hold.journal_id, hold.expires_at - loaded.now)
        await api_keys.write(self._connection, [event for one in decided for _, _, event in one.events])
        writer.balances(loaded.book)
        await failpoint_async("unit.before_flush")
        base, stamp = await flush(self._connection, writer.rows, self._clock.stamp())
        return base, {k: stamp + (k - 1) * _MICROSECOND for k in range(1, writer.k + 1)}

    async def _replays(self, decided: Sequence[_Decided]) -> dict[int, Recorded]:
        positions = [
            position
            for one in decided
            if one.remembered is not None and one.refusal is None
            for position in _positions(one.remembered)
        ]
        return await event_store.load_positions(self._connection, positions) if positions else {}

    def _outcome(
        self, one: _Decided, base: int, stamps: Mapping[int, Any], replays: Mapping[int, Recorded], twin: bool
    ) -> Outcome:
        if one.refusal is not None:
            position = one.remembered["position"] if one.remembered is not None else base + one.k
            return Refused(one.refusal, position, replayed=twin)
        if one.remembered is not None:
            refusal = idempotency.refusal_from(json.loads(one.remembered["outcome"]))
            if refusal is not None:
                return Refused(refusal, one.remembered["position"], replayed=True)
            events = tuple(replays[position] for position in _positions(one.remembered))
            return Done(events, one.remembered["position"], replayed=True)
        correlation_id = one.ask.envelope.correlation_id
        recorded = tuple(
            Recorded(event, event_id, base + k, stamps[k], correlation_id) for k, event_id, event in one.events
        )
        return Done(recorded, base + one.k, replayed=twin)


def _holds_with_an_end(decided: Sequence[_Decided]) -> list[_HoldWithAnEnd]:
    return [
        _HoldWithAnEnd(event.journal_id, event.expires_at)
        for one in decided
        for _, _, event in one.events
        if isinstance(event, JournalReserved) and event.expires_at is not None
    ]


def _positions(remembered: asyncpg.Record) -> range:
    events = json.loads(remembered["outcome"]).get("events", 0)
    return range(remembered["position"] - events + 1, remembered["position"] + 1)


def _state(row: asyncpg.Record) -> AccountState:
    account = Account(
        row["account_id"],
        row["code"],
        AccountType(row["type"]),
        row["asset"],
        row["owner"],
        row["may_overdraw"],
        row["stream_version"],
        frozenset(FreezeReason(reason) for reason in row["freezes"]),
        row["closed"],
    )
    return AccountState(account, row["posted"], row["pending_in"], row["pending_out"], row["version"], row["floor"])


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
        api_keys.bring_forward(loaded.live_keys, event)
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


async def load_assets(connection: Connection) -> dict[str, Asset]:
    rows = await connection.fetch("select code, kind, name, scale from assets where enabled")
    return {row["code"]: Asset(row["code"], AssetKind(row["kind"]), row["name"], row["scale"]) for row in rows}
