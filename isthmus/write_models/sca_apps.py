"""The table of authenticator apps: which there are, with their sealed secrets. What is decided is decided on their streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from isthmus.domain.events import Event
from isthmus.domain.sca_apps import AppEnrolled, AppEvent, AppRemoved, AppRequested, AppUsed
from isthmus.write_models.connection import Connection

# One that came back after an erasure has a younger key, under which nothing of before may live again.
_LIVES = "exists (select from person_keys p where p.person_id = a.owner and p.created_at <= a.stored_at)"


@dataclass(frozen=True)
class AppRow:
    """`secret` is sealed."""

    app_id: UUID
    secret: str = field(repr=False)
    challenge_id: UUID


async def enrolled_app(connection: Connection, owner: UUID) -> AppRow | None:
    """The one whose codes are accepted."""
    return await _one(connection, f"a.owner = $1 and a.state = 'ENROLLED' and {_LIVES} order by a.id limit 1", owner)


async def latest_app(connection: Connection, owner: UUID) -> AppRow | None:
    """The one that was asked for last, whatever became of it."""
    return await _one(connection, "a.owner = $1 order by a.id desc limit 1", owner)


async def write(connection: Connection, events: Sequence[Event], now: datetime) -> None:
    """Before the flush, as everything but the flush is."""
    for event in events:
        if isinstance(event, AppEvent):
            await _app(connection, event, now)


async def _app(connection: Connection, event: AppEvent, now: datetime) -> None:
    match event:
        case AppRequested():
            await connection.execute(
                "insert into sca_apps (id, owner, secret, state, challenge_id, enrol_until) "
                "values ($1, $2, $3, 'REQUESTED', $4, $5)",
                event.app_id,
                event.owner,
                str(event.secret),
                event.challenge_id,
                event.enrol_until,
            )
        case AppEnrolled():
            await connection.execute(
                "update sca_apps set state = 'ENROLLED', enrolled_at = $2 where id = $1", event.app_id, now
            )
        case AppUsed():
            await connection.execute("update sca_apps set used_at = $2 where id = $1", event.app_id, now)
        case AppRemoved():
            await connection.execute("update sca_apps set state = 'REMOVED' where id = $1", event.app_id)


async def _one(connection: Connection, where: str, owner: UUID) -> AppRow | None:
    # The secret is read in the log, which nobody changes: one that was put into the table would show its codes to whoever did it.
    row = await connection.fetchrow(
        "select a.id, m.data->>'secret' as secret, a.challenge_id from sca_apps a "
        f"join event_store m on m.aggregate_id = a.id and m.type = 'AppRequested' where {where}",
        owner,
    )
    return None if row is None else AppRow(row["id"], row["secret"], row["challenge_id"])
