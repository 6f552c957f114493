"""Cases of reconciliation, from the write side's own table and therefore never behind; what is proposed for one is read in the log, where
whoever confirms it is held to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from isthmus.domain.reconciliation_cases import Difference, fold
from isthmus.domain.suspense_decisions import SuspenseDecisionProposed
from isthmus.read_models.database import ACQUIRE_TIMEOUT_S
from isthmus.read_models.streams import streams_of

_COLUMNS = """id as case_id, provider, asset, difference, why, journal_id, entry_id, ours, theirs, booked_at, opened_at, closed_at,
    closed_by, reason"""
_IN_STATE = "($1::boolean is null or (closed_at is null) = $1)"


@dataclass(frozen=True)
class SuspenseProposal:
    """`reason` is sealed."""

    made: SuspenseDecisionProposed = field(repr=False)
    at: datetime


@dataclass(frozen=True)
class CaseRow:
    """`reason` is sealed."""

    case_id: UUID
    provider: str
    asset: str
    difference: str
    why: str | None
    journal_id: UUID | None
    entry_id: str | None
    ours: Decimal | None
    theirs: Decimal | None
    booked_at: datetime
    opened_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    reason: str | None
    proposal: SuspenseProposal | None = None


class CaseReader:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def page(
        self, first: int, after: tuple[datetime, UUID] | None, *, is_open: bool | None
    ) -> tuple[list[CaseRow], bool]:
        """Oldest first; and whether there are more. `is_open` None: whether or not."""
        opened_at, key = after or (None, None)
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"select {_COLUMNS} from reconciliation_cases where {_IN_STATE} "
                "and ($2::timestamptz is null or (opened_at, id) > ($2, $3::uuid)) order by opened_at, id limit $4",
                is_open,
                opened_at,
                key,
                first + 1,
            )
        return await self._with_proposals([CaseRow(**row) for row in rows[:first]]), len(rows) > first

    async def count(self, *, is_open: bool | None) -> int:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            counted: int = await connection.fetchval(
                f"select count(*) from reconciliation_cases where {_IN_STATE}", is_open
            )
        return counted

    async def find(self, case_id: UUID) -> CaseRow | None:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            row = await connection.fetchrow(f"select {_COLUMNS} from reconciliation_cases where id = $1", case_id)
        if row is None:
            return None
        (found,) = await self._with_proposals([CaseRow(**row)])
        return found

    async def _with_proposals(self, rows: Sequence[CaseRow]) -> list[CaseRow]:
        waiting = [row.case_id for row in rows if row.difference == Difference.UNASSIGNED and row.closed_at is None]
        proposals: dict[UUID, SuspenseProposal] = {}
        for case_id, stream in (await streams_of(self._pool, waiting)).items():
            case = fold(event for event, _ in stream)
            for event, at in stream:
                if case is not None and isinstance(event, SuspenseDecisionProposed) and event is case.proposed:
                    proposals[case_id] = SuspenseProposal(event, at)
        return [replace(row, proposal=proposals.get(row.case_id)) for row in rows]
