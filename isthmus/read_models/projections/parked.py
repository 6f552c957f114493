"""Records that this release cannot project: set aside, so that the rest of their partition goes on.

What is set aside concerns one account, and whatever comes after it in that account is set aside behind it, in order: its rows stay
what they were before, whole, and never skip a movement. Evidence is a reference, a reason and a count; the event itself stands in
the event store, so that nothing personal is copied (docs/adr/0011).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from isthmus.domain.event_codec import UnknownEvent
from isthmus.domain.log import Record, partition_of
from isthmus.read_models.database import Sight
from isthmus.read_models.projections.accounts import Behind
from isthmus.read_models.projections.facts import Connection, columns

NEEDS_ATTENTION = "NEEDS_ATTENTION"

#: What an event itself is to blame for. Anything else (the database away, a table missing, a bug of ours) stops the partition: it
#: would go wrong with every event.
POISON: tuple[type[Exception], ...] = (
    UnknownEvent,
    Behind,
    msgspec.MsgspecError,
    ValueError,
    ArithmeticError,
    KeyError,
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
)

_INSERT = """
insert into {schema}.parked_events
    (partition, account_id, position, event_id, aggregate_type, aggregate_id, event_type, schema_version, reason, tries)
select * from unnest($1::smallint[], $2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::uuid[], $7::text[], $8::integer[],
    $9::text[], $10::integer[])
on conflict (account_id, position) do update set reason = excluded.reason, tries = parked_events.tries + excluded.tries,
    last_tried = clock_timestamp()"""


@dataclass(frozen=True)
class ParkedEvent:
    """A line of the list of what needs attention. `reason` holds no value of the event."""

    partition: int
    account_id: UUID
    position: int
    event_id: UUID
    event_type: str
    schema_version: int
    reason: str
    state: str
    tries: int
    first_tried: datetime
    last_tried: datetime


def why(error: Exception) -> str:
    """Of POISON in words that quote nothing of the event: its type and version, the place in it, or the kind of error."""
    if isinstance(error, UnknownEvent) or not isinstance(error, POISON):
        return f"{type(error).__name__}: {error}"
    place = str(error).partition(" - at ")[2] if isinstance(error, msgspec.MsgspecError) else ""
    return f"{type(error).__name__}{place and f' at {place}'}"[:200]


def behind(position: int) -> str:
    return f"behind position {position}"


async def park(connection: Connection, schema: str, found: Iterable[tuple[Record, str]], tries: int) -> None:
    rows = [
        (
            partition_of(record.key),
            record.key,
            record.position,
            record.event.event_id,
            record.event.aggregate_type,
            record.event.aggregate_id,
            record.event.type,
            record.event.schema_version,
            reason,
            tries,
        )
        for record, reason in found
    ]
    if rows:
        await connection.execute(_INSERT.format(schema=schema), *columns(rows, 10))


async def parked_in(connection: Connection, schema: str, partitions: Sequence[int]) -> dict[UUID, int]:
    """The accounts of these partitions that have something set aside, each with the first position."""
    rows = await connection.fetch(
        f"select account_id, min(position) as position from {schema}.parked_events where partition = any($1::smallint[]) "
        "group by account_id",
        partitions,
    )
    return {row["account_id"]: row["position"] for row in rows}


async def parked_of(connection: Connection, sight: Sight, accounts: Iterable[UUID]) -> set[UUID]:
    """Those of the accounts that may be seen whose rows are not whole."""
    rows = await connection.fetch(
        "select distinct p.account_id from read_models.parked_events p join accounts a on a.id = p.account_id "
        "where p.account_id = any($1::uuid[]) and (a.owner = $2 or $3)",
        list(accounts),
        sight.person,
        sight.all_accounts,
    )
    return {row["account_id"] for row in rows}


async def parked_positions(connection: Connection, schema: str, partition: int) -> list[tuple[int, UUID]]:
    """(position, account) of all that is set aside in a partition, in log order."""
    rows = await connection.fetch(
        f"select position, account_id from {schema}.parked_events where partition = $1 order by position, account_id",
        partition,
    )
    return [(row["position"], row["account_id"]) for row in rows]


async def unpark(connection: Connection, schema: str, done: Iterable[tuple[int, UUID]]) -> None:
    await connection.execute(
        f"delete from {schema}.parked_events p using unnest($1::bigint[], $2::uuid[]) as u (position, account_id) "
        "where p.position = u.position and p.account_id = u.account_id",
        *columns(done, 2),
    )


async def parked_events(connection: Connection, limit: int = 1_000) -> list[ParkedEvent]:
    """The oldest, in log order."""
    rows = await connection.fetch(
        "select partition, account_id, position, event_id, event_type, schema_version, reason, state, tries, first_tried, "
        "last_tried from read_models.parked_events order by position, account_id limit $1",
        limit,
    )
    return [ParkedEvent(**row) for row in rows]


def sifted(records: Iterable[Record], blocked: Mapping[UUID, int]) -> tuple[list[Record], list[tuple[Record, str]]]:
    """Those that may be applied, and those that must wait behind what is set aside of their account."""
    free: list[Record] = []
    waiting: list[tuple[Record, str]] = []
    for record in records:
        if record.key in blocked:
            waiting.append((record, behind(blocked[record.key])))
        else:
            free.append(record)
    return free, waiting
