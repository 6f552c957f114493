"""One transaction for the commands that arrived together, each with its own outcome.

Lock, then read, then decide in memory, then write: (1) the accounts, in id order; (2) keys and streams, in statements of their own
*after* the lock, since a read beside a lock would show what was before the wait; (3) every command on what the ones before it
leave; (4) a flush a stretch, and the balances. A refused command writes its key and nothing else.

A large batch is decided and written in a few stretches, so that the database writes one while the next is decided: both would
otherwise wait for each other. From the first flush on the log's end is locked, and nothing is waited for any more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

import asyncpg

from isthmus.domain.accounts import Account, AccountType, FreezeReason
from isthmus.domain.clock import Clock
from isthmus.domain.code_allowance import NO_LIMITS, CodeLimits
from isthmus.domain.events import Event
from isthmus.domain.identifiers import IdSource
from isthmus.domain.ledger import AccountState, JournalReserved
from isthmus.domain.money import Asset, AssetKind
from isthmus.domain.personal import PersonalTexts
from isthmus.failpoints import failpoint_async
from isthmus.write_models import (
    api_keys,
    codes_sent,
    consents,
    event_store,
    exempted,
    idempotency,
    payee_rows,
    payments,
    personal_limits,
    reconciliation_rows,
    sca_apps,
    sca_devices,
    spending,
)
from isthmus.write_models.asks import Ask, sealed
from isthmus.write_models.connection import Connection
from isthmus.write_models.deciding import Decided, Decider, Stretch
from isthmus.write_models.envelope import Done, Outcome, Recorded, Refused
from isthmus.write_models.flush import flush, flush_refusals, write_balances
from isthmus.write_models.handling import Loaded
from isthmus.write_models.journal import balance_row
from isthmus.write_models.timers import expire_hold_at

#: Fewer commands than this are not worth a statement of their own.
_STRETCH_MIN = 16
_STRETCHES_MAX = 4


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
        self,
        connection: Connection,
        clock: Clock,
        ids: IdSource,
        assets: Mapping[str, Asset],
        texts: PersonalTexts,
        code_limits: CodeLimits = NO_LIMITS,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._ids = ids
        self._assets = assets
        self._texts = texts
        self._code_limits = code_limits

    async def run(self, asks: Sequence[Ask]) -> list[Outcome]:
        """Inside the caller's transaction, which must commit right after. Raises asyncpg's errors; nothing is then written."""
        asks = await sealed(asks, self._connection, self._texts)
        await failpoint_async("unit.before_lock")
        loaded = await self._load(asks)
        await failpoint_async("unit.after_lock")
        decider = Decider(loaded, self._assets, self._ids, await self._remembered(asks))
        decided: list[Decided] = []
        written: list[Stretch] = []
        writing: asyncio.Task[None] | None = None
        size = max(_STRETCH_MIN, -(-len(asks) // _STRETCHES_MAX))
        try:
            for start in range(0, len(asks), size):
                stretch, outcomes = decider.stretch(asks[start : start + size])
                decided += outcomes
                await failpoint_async("unit.after_decide")
                if writing is not None:
                    await writing
                writing = asyncio.create_task(self._write(stretch, loaded, written))
                await asyncio.sleep(0)  # sent now: the database writes these while the next are decided
            if writing is not None:
                await writing
        finally:
            if writing is not None:
                await asyncio.wait({writing})  # whatever went wrong, the connection is not left in use
        await self._write_balances(written, loaded)
        replays = await self._replays(decided)
        seen: set[int] = set()
        results = []
        for one in decided:
            results.append(_outcome(one, replays, twin=id(one) in seen))
            seen.add(id(one))
        return results

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
        loaded = Loaded(self._assets, self._clock.stamp() or self._clock.now())
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
            loaded.live_keys = await api_keys.load_live(self._connection, sorted(owners), self._clock.stamp())
        spenders = {owner for need in needs for owner in need.spenders}
        asked = {owner for need in needs for owner in need.asked}
        if spenders | asked:
            await spending.lock(self._connection, sorted(spenders | asked))
        if streams := {stream for need in needs for stream in need.streams}:
            loaded.streams = await event_store.load_streams(self._connection, sorted(streams))
        if credentials := {name for need in needs for name in need.credentials}:
            loaded.credentials = await sca_devices.known(self._connection, sorted(credentials))
        if any(need.time for need in needs):
            # After the locks, whose wait takes time as well. Most batches do without this round trip.
            loaded.now = self._clock.stamp() or await self._connection.fetchval("select clock_timestamp()")
        if spenders:
            loaded.spent = await spending.load(self._connection, sorted(spenders), loaded.now)
            loaded.exempted = await exempted.load(self._connection, sorted(spenders))
        if asked:
            loaded.codes = await codes_sent.load(self._connection, sorted(asked), self._code_limits, loaded.now)
        return loaded

    async def _remembered(self, asks: Sequence[Ask]) -> dict[bytes, asyncpg.Record]:
        rows = await self._connection.fetch(
            "select scope, request_hash, outcome::text as outcome, position from idempotency where scope = any($1::bytea[])",
            [ask.scope for ask in asks],
        )
        return {row["scope"]: row for row in rows}

    async def _write(self, stretch: Stretch, loaded: Loaded, written: list[Stretch]) -> None:
        """Sets the stretch's base and stamp, and puts it beside those that were written before."""
        writer = stretch.writer
        if writer.k:
            # Before the flush, which locks the log's end.
            for hold in _holds_with_an_end(stretch.events):
                await expire_hold_at(self._connection, hold.journal_id, hold.expires_at - loaded.now)
            await api_keys.write(self._connection, stretch.events)
            await consents.write(self._connection, stretch.events)
            await payments.write(self._connection, stretch.events, loaded.now)
            await exempted.write(self._connection, stretch.events)
            await personal_limits.write(self._connection, stretch.events)
            await sca_apps.write(self._connection, stretch.events, loaded.now)
            await sca_devices.write(self._connection, stretch.events, loaded.now)
            await payee_rows.write(self._connection, stretch.events, loaded.now)
            await reconciliation_rows.write(self._connection, stretch.events, loaded.now)
            await failpoint_async("unit.before_flush")
            stretch.base, stretch.stamp = await flush(self._connection, writer.rows, self._clock.stamp())
        elif writer.rows.keys:
            stretch.base = await flush_refusals(self._connection, writer.rows.keys)
        else:
            stretch.base = await self._connection.fetchval("select position from log_head")
        written.append(stretch)

    async def _write_balances(self, written: Sequence[Stretch], loaded: Loaded) -> None:
        """Each account that the batch touched, once, as the whole batch leaves it and with the stamp of its last movement."""
        moved: dict[UUID, datetime] = {}
        touched: set[UUID] = set()
        opened: set[UUID] = set()
        for stretch in written:
            moved |= {account: stretch.stamp_of(k) for account, k in stretch.writer.moved.items()}
            touched |= stretch.writer.touched
            opened |= stretch.writer.opened
        if accounts := sorted(touched | moved.keys(), key=attrgetter("int")):
            rows = [(account, balance_row(loaded.book[account], moved.get(account))) for account in accounts]
            await write_balances(
                self._connection,
                opened=[row for account, row in rows if account in opened],
                changed=[row for account, row in rows if account not in opened],
            )

    async def _replays(self, decided: Sequence[Decided]) -> dict[int, Recorded]:
        positions = [
            position
            for one in decided
            if one.remembered is not None and one.refusal is None
            for position in _positions(one.remembered)
        ]
        return await event_store.load_positions(self._connection, positions) if positions else {}


def _outcome(one: Decided, replays: Mapping[int, Recorded], *, twin: bool) -> Outcome:
    if one.refusal is not None:
        position = one.remembered["position"] if one.remembered is not None else one.position
        return Refused(one.refusal, position, replayed=twin)
    if one.remembered is not None:
        refusal = idempotency.refusal_from(json.loads(one.remembered["outcome"]))
        if refusal is not None:
            return Refused(refusal, one.remembered["position"], replayed=True)
        events = tuple(replays[position] for position in _positions(one.remembered))
        return Done(events, one.remembered["position"], replayed=True)
    return Done(one.recorded(), one.position, replayed=twin)


def _holds_with_an_end(events: Sequence[Event]) -> list[_HoldWithAnEnd]:
    return [
        _HoldWithAnEnd(event.journal_id, event.expires_at)
        for event in events
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


async def load_assets(connection: Connection) -> dict[str, Asset]:
    rows = await connection.fetch("select code, kind, name, scale from assets where enabled")
    return {row["code"]: Asset(row["code"], AssetKind(row["kind"]), row["name"], row["scale"]) for row in rows}
