"""Holds whose time is over are voided, by the same bus as every other wish. The timer is only what wakes this up."""

from __future__ import annotations

from uuid import UUID

from isthmus.domain.clock import Clock
from isthmus.domain.holds import VoidHold
from isthmus.domain.ledger import VoidReason
from isthmus.write_models.commands import PLATFORM, CommandBus, Done, Envelope
from isthmus.write_models.connection import Pool

ACTOR = "service:timers"
_DUE = """
select j.id from journal_entries j
where j.phase = 'PENDING' and j.expires_at <= coalesce($1, statement_timestamp())
    and not exists (select from journal_entries r where r.resolves = j.id)
order by j.expires_at limit $2"""


async def expire_hold(bus: CommandBus, hold_id: UUID) -> bool:
    """Void the hold if its time is over and it is still open. Safe to repeat: the key is the hold itself."""
    envelope = Envelope(
        actor=ACTOR,
        person=PLATFORM,
        mutation="expireHold",
        idempotency_key=str(hold_id),
        body={"hold": str(hold_id)},
        correlation_id=f"hold-{hold_id}",
    )
    outcome = await bus.run(VoidHold(hold_id, VoidReason.EXPIRED), envelope)
    return isinstance(outcome, Done) and bool(outcome.events)


async def expire_due_holds(pool: Pool, bus: CommandBus, clock: Clock, limit: int = 500) -> int:
    """Void every open hold that is over. Returns how many were."""
    async with pool.acquire() as connection:
        rows = await connection.fetch(_DUE, clock.stamp(), limit)
    return sum([await expire_hold(bus, row["id"]) for row in rows])
