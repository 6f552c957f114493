"""Whole streams of the log, where what is shown follows from events and not from a table: what waits for an operator's word."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from isthmus.domain.event_codec import decode
from isthmus.domain.events import Event
from isthmus.read_models.database import ACQUIRE_TIMEOUT_S


async def streams_of(pool: asyncpg.Pool, keys: Sequence[UUID]) -> dict[UUID, list[tuple[Event, datetime]]]:
    """Oldest first, each with when it was committed."""
    if not keys:
        return {}
    async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        rows = await connection.fetch(
            "select aggregate_id, type, schema_version, data::text as data, committed_at from event_store "
            "where aggregate_id = any($1::uuid[]) order by aggregate_id, version",
            keys,
        )
    streams: dict[UUID, list[tuple[Event, datetime]]] = {}
    for row in rows:
        event = decode(row["type"], row["schema_version"], json.loads(row["data"]))
        streams.setdefault(row["aggregate_id"], []).append((event, row["committed_at"]))
    return streams
