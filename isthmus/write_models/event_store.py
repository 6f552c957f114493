"""Reading the event store: streams, single events and stretches of the log, lifted to today's schema versions."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from isthmus.domain.event_codec import decode
from isthmus.domain.events import Event
from isthmus.domain.ledger import Hold, JournalEvent, JournalPosted, JournalReserved, evolve_hold
from isthmus.write_models.connection import Connection
from isthmus.write_models.envelope import Recorded

_COLUMNS = "position, event_id, type, schema_version, data::text as data, metadata->>'correlation_id' as correlation_id, committed_at"


def recorded(row: asyncpg.Record) -> Recorded:
    event = decode(row["type"], row["schema_version"], json.loads(row["data"]))
    return Recorded(event, row["event_id"], row["position"], row["committed_at"], row["correlation_id"])


async def load_stream(connection: Connection, aggregate_id: UUID) -> list[Event]:
    rows = await connection.fetch(
        f"select {_COLUMNS} from event_store where aggregate_id = $1 order by version", aggregate_id
    )
    return [recorded(row).event for row in rows]


async def first_at(connection: Connection, aggregate_id: UUID, event: type) -> datetime | None:
    """When the first of its kind happened there; None where none did."""
    found: datetime | None = await connection.fetchval(
        "select min(committed_at) from event_store where aggregate_id = $1 and type = $2", aggregate_id, event.__name__
    )
    return found


async def load_positions(connection: Connection, positions: Sequence[int]) -> dict[int, Recorded]:
    rows = await connection.fetch(
        f"select {_COLUMNS} from event_store where position = any($1::bigint[])", list(positions)
    )
    return {row["position"]: recorded(row) for row in rows}


async def load_streams(connection: Connection, aggregate_ids: Sequence[UUID]) -> dict[UUID, list[Event]]:
    """Whole streams. One that is not there yet is empty, and is in no key."""
    rows = await connection.fetch(
        f"select aggregate_id, {_COLUMNS} from event_store where aggregate_id = any($1::uuid[]) order by aggregate_id, version",
        list(aggregate_ids),
    )
    streams: dict[UUID, list[Event]] = defaultdict(list)
    for row in rows:
        streams[row["aggregate_id"]].append(recorded(row).event)
    return streams


async def load_holds(connection: Connection, hold_ids: Sequence[UUID]) -> dict[UUID, Hold]:
    streams = await load_streams(connection, hold_ids)
    holds: dict[UUID, Hold] = {}
    for hold_id, events in streams.items():
        hold: Hold | None = None
        for event in events:
            if isinstance(event, JournalEvent):
                hold = evolve_hold(hold, event)
        if hold is not None:
            holds[hold_id] = hold
    return holds


async def load_posted(connection: Connection, journal_ids: Sequence[UUID]) -> dict[UUID, JournalPosted]:
    """Posted journals by id, wherever their event is (a hold's post is in the hold's stream)."""
    rows = await connection.fetch(
        f"select {_COLUMNS} from event_store where event_id in (select event_id from journal_entries where id = any($1::uuid[]))",
        list(journal_ids),
    )
    posted = (recorded(row).event for row in rows)
    return {event.journal_id: event for event in posted if isinstance(event, JournalPosted)}


async def load_reversed(connection: Connection, journal_ids: Sequence[UUID]) -> set[UUID]:
    rows = await connection.fetch(
        "select reverses from journal_entries where reverses = any($1::uuid[])", list(journal_ids)
    )
    return {row["reverses"] for row in rows}


def accounts_of(event: JournalPosted | JournalReserved) -> set[UUID]:
    return {leg.account_id for leg in event.legs}
