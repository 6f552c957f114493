"""The quick no: a person who was over their limit a moment ago is told so again, before anything is locked for them.

The database decides (`spending.py`). A wish that was answered before gets that answer again, whatever is remembered here.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from isthmus.domain.compliance import Limits, limit_fault
from isthmus.domain.refusals import LimitExceeded
from isthmus.write_models.connection import Pool
from isthmus.write_models.envelope import Envelope
from isthmus.write_models.idempotency import was_answered


class Velocity(Protocol):
    """Fast and forgetful. Raises nothing: where it cannot be asked, nothing is remembered."""

    async def used(self, person: UUID, asset: str, now: datetime) -> Decimal | None: ...

    async def remember(self, person: UUID, asset: str, used: Decimal, now: datetime) -> None: ...

    async def forget(self, person: UUID, asset: str, now: datetime) -> None: ...


class NoVelocity:
    """Where there is no Redis: the database is always asked."""

    async def used(self, person: UUID, asset: str, now: datetime) -> Decimal | None:  # noqa: ARG002 - as the port has it
        return None

    async def remember(self, person: UUID, asset: str, used: Decimal, now: datetime) -> None:
        pass

    async def forget(self, person: UUID, asset: str, now: datetime) -> None:
        pass


async def quick_no(
    velocity: Velocity, pool: Pool, limits: Limits, envelope: Envelope, asset: str, amount: Decimal, now: datetime
) -> LimitExceeded | None:
    """`envelope.person`: who would pay."""
    used = await velocity.used(envelope.person, asset, now)
    if used is None:
        return None
    fault = limit_fault(limits, asset, amount, used, now)
    if fault is None or fault.resets_at is None:
        return None
    return None if await answered(pool, envelope) else fault


async def answered(pool: Pool, envelope: Envelope) -> bool:
    """As `was_answered`."""
    async with pool.acquire() as connection:
        return await was_answered(connection, envelope)
