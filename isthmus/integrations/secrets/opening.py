"""The master key that the settings name."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from isthmus.integrations.secrets.file_master_key import FileMasterKey
from isthmus.integrations.secrets.master_key import MasterKey
from isthmus.integrations.secrets.rotation import Place
from isthmus.settings import Settings

ROOT_SECRET = Place("root_secret", "one", "wrapped", lambda _: b"root secret")


async def open_master_key(settings: Settings, database_url: str, *, create: bool = True) -> MasterKey:
    """`create`: make one where there is none. Raises MasterKeyError."""
    del database_url
    file = settings.master_key_file
    return FileMasterKey.load_or_create(file) if create else FileMasterKey(file)


def opened_master_key(settings: Settings, database_url: str) -> MasterKey:
    """As `open_master_key`, for where nothing can be awaited yet: at the start of a process."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, open_master_key(settings, database_url)).result()
