"""Payments that operators are to look into, with what the provider said of each, from the write side's own tables: never behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from isthmus.domain.payment_decisions import PaymentDecisionProposed
from isthmus.domain.payment_events import Payment, PaymentEvidenceKept, Source, fold
from isthmus.read_models.database import ACQUIRE_TIMEOUT_S
from isthmus.read_models.payments import PaymentReader, PaymentRow
from isthmus.read_models.streams import streams_of

_PARKED = "p.parked is not null and p.parked <> 'REVIEW'"


@dataclass(frozen=True)
class Told:
    """What a provider said, and when we heard it."""

    told: str
    at: datetime


@dataclass(frozen=True)
class Proposal:
    """`reason` is sealed."""

    made: PaymentDecisionProposed = field(repr=False)
    at: datetime


@dataclass(frozen=True)
class ParkedRow:
    row: PaymentRow
    payment: Payment
    why: str
    since: datetime
    evidence: tuple[Told, ...]
    proposal: Proposal | None

    @property
    def reserved(self) -> Decimal:
        """As long as it is not known that it was executed, or that it never will be."""
        held = self.row.state in ("AWAITING_SCA", "AUTHORISED", "SUBMITTED")
        return self.row.amount if held and self.row.source == Source.OWN else Decimal(0)


class ParkedReader:
    def __init__(self, pool: asyncpg.Pool, payments: PaymentReader) -> None:
        self._pool = pool
        self._payments = payments

    async def page(self, first: int, after: tuple[datetime, UUID] | None) -> tuple[list[ParkedRow], bool]:
        """Whosever they are, longest first; and whether there are more."""
        since, key = after or (None, None)
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            found = await connection.fetch(
                f"select p.id, p.parked, p.parked_since from payments p where {_PARKED} "
                "and ($1::timestamptz is null or (p.parked_since, p.id) > ($1, $2::uuid)) order by p.parked_since, p.id limit $3",
                since,
                key,
                first + 1,
            )
        return await self._rows(found[:first]), len(found) > first

    async def find(self, payment_id: UUID) -> ParkedRow | None:
        """None where nobody need look at it any more."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            found = await connection.fetch(
                f"select p.id, p.parked, p.parked_since from payments p where {_PARKED} and p.id = $1", payment_id
            )
        rows = await self._rows(found)
        return rows[0] if rows else None

    async def count(self) -> int:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            counted: int = await connection.fetchval(f"select count(*) from payments p where {_PARKED}")
        return counted

    async def _rows(self, found: list[asyncpg.Record]) -> list[ParkedRow]:
        keys = [one["id"] for one in found]
        if not keys:
            return []
        rows = await self._payments.load_any(keys)
        streams = await streams_of(self._pool, keys)
        made = []
        for one, shown in zip(found, rows, strict=True):
            stream = streams.get(one["id"], [])
            payment = fold(event for event, _ in stream)
            if shown is None or payment is None:
                continue
            told = tuple(Told(event.told, at) for event, at in stream if isinstance(event, PaymentEvidenceKept))
            proposals = [
                Proposal(event, at)
                for event, at in stream
                if isinstance(event, PaymentDecisionProposed) and event is payment.proposed
            ]
            made.append(
                ParkedRow(shown, payment, one["parked"], one["parked_since"], told, proposals[0] if proposals else None)
            )
        return made
