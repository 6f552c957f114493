"""Another version of the master key, everything wrapped anew under it, and old versions taken away: while the product runs.

Nothing here has to come to its end: what was wrapped anew stays so, what was not still opens, and `rotate` goes on where it was.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from isthmus.integrations.secrets.master_key import Kind, MasterKey, MasterKeyAway, MasterKeyError, Wrapped
from isthmus.integrations.secrets.versions import activate, active_version

#: What is locked and lost at once.
BATCH = 200
_LOCK = 0x1574_0009


class RotationRefused(Exception):
    """A sentence for the operator; nothing was changed."""


@dataclass(frozen=True)
class Place:
    """A table where something is wrapped. `context_of` says for an id what it was bound to."""

    table: str
    id: str
    wrapped: str
    context_of: Callable[[Any], bytes]


@dataclass(frozen=True)
class Rotated:
    version: int
    rewrapped: int
    #: What does not open under any version that is there.
    unreadable: int


@dataclass(frozen=True)
class VersionInUse:
    kind: Kind
    version: int
    active_since: datetime | None
    counts: dict[str, int]


async def rotate(
    connection: Any, master: MasterKey, places: Sequence[Place], progress: Callable[[int, int], None]
) -> Rotated:
    """Goes on with what was begun; begins anew only where nothing was. Raises RotationRefused, MasterKeyError."""
    async with _alone(connection):
        version = await _begun(connection, master, places)
        total = sum([await _left(connection, place, master.kind, version) for place in places])
        done = 0
        progress(done, total)
        while True:  # what was being written while we passed by is met the next time
            passed = unreadable = 0
            for place in places:
                after = None
                while rows := await _batch(connection, place, master.kind, version, after):
                    after = rows[-1]["id"]
                    failed = await _rewrap(connection, master, place, version, rows)
                    unreadable += failed
                    passed += len(rows) - failed
                    progress(done + passed, max(done + passed, total))
            done += passed
            if not passed:
                return Rotated(version, done, unreadable)


async def prepare(connection: Any, master: MasterKey) -> int:
    """A version that nothing uses yet, to be brought to every machine. The one that waits, if one does."""
    async with _alone(connection):
        newest = (await master.versions())[-1]
        active = await active_version(connection, master.kind)
        return newest if active is None or newest > active else await master.add_version()


async def retire(connection: Any, master: MasterKey, places: Sequence[Place], version: int) -> None:
    """Raises RotationRefused where it is the active one, or anything is still under it."""
    async with _alone(connection):
        active = await active_version(connection, master.kind)
        if active is None or version >= active:
            raise RotationRefused(f"version {version} is not older than the active version {active}")
        if version not in await master.versions():
            raise RotationRefused(f"there is no version {version}")
        # Of a vault, whatever is older goes with it: it knows the least version that it still opens.
        older = "version <= $2" if master.kind == "vault" else "version = $2"
        under = sum([await _under(connection, place, master.kind, older, version) for place in places])
        if under:
            raise RotationRefused(f"{under} keys are still wrapped under it; `isthmus secrets rotate` wraps them anew")
        try:
            await connection.execute(
                f"delete from master_key_versions where master_key = $1 and {older}", master.kind, version
            )
        except asyncpg.ForeignKeyViolationError:  # one that was being written while we counted
            raise RotationRefused("a key was wrapped under it just now; try again") from None
        await master.drop_version(version)


async def status(connection: Any, master: MasterKey, places: Sequence[Place]) -> list[VersionInUse]:
    """Every version that is active, was, or waits (`active_since` is None), with what is wrapped under it."""
    rows = await connection.fetch("select master_key, version, active_since from master_key_versions order by 1, 2")
    since = {(row["master_key"], row["version"]): row["active_since"] for row in rows}
    for version in await master.versions():
        since.setdefault((master.kind, version), None)
    counts: dict[tuple[Kind, int], dict[str, int]] = {which: {} for which in since}
    for place in places:
        for row in await connection.fetch(
            f"select master_key, master_key_version, count(*) from {place.table} group by 1, 2"
        ):
            counts[row["master_key"], row["master_key_version"]][place.table] = row["count"]
    return [
        VersionInUse(kind, version, since[kind, version], counts[kind, version]) for kind, version in sorted(counts)
    ]


@asynccontextmanager
async def _alone(connection: Any) -> AsyncIterator[None]:
    if not await connection.fetchval("select pg_try_advisory_lock($1)", _LOCK):
        raise RotationRefused("another `isthmus secrets` is at work")
    try:
        yield
    finally:
        await connection.execute("select pg_advisory_unlock($1)", _LOCK)


async def _begun(connection: Any, master: MasterKey, places: Sequence[Place]) -> int:
    active = await active_version(connection, master.kind)
    newest = (await master.versions())[-1]
    if active is not None and newest <= active:
        if sum([await _left(connection, place, master.kind, active) for place in places]):
            return active
        newest = await master.add_version()
    await activate(connection, master.kind, newest)
    return newest


async def _left(connection: Any, place: Place, kind: Kind, version: int) -> int:
    count: int = await connection.fetchval(
        f"select count(*) from {place.table} where (master_key, master_key_version) <> ($1, $2)", kind, version
    )
    return count


async def _under(connection: Any, place: Place, kind: Kind, older: str, version: int) -> int:
    condition = older.replace("version", "master_key_version")
    count: int = await connection.fetchval(
        f"select count(*) from {place.table} where master_key = $1 and {condition}", kind, version
    )
    return count


async def _batch(connection: Any, place: Place, kind: Kind, version: int, after: Any) -> list[Any]:
    found: list[Any] = await connection.fetch(
        f"select {place.id} as id, {place.wrapped} as blob, master_key, master_key_version from {place.table} "
        f"where (master_key, master_key_version) <> ($1, $2) {'' if after is None else f'and {place.id} > $3'} "
        f"order by {place.id} limit {BATCH}",
        *((kind, version) if after is None else (kind, version, after)),
    )
    return found


async def _rewrap(connection: Any, master: MasterKey, place: Place, version: int, rows: Sequence[Any]) -> int:
    """How many did not open. One that was replaced or destroyed meanwhile is left as it is."""
    try:
        blobs = await master.rewrap_many(version, [_wrapped(place, row) for row in rows])
    except MasterKeyAway:
        raise
    except MasterKeyError:
        if len(rows) == 1:
            return 1
        return sum([await _rewrap(connection, master, place, version, [row]) for row in rows])
    await connection.executemany(
        f"update {place.table} set {place.wrapped} = $3, master_key = $4, master_key_version = $5 "
        f"where {place.id} = $1 and {place.wrapped} = $2",
        [(row["id"], row["blob"], blob, master.kind, version) for row, blob in zip(rows, blobs, strict=True)],
    )
    return 0


def _wrapped(place: Place, row: Any) -> tuple[Wrapped, bytes]:
    return Wrapped(row["master_key"], row["master_key_version"], row["blob"]), place.context_of(row["id"])
