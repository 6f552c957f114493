"""Which versions of the master keys are in use: rows of `master_key_versions`. The newest wraps what is new, in every process.

So a version is first brought wherever it is needed and only then made active here; and as everything that is wrapped refers to its
row, no version can go while something is under it, not even something that is being written.
"""

from __future__ import annotations

from typing import Any

from isthmus.integrations.secrets.master_key import Kind


async def active_version(connection: Any, kind: Kind) -> int | None:
    """The one to wrap with."""
    found: int | None = await connection.fetchval(
        "select max(version) from master_key_versions where master_key = $1", kind
    )
    return found


async def activate(connection: Any, kind: Kind, version: int) -> None:
    """Never one that is older than what is active: it may have been retired."""
    await connection.execute(
        "insert into master_key_versions (master_key, version) select $1, $2 where not exists "
        "(select from master_key_versions where master_key = $1 and version >= $2) on conflict do nothing",
        kind,
        version,
    )
