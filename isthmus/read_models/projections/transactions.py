"""Transactions: a row per journal and account, as its owner reads it; and the journals themselves with their lines.

A hold is one row from its reservation on: its post or void changes that row. Journals touch several partitions: whichever comes
first inserts them. A partition that resolves a hold has seen its reservation, since both touch the same accounts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from isthmus.domain.ledger import HoldVoided, JournalPosted, JournalReserved
from isthmus.domain.money import subtract, text_of
from isthmus.read_models.projections.accounts import makes_transaction
from isthmus.read_models.projections.facts import Connection, Fact, columns

NAME = "transactions"
POSTED, PENDING, VOIDED = "POSTED", "PENDING", "VOIDED"


@dataclass(frozen=True)
class _Resolution:
    """What became of a hold in one account; `amount` None leaves what was reserved."""

    status: str
    amount: Decimal | None
    at: datetime


_INSERT = """
insert into {schema}.transactions
    (account_id, position, journal_id, amount, asset, direction, status, kind, booked_at, description)
select account_id, position, journal_id, amount, asset, case when amount > 0 then 'CREDIT' else 'DEBIT' end, status, kind,
    booked_at, description
from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::numeric[], $5::text[], $6::text[], $7::text[], $8::timestamptz[], $9::text[])
    as u (account_id, position, journal_id, amount, asset, status, kind, booked_at, description)
on conflict do nothing"""
_RESOLVE = """
update {schema}.transactions t
set status = u.status, amount = coalesce(u.amount, t.amount), booked_at = u.at,
    direction = case when coalesce(u.amount, t.amount) > 0 then 'CREDIT' else 'DEBIT' end
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::numeric[], $5::timestamptz[]) as u (journal_id, account_id, status, amount, at)
where t.journal_id = u.journal_id and t.account_id = u.account_id"""
_JOURNALS = """
insert into {schema}.journals (journal_id, kind, status, reference, posted_at, correlation_id, position, reverses, resolves, lines)
select journal_id, kind, status, reference, posted_at, correlation_id, position, reverses, resolves, lines::jsonb
from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::bigint[], $8::uuid[],
    $9::uuid[], $10::text[]) as u (journal_id, kind, status, reference, posted_at, correlation_id, position, reverses, resolves, lines)
order by journal_id
on conflict do nothing"""
_RESOLVE_JOURNALS = """
with held as (
    select j.journal_id, u.status
    from unnest($1::uuid[], $2::text[]) as u (journal_id, status) join {schema}.journals j using (journal_id)
    where j.status <> u.status
    order by j.journal_id for update of j
)
update {schema}.journals j set status = h.status from held h where j.journal_id = h.journal_id"""


async def apply(connection: Connection, schema: str, facts: Sequence[Fact]) -> None:
    await _transactions(connection, schema, facts)
    await _journals(connection, schema, facts)


async def _transactions(connection: Connection, schema: str, facts: Sequence[Fact]) -> None:
    begun = [_row(fact) for fact in facts if makes_transaction(fact)]
    if begun:
        await connection.execute(_INSERT.format(schema=schema), *columns(begun, 9))
    resolved: dict[tuple[UUID, UUID], _Resolution] = {}
    for fact in facts:
        own, at = fact.own, fact.row.committed_at
        if own is None:
            continue
        if isinstance(fact.event, JournalPosted) and fact.event.resolves is not None:
            # A part may leave an account of the hold out: nothing was posted there.
            whole = _Resolution(POSTED, own.posted_change, at)
            resolved[fact.event.resolves, fact.key] = (
                whole if own.posted_change else replace(whole, status=VOIDED, amount=None)
            )
        elif isinstance(fact.event, HoldVoided):
            resolved[fact.event.journal_id, fact.key] = _Resolution(VOIDED, None, at)
    if resolved:
        rows = ((*place, one.status, one.amount, one.at) for place, one in resolved.items())
        await connection.execute(_RESOLVE.format(schema=schema), *columns(rows, 5))


async def _journals(connection: Connection, schema: str, facts: Sequence[Fact]) -> None:
    made: dict[UUID, tuple[Any, ...]] = {}
    resolved: dict[UUID, str] = {}
    for fact in facts:
        event = fact.event
        if isinstance(event, JournalPosted | JournalReserved):
            made.setdefault(event.journal_id, _journal(fact, event))
        if isinstance(event, JournalPosted) and event.resolves is not None:
            resolved[event.resolves] = POSTED
        elif isinstance(event, HoldVoided):
            resolved[event.journal_id] = VOIDED
    if made:
        await connection.execute(_JOURNALS.format(schema=schema), *columns(made.values(), 10))
    if resolved:
        await connection.execute(_RESOLVE_JOURNALS.format(schema=schema), *columns(sorted(resolved.items()), 2))


def _row(fact: Fact) -> tuple[Any, ...]:
    own, event = fact.own, fact.event
    assert own is not None, "a transaction is of an account"
    assert isinstance(event, JournalPosted | JournalReserved), "a transaction begins with a journal"
    pending = isinstance(event, JournalReserved)
    return (
        fact.key,
        fact.position,
        event.journal_id,
        subtract(own.pending_in_change, own.pending_out_change) if pending else own.posted_change,
        own.asset,
        PENDING if pending else POSTED,
        event.kind.value,
        fact.row.committed_at,
        None if event.reference is None else str(event.reference),
    )


def _journal(fact: Fact, event: JournalPosted | JournalReserved) -> tuple[Any, ...]:
    owners = {figures.account_id: figures.owner for figures in event.figures}
    lines = [
        {
            "account_id": leg.account_id,
            "direction": leg.direction.value,
            "amount": text_of(leg.amount),
            "asset": leg.asset,
            "owner": owners.get(leg.account_id),
        }
        for leg in event.legs
    ]
    posted = isinstance(event, JournalPosted)
    return (
        event.journal_id,
        event.kind.value,
        POSTED if posted else PENDING,
        None if event.reference is None else str(event.reference),
        fact.row.committed_at,
        fact.written.correlation_id,
        fact.position,
        event.reverses if isinstance(event, JournalPosted) else None,
        event.resolves if isinstance(event, JournalPosted) else None,
        msgspec.json.encode(lines).decode(),
    )
