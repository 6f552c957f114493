"""What time it is for all processes: whatever ends is made to end, and is found to be over, by one clock."""

from __future__ import annotations

from datetime import datetime

from isthmus.domain.clock import Clock
from isthmus.write_models.connection import Connection


async def shared_now(connection: Connection, clock: Clock) -> datetime:
    """The database's clock, or a test's in its place. A process whose own clock is five minutes behind would otherwise issue challenges
    that are over when they are made."""
    now: datetime = clock.stamp() or await connection.fetchval("select clock_timestamp()")
    return now
