"""The read models made anew from the event store, while everything goes on; and the proof that both ways give the same rows.

The new tables grow beside the old ones, by the same code that the projectors run. For the last stretch the projectors wait: it is
caught up and the schemas are swapped in one transaction, so that a statement sees the old tables or the new ones and never both.
(Under READ COMMITTED, as all our readers are. An older snapshot would find the new tables by name and none of their rows.)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import msgspec

from isthmus.domain.log import PARTITIONS
from isthmus.read_models.positions import stored_positions
from isthmus.read_models.projections import CHANNEL, CURRENT, NEXT, Step, advance_or_park, ensure_positions, read_steps
from isthmus.read_models.projections.facts import Connection
from isthmus.read_models.projections.parked import NEEDS_ATTENTION

BATCH = 1_000
#: So few events are left when the projectors are made to wait.
LAST_STRETCH = 500
_LOCK = 0x1574_0002
_SWAP_TRIES = 20
_LOCK_TIMEOUT = "1s"

#: Every table of a read-model schema but the positions and what is set aside, which are looked at by themselves.
TABLES = (
    "accounts",
    "account_counts",
    "balance_history",
    "transactions",
    "journals",
    "audit_events",
    "audit_visibility",
)

Progress = Callable[[int, int], None]


class RebuildRefused(Exception):
    """The message is a sentence for whoever asked."""


@dataclass(frozen=True)
class Rebuilt:
    """`position`: up to where the new tables are complete, at the swap."""

    position: int
    events: int


@dataclass(frozen=True)
class Difference:
    """A table whose rows are not the same: how many only one side has, and one of them."""

    table: str
    rows: int
    example: str


async def rebuild(connection: Connection, progress: Progress = lambda _at, _of: None) -> Rebuilt:
    """`connection` is this rebuild's own. Raises RebuildRefused where another is under way."""
    async with _alone(connection):
        await _begin(connection)
        position = await _grow(connection, progress)
        for attempt in range(1, _SWAP_TRIES + 1):
            try:
                async with connection.transaction():
                    await _hold_projectors(connection)
                    position = await _catch_up(connection, NEXT, await _head(connection))
                    await _swap(connection, position)
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                if attempt == _SWAP_TRIES:
                    raise RebuildRefused("the tables are in use all the time: try again when it is quieter") from None
                await asyncio.sleep(min(0.1 * attempt, 1.0))
            else:
                break
        progress(position, position)
        return Rebuilt(position, position)


async def compare(connection: Connection) -> list[Difference]:
    """The read models against fresh ones, row by row, byte by byte, both brought to the log's end. No difference: an empty list.

    What is set aside is missing on both sides, so that the rows would agree: it is told as a difference of its own.
    """
    async with _alone(connection):
        await _begin(connection)
        await _grow(connection, lambda _at, _of: None)
        try:
            async with connection.transaction():
                await _hold_projectors(connection)
                head = await _head(connection)
                await _catch_up(connection, NEXT, head)
                await _catch_up(connection, CURRENT, head)
                different = [found for table in TABLES if (found := await _difference(connection, table)) is not None]
                return [*different, *await _parked(connection)]
        finally:
            await connection.execute("select drop_next_read_models()")


@asynccontextmanager
async def _alone(connection: Connection) -> AsyncIterator[None]:
    if not await connection.fetchval("select pg_try_advisory_lock($1)", _LOCK):
        raise RebuildRefused("another rebuild or comparison is under way: wait until it ends")
    try:
        # A batch is large, and nobody waits for it. What is lost in a crash is begun again.
        await connection.execute("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0")
        await connection.execute("set synchronous_commit = off")
        yield
    finally:
        await connection.execute(
            "reset statement_timeout; reset idle_in_transaction_session_timeout; reset synchronous_commit"
        )
        await connection.fetchval("select pg_advisory_unlock($1)", _LOCK)


async def _begin(connection: Connection) -> None:
    """What a rebuild that died left behind goes first."""
    await connection.execute("select drop_next_read_models()")
    await connection.execute("select create_read_models($1)", NEXT)
    await ensure_positions(connection, NEXT)


async def _grow(connection: Connection, progress: Progress) -> int:
    """Until hardly anything is left. Writers go on meanwhile; whoever is faster than this reading would keep it here for ever,
    so that after a few rounds the rest is left to the last stretch."""
    position, head, rounds = 0, await _head(connection), 0
    while head - position > LAST_STRETCH and rounds < 20:
        while position < head:
            async with connection.transaction():
                position = await _catch_up(connection, NEXT, min(position + BATCH, head))
            progress(position, head)
        head, rounds = await _head(connection), rounds + 1
    return position


async def _catch_up(connection: Connection, schema: str, end: int) -> int:
    """Bring every partition of `schema` to `end`, in the transaction that is open."""
    stored = await stored_positions(connection, schema)
    while behind := {number: at for number, at in stored.items() if at < end}:
        upto = min(end, min(behind.values()) + BATCH)
        steps: dict[int, Step] = await read_steps(
            connection, {number: at for number, at in behind.items() if at < upto}, upto
        )
        stored |= await advance_or_park(connection, steps, schema)
    return end


async def _hold_projectors(connection: Connection) -> None:
    """They lock these rows first, so here they wait, and find themselves moved on afterwards."""
    await connection.execute(f"set local lock_timeout = '{_LOCK_TIMEOUT}'")
    await connection.execute(f"lock table {CURRENT}.projection_positions in access exclusive mode")


async def _swap(connection: Connection, position: int) -> None:
    await connection.execute("select swap_read_models()")
    news = {str(partition): position for partition in range(PARTITIONS)}
    await connection.execute("select pg_notify($1, $2)", CHANNEL, msgspec.json.encode(news).decode())


async def _head(connection: Connection) -> int:
    head: int = await connection.fetchval("select position from log_head")
    return head


async def _parked(connection: Connection) -> list[Difference]:
    row = await connection.fetchrow(
        f"select count(*) as rows, min('{NEEDS_ATTENTION}: position ' || position || ', ' || reason) as example "
        f"from (select position, reason from {CURRENT}.parked_events union select position, reason from {NEXT}.parked_events) p"
    )
    assert row is not None, "a count has a row"
    return [Difference("parked_events", row["rows"], row["example"])] if row["rows"] else []


async def _difference(connection: Connection, table: str) -> Difference | None:
    """As text, so that 1.0 and 1.00 differ."""
    row = await connection.fetchrow(
        f"with old as (select t::text as row from {CURRENT}.{table} t), new as (select t::text as row from {NEXT}.{table} t), "
        "different as ("
        "(select 'only in the read models: ' || row as row from (select row from old except all select row from new) a) union all "
        "(select 'only in the rebuild: ' || row from (select row from new except all select row from old) b)"
        ") select count(*) as rows, min(row) as example from different"
    )
    assert row is not None, "a count has a row"
    return Difference(table, row["rows"], row["example"]) if row["rows"] else None
