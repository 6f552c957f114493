"""The audit trail: every event that a person may see, in the order it was committed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from isthmus.read_models.database import ACQUIRE_TIMEOUT_S, Sight

_COLUMNS = (
    "e.position, e.event_id, e.aggregate_type, e.aggregate_id, e.version, e.event_type, e.occurred_at, "
    "e.correlation_id, e.causation_id, e.actor, e.hash"
)


@dataclass(frozen=True)
class AuditRow:
    position: int
    event_id: UUID
    aggregate_type: str
    aggregate_id: UUID
    version: int
    event_type: str
    occurred_at: datetime
    correlation_id: str
    causation_id: str | None
    actor: str
    hash: bytes


class AuditReader:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def page(
        self, sight: Sight, correlation_id: str | None, first: int, after: int | None
    ) -> tuple[list[AuditRow], bool]:
        """The events after position `after`, and whether there are more."""
        arguments: list[object] = [after or 0, first + 1]
        source, conditions = "read_models.audit_events e", ["e.position > $1"]
        if not sight.all_trails:
            arguments.append(sight.person)
            source += " join read_models.audit_visibility v on v.position = e.position"
            conditions += ["v.position > $1", "v.person = $3"]
        if correlation_id is not None:
            arguments.append(correlation_id)
            conditions.append(f"e.correlation_id = ${len(arguments)}")
        # A text per question, not one with "or is null": a plan for both would read the whole trail.
        text = f"select {_COLUMNS} from {source} where {' and '.join(conditions)} order by e.position limit $2"
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(text, *arguments)
        return [AuditRow(**row) for row in rows[:first]], len(rows) > first
