"""The table of limits that people set themselves. Written in the transaction of the event; what is decided is decided on the stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from isthmus.domain.events import Event
from isthmus.domain.personal_limits import LimitEvent, LimitRaiseAsked, LimitSet
from isthmus.write_models.connection import Connection


@dataclass(frozen=True)
class RaiseRow:
    """What is asked for and waits."""

    asset: str
    per_payment: Decimal
    per_day: Decimal


async def find_raise(connection: Connection, limit_id: UUID, challenge_id: UUID) -> RaiseRow | None:
    """None where that challenge is not what it waits for any more."""
    row = await connection.fetchrow(
        "select asset, asked_per_payment, asked_per_day from personal_limits where id = $1 and challenge_id = $2",
        limit_id,
        challenge_id,
    )
    return None if row is None else RaiseRow(row["asset"], row["asked_per_payment"], row["asked_per_day"])


async def write(connection: Connection, events: Sequence[Event]) -> None:
    """Before the flush, as everything but the flush is."""
    for event in events:
        if isinstance(event, LimitEvent):
            await _limit(connection, event)


async def _limit(connection: Connection, event: LimitEvent) -> None:
    about = (event.limit_id, event.owner, event.asset, event.per_payment, event.per_day)
    match event:
        case LimitSet():
            await connection.execute(
                "insert into personal_limits (id, owner, asset, per_payment, per_day) values ($1, $2, $3, $4, $5) "
                "on conflict (id) do update set per_payment = excluded.per_payment, per_day = excluded.per_day, "
                "asked_per_payment = null, asked_per_day = null, challenge_id = null",
                *about,
            )
        case LimitRaiseAsked():
            await connection.execute(
                "insert into personal_limits (id, owner, asset, asked_per_payment, asked_per_day, challenge_id) "
                "values ($1, $2, $3, $4, $5, $6) on conflict (id) do update set asked_per_payment = excluded.asked_per_payment, "
                "asked_per_day = excluded.asked_per_day, challenge_id = excluded.challenge_id",
                *about,
                event.challenge_id,
            )
