"""The master key that the settings name."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import asyncpg

from isthmus.integrations.secrets.file_master_key import FileMasterKey
from isthmus.integrations.secrets.master_key import MasterKey
from isthmus.settings import Settings


async def open_master_key(settings: Settings, database_url: str, *, create: bool = True) -> MasterKey:
    """`create`: make a file where there is none. Raises MasterKeyError, and asyncpg's errors where there is no database."""
    file = settings.master_key_file
    if settings.secrets.provider == "file":
        return FileMasterKey.load_or_create(file) if create else FileMasterKey(file)
    from isthmus.integrations.secrets.transit import Transit  # only where there is one
    from isthmus.integrations.secrets.vault_master_key import VaultMasterKey

    connection = await asyncpg.connect(database_url, timeout=5)
    try:
        before = FileMasterKey(file) if file.exists() else None
        return await VaultMasterKey.opened(connection, Transit(settings.secrets), before)
    finally:
        await connection.close()


def opened_master_key(settings: Settings, database_url: str) -> MasterKey:
    """As `open_master_key`, for where nothing can be awaited yet: at the start of a process."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, open_master_key(settings, database_url)).result()
