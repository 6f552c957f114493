"""Runs the migrations in this process, under an advisory lock so that several starters wait for one another."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config

_LOCK = 0x1574_0001


async def migrate(admin_url: str, app_role: str | None = "isthmus_app") -> None:
    """Bring the database at `admin_url` to the newest revision and grant `app_role` (made if it is missing) what it needs."""
    connection = await asyncpg.connect(admin_url)
    try:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        # Alembic is synchronous outside and runs its own event loop inside: a thread keeps ours free.
        await asyncio.to_thread(_upgrade, admin_url, app_role)
        # Plans made on empty tables keep scanning them as they grow.
        await connection.execute("analyze")
    finally:
        await connection.close()


def config(admin_url: str, app_role: str | None) -> Config:
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    alembic.attributes["url"] = admin_url
    alembic.attributes["app_role"] = app_role
    return alembic


def _upgrade(admin_url: str, app_role: str | None) -> None:
    command.upgrade(config(admin_url, app_role), "head")
