"""Alembic's entry. Every revision runs with short lock and statement limits: a migration never queues the product behind it."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool


def _run(connection: Connection) -> None:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        # Of the session, which ends with the migrations: `set local` would hold for the first revision's transaction alone.
        context.execute("set lock_timeout = '4s'")
        context.execute("set statement_timeout = '60s'")
        context.run_migrations()


async def _main() -> None:
    url: str = context.config.attributes["url"]
    scheme, rest = url.split("://", 1)
    assert scheme in ("postgresql", "postgres")
    engine = create_async_engine(f"postgresql+asyncpg://{rest}", poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(_run)
        await connection.commit()
    await engine.dispose()


asyncio.run(_main())
