"""What it looks like from here that PostgreSQL is away: an outage, which heals, and no bug of ours."""

from __future__ import annotations

import asyncpg

#: The connection, not what was asked, is at fault. After COMMIT was sent this leaves the outcome unknown.
DATABASE_AWAY: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
