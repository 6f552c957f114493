"""The oracle: judges a run by what clients were told and what is stored, with SQL and queries of its own.

It calls nothing of the code that wrote the rows. Of the rows of docs/faults.md, O5, O8 and O11 are noticed by the clients' watches
while they happen; the others are looked at here, once everything has healed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any
from uuid import UUID

import asyncpg

from isthmus.torture.bus import BusReader
from isthmus.torture.effects import ClientsBook, Stored, account_uuid, effects_of, fault_of, may_have_no_effect
from isthmus.torture.intents import Door, Intent, IntentLog, Kind
from isthmus.torture.payments import PaymentBooks
from isthmus.torture.verdict import Verdict
from isthmus.torture.watches import FeedWatch, Watches
from isthmus.write_models.verifier import verify

LIVE_WITHIN_S = 30.0
_POLL_S = 0.1
_TOGETHER = 8
#: What the platform does by itself, when a hold's time is over.
_OWN_ACCORD = frozenset({"HoldVoided"})

_EVENTS = """
select position, type, aggregate_id, version, metadata->>'correlation_id' as correlation_id, data::text as data
from event_store where position > $1 order by position"""
_PENDING_TOO_LONG = """
select p.id from journal_entries p where p.phase = 'PENDING' and p.expires_at < clock_timestamp() - interval '30 s'
    and not exists (select from journal_entries r where r.resolves = p.id)"""
_FOLDED = """
select coalesce(b.account_id, f.account_id) as account_id, b.posted, f.posted as folded
from account_balances b full join (
    select (leg->>'account_id')::uuid as account_id,
        sum(case when leg->>'direction' = a.normal_balance then 1 else -1 end * (leg->>'amount')::numeric) as posted
    from event_store e cross join lateral jsonb_array_elements(e.data->'legs') leg
    join accounts a on a.id = (leg->>'account_id')::uuid
    where e.type = 'JournalPosted' group by 1
) f using (account_id)
where coalesce(b.posted, 0) <> coalesce(f.posted, 0)"""
#: A reservation that is posted stays the transaction that it was.
_READ_TWICE_OR_NEVER = """
select coalesce(t.journal_id, e.journal_id) as journal_id, count(t.journal_id) as shown, count(e.journal_id) as moved
from read_models.transactions t full join (
    select distinct coalesce(j.resolves, j.id) as journal_id, n.account_id from entries n
    join journal_entries j on j.id = n.journal_id and j.phase = 'POSTED'
) e using (journal_id, account_id)
where (t.journal_id is null or e.journal_id is null) and coalesce(t.status, 'POSTED') = 'POSTED'
group by 1 limit 5"""
_HISTORY_GAPS = """
select account_id, max(version) as newest, count(*) as versions from read_models.balance_history
group by account_id having count(*) <> max(version) limit 5"""


class Oracle:
    """One for a run of any number of rounds: it carries the clients' book and the log's position from round to round.

    `url` signs in as the owner of the tables. `bus` is None where no broker took part, `payments` where no bank did.
    """

    def __init__(self, url: str, bus: BusReader | None = None, payments: PaymentBooks | None = None) -> None:
        self._url = url
        self._bus = bus
        self._payments = payments
        self._book = ClientsBook()
        self._judged_to = 0

    async def resolve(self, intents: IntentLog, door: Door, within_s: float = LIVE_WITHIN_S) -> int:
        """Send what is unknown again with its own key until the answer is definite. Returns how many became so."""
        until = time.monotonic() + within_s
        unknown = list(intents.unresolved())
        left = unknown
        while left and time.monotonic() < until:
            for start in range(0, len(left), _TOGETHER):
                await asyncio.gather(*(intents.send(intent, door) for intent in left[start : start + _TOGETHER]))
            left = [intent for intent in left if intent.definite is None]
            if left:
                await asyncio.sleep(_POLL_S)
        return len(unknown) - len(left)

    async def resend(self, intents: IntentLog, door: Door, sample: Iterable[Intent]) -> int:
        """Ask for definite answers again; `judge` compares what came. Returns how many answered."""
        outcomes = [await intents.send(intent, door) for intent in sample]
        return sum(1 for outcome in outcomes if outcome.kind is not Kind.UNKNOWN)

    async def judge(
        self,
        intents: Sequence[Intent],
        watches: Watches | None = None,
        feeds: Sequence[FeedWatch] = (),
        *,
        projected: bool = True,
        answered: AbstractSet[UUID] = frozenset(),
    ) -> Verdict:
        """`projected`: projections took part, so that they must catch up and show what the ledger holds. `answered`: payments that
        their person was told to be authorised."""
        verdict = Verdict()
        connection = await asyncpg.connect(self._url, timeout=10)
        try:
            await connection.execute("set statement_timeout = 0")
            if self._payments is not None:
                await self._payments.settled(connection, verdict)
            if projected:
                await self._live(connection, verdict)
            self._answers(intents, await self._events(connection), verdict)
            if self._payments is not None:
                await self._payments.judge(connection, self._book, answered, verdict)
            await self._books(connection, intents, verdict)
            await self._store(connection, verdict)
            if projected:
                await self._shown(connection, verdict)
                await self._fed(connection, feeds, verdict)
            if self._bus is not None:
                verdict.take(await self._bus.judge(connection))
                verdict.checked["records on the bus"] = self._bus.records
        finally:
            await connection.close()
        if watches is not None:
            verdict.take(watches.violations)
            watches.violations.clear()
        return verdict

    async def _live(self, connection: asyncpg.Connection, verdict: Verdict) -> None:
        """O10: the relay and every projection reach the log's end, and nothing is pending whose time is over."""
        began = time.monotonic()
        while True:
            head = await connection.fetchval("select position from log_head")
            relayed = await connection.fetchval("select position from relay_state where name = 'relay'")
            shown = await connection.fetchval("select min(position) from read_models.projection_positions")
            late = await connection.fetch(_PENDING_TOO_LONG)
            behind = head - (shown or 0), head - (relayed or 0) if self._bus is not None else 0
            if behind == (0, 0) and not late:
                break
            if time.monotonic() - began > LIVE_WITHIN_S:
                verdict.violated(
                    "O10",
                    f"{LIVE_WITHIN_S:.0f} s after healing projections are {behind[0]} and the relay is {behind[1]} positions "
                    f"behind, and {len(late)} holds wait that are over",
                )
                return
            await asyncio.sleep(_POLL_S)
        verdict.checked["milliseconds to catch up"] = round(1_000 * (time.monotonic() - began))

    async def _events(self, connection: asyncpg.Connection) -> list[Stored]:
        rows = await connection.fetch(_EVENTS, self._judged_to)
        events = [
            Stored(r["position"], r["type"], r["aggregate_id"], r["version"], r["correlation_id"], json.loads(r["data"]))
            for r in rows
        ]  # fmt: skip
        self._judged_to = events[-1].position if events else self._judged_to
        return events

    def _answers(self, intents: Sequence[Intent], events: Sequence[Stored], verdict: Verdict) -> None:
        """O4: ok is in the store, refused is not, one key did one thing, and nothing is there that nobody sent."""
        caused: dict[str, list[Stored]] = {}
        for event in events:
            caused.setdefault(event.correlation_id, []).append(event)
        for intent in intents:
            mine = [event for sent in intent.sent for event in caused.pop(sent, ())]
            self._answer(intent, mine, verdict)
        for correlation_id, strange in caused.items():
            known = self._payments is not None and self._payments.knows(correlation_id)
            if not known and not all(event.type in _OWN_ACCORD for event in strange):
                verdict.violated("O4", f"{strange[0].type} at {strange[0].position}: nobody sent {correlation_id}")

    def _answer(self, intent: Intent, events: Sequence[Stored], verdict: Verdict) -> None:
        verdict.checked["intents"] += 1
        outcome, effects = intent.definite, effects_of(intent, events)
        told = f"intent {intent.number} ({intent.mutation}, key {intent.key})"
        if len(effects) > 1:
            verdict.doubled += 1
            verdict.violated("O4", f"{told} was done {len(effects)} times, at {[one.position for one in effects]}")
        if not intent.sent:
            return
        if outcome is None:
            verdict.violated("O10", f"{told} has no definite answer after healing")
        elif intent.probe and (outcome.kind is not Kind.REFUSED or outcome.code != "IDEMPOTENCY_KEY_REUSED"):
            verdict.violated("O4", f"{told} had a used key and another body, and was answered {outcome.kind}")
        elif outcome.kind is Kind.REFUSED and events:
            verdict.violated("O4", f"{told} was refused ({outcome.code}) and is in the store at {events[0].position}")
        elif outcome.kind is Kind.OK and not effects and not may_have_no_effect(intent):
            verdict.lost += 1
            verdict.violated("O4", f"{told} was acknowledged and is not in the store")
        answers = [one for one in intent.outcomes if one.kind is not Kind.UNKNOWN]
        for again in answers[1:]:
            verdict.checked["answers compared"] += 1
            if again.kind is not answers[0].kind or _comparable(again.answer) != _comparable(answers[0].answer):
                verdict.violated("O4", f"{told} was answered {answers[0]} and then {again}")
        for event in effects:
            if (fault := fault_of(intent, event)) is not None:
                verdict.violated("O4", f"{told} is stored with {fault}")

    async def _books(self, connection: asyncpg.Connection, intents: Sequence[Intent], verdict: Verdict) -> None:
        """O6, as far as there are books: the ledger's balances, its events folded, and what the clients were told."""
        for intent in intents:
            self._book.enter(intent)
        rows = await connection.fetch("select b.account_id, b.posted from account_balances b join accounts a on "
            "a.id = b.account_id where a.owner is not null")  # fmt: skip
        ledger = {row["account_id"]: row["posted"] for row in rows}
        verdict.checked["accounts"] = len(ledger)
        for account, posted in self._book.posted.items():
            if ledger.get(account, 0) != posted:
                verdict.violated("O6", f"account {account} holds {ledger.get(account)}, by its clients' book {posted}")
        journals = await connection.fetchval("select count(*) from journal_entries where phase = 'POSTED'")
        if journals != self._book.journals:
            verdict.violated("O6", f"{journals} journals are posted, by the clients' book {self._book.journals}")
        for row in await connection.fetch(_FOLDED):
            verdict.violated(
                "O2", f"account {row['account_id']} holds {row['posted']}, its events make {row['folded']}"
            )

    async def _store(self, connection: asyncpg.Connection, verdict: Verdict) -> None:
        """O1, O2, O3, O7 (the outbox) and O9: the verifier, whose SQL shares nothing with what writes."""
        report = await verify(connection)
        for finding in report.findings:
            verdict.checked["rows verified"] += finding.checked
            for violation in finding.violations:
                verdict.violated(_ROW_OF.get(finding.check.name, "O2"), f"{finding.check.name}: {violation}")

    async def _shown(self, connection: asyncpg.Connection, verdict: Verdict) -> None:
        """O7: the effect of every event on the read models exactly once."""
        for row in await connection.fetch(_READ_TWICE_OR_NEVER):
            verdict.violated(
                "O7", f"journal {row['journal_id']} moved {row['moved']} accounts and is shown in {row['shown']}"
            )
        for row in await connection.fetch(_HISTORY_GAPS):
            verdict.violated(
                "O7",
                f"account {row['account_id']} is at version {row['newest']} and its history has {row['versions']} of them",
            )

    async def _fed(self, connection: asyncpg.Connection, feeds: Sequence[FeedWatch], verdict: Verdict) -> None:
        """O8: every subscriber has the last version of everything it watches, within the time that liveness allows."""
        until = time.monotonic() + LIVE_WITHIN_S
        rows = await connection.fetch("select account_id, version from account_balances")
        versions: Mapping[UUID, int] = {row["account_id"]: row["version"] for row in rows}
        for feed in feeds:
            wanted = {account: versions.get(account_uuid(account), 0) for account in feed.versions}
            while (behind := feed.ended_at(wanted)) and time.monotonic() < until:  # noqa: ASYNC110  # another process
                await asyncio.sleep(_POLL_S)
            verdict.checked["accounts watched live"] += len(wanted)
            for account in behind:
                verdict.violated(
                    "O8",
                    f"subscriber {feed.name}: account {account} ended at version {feed.versions[account]} of {wanted[account]}",
                )


#: Which row of the oracle each of the verifier's checks belongs to; the others are O2.
_ROW_OF = {
    "balanced_journals": "O1",
    "balanced_ledger": "O1",
    "never_below_the_floor": "O3",
    "one_reference_one_journal": "O4",
    "keys_are_events": "O4",
    "one_order": "O9",
    "hash_chains": "O9",
    "published_from_events": "O7",
    "read_models_are_events": "O7",
}


def _comparable(answer: Mapping[str, Any] | None) -> object:
    """The same wish's answers are equal but for this."""
    if answer is None:
        return None
    if answer.get("errors"):
        return [error["code"] for error in answer["errors"]]  # its position is the log's end where nothing was kept
    return {name: value for name, value in answer.items() if name not in ("replayed", "correlationId")}
