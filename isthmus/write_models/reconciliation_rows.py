"""The table of reconciliation's cases, written in the transaction of the event; and what is asked of our own book."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from isthmus.domain.deposits import bank_account_code
from isthmus.domain.events import Event
from isthmus.domain.identifiers import house_account_id
from isthmus.domain.money import add
from isthmus.domain.payment_events import clearing_code, hold_id_of
from isthmus.domain.reconciliation import Entry
from isthmus.domain.reconciliation_cases import ReconciliationCaseClosed, ReconciliationCaseOpened
from isthmus.write_models.connection import Connection

_OPEN = """
insert into reconciliation_cases (id, provider, asset, difference, why, journal_id, entry_id, ours, theirs, booked_at, opened_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (id) do update set
    ours = excluded.ours, theirs = excluded.theirs, booked_at = excluded.booked_at, closed_at = null, closed_by = null, reason = null"""
#: A journal may touch both of our accounts at the bank: what counts is what it moved there in all.
_MOVED = """
select e.journal_id, min(e.posted_at) as at, coalesce(j.resolves, j.linked) as hold, j.event_id,
    sum(case e.direction when 'DEBIT' then e.amount else -e.amount end) as amount
from entries e join journal_entries j on j.id = e.journal_id
where e.account_id = any($1) and e.posted_at >= $2 and e.posted_at < $3
group by e.journal_id, hold, j.event_id"""
#: The events of one command lie together, and a payment's money is posted just before it is executed, or decided on.
_PAYMENTS = """
select p.id, p.provider_reference from event_store m
join event_store x on x.position between m.position and m.position + 16 and x.type in ('PaymentExecuted', 'PaymentDecided')
join payments p on p.id = x.aggregate_id
where m.event_id = any($1) and p.provider_reference is not null"""
#: The events of one command are a microsecond apart.
_TOGETHER = timedelta(milliseconds=1)
_LAY = """
select coalesce(sum(posted_after), 0) from unnest($1::uuid[]) as a (id) cross join lateral (
    select posted_after from entries e where e.account_id = a.id and e.posted_at < $2
    order by e.posted_at desc, e.account_version desc limit 1) as last"""


async def write(connection: Connection, events: Sequence[Event], now: datetime) -> None:
    """Before the flush, as everything but the flush is."""
    for event in events:
        match event:
            case ReconciliationCaseOpened():
                await connection.execute(
                    _OPEN,
                    event.case_id,
                    event.provider,
                    event.asset,
                    event.difference,
                    event.why,
                    event.journal_id,
                    event.entry_id,
                    event.ours,
                    event.theirs,
                    event.at,
                    now,
                )
            case ReconciliationCaseClosed():
                await connection.execute(
                    "update reconciliation_cases set closed_at = $2, closed_by = $3, reason = $4 where id = $1",
                    event.case_id,
                    now,
                    event.by,
                    str(event.reason) if event.reason is not None else None,
                )
            case _:
                pass


def accounts_at(provider: str, asset: str) -> list[UUID]:
    """Ours that together are what lies at the bank: what came in, and what went out."""
    return [house_account_id(code(provider, asset)) for code in (bank_account_code, clearing_code)]


async def our_entries(
    connection: Connection, provider: str, asset: str, since: datetime, until: datetime
) -> list[Entry]:
    """What we booked at the bank. Known to it by its own name for the payment, or by the journal that follows from its name."""
    rows = await connection.fetch(_MOVED, accounts_at(provider, asset), since, until)
    payments = await connection.fetch(_PAYMENTS, [row["event_id"] for row in rows if row["hold"] is not None])
    named = {hold_id_of(row["id"]): str(row["provider_reference"]) for row in payments}
    entries: list[Entry] = []
    last: dict[UUID, int] = {}
    for row in sorted(rows, key=lambda row: row["at"]):
        hold, key = row["hold"], str(row["journal_id"])
        names = frozenset({key, *([named[hold]] if hold in named else [])})
        before = entries[last[hold]] if hold in last else None
        if before is not None and row["at"] - before.at < _TOGETHER:
            # What its payer bears and what nobody does: the bank moved it at once.
            entries[last[hold]] = replace(before, amount=add(before.amount, row["amount"]), names=before.names | names)
            continue
        if hold is not None:
            last[hold] = len(entries)
        entries.append(Entry(key, row["at"], row["amount"], names))
    return [entry for entry in entries if entry.amount]


async def lay_there(connection: Connection, provider: str, asset: str, at: datetime) -> Decimal:
    """What our book says lay at the bank just before an instant."""
    found: Decimal = await connection.fetchval(_LAY, accounts_at(provider, asset), at)
    return add(found, Decimal(0))
