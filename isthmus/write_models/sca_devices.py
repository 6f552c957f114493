"""The table of devices: which may sign for whom. Written in the transaction of the event, so that a removed one signs nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from isthmus.domain.authenticators import Credential
from isthmus.domain.events import Event
from isthmus.domain.sca_devices import DeviceEnrolled, DeviceEvent, DeviceRemoved, DeviceRequested, DeviceUsed
from isthmus.write_models.connection import Connection

REQUESTED, ENROLLED, REMOVED = "REQUESTED", "ENROLLED", "REMOVED"


@dataclass(frozen=True)
class DeviceRow:
    """`name` is sealed. `credential` is there once the device is enrolled."""

    device_id: UUID
    owner: UUID
    name: str = field(repr=False)
    state: str
    challenge_id: UUID
    digest: str
    credential: Credential | None


#: The key is read in the log, which nobody changes: whoever put one of their own into the table would sign in another's name.
_COLUMNS = """
select d.id, d.owner, d.name, d.state, d.challenge_id, d.digest, e.data->>'credential_id' as credential_id,
    e.data->>'public_key' as public_key, d.counter
from sca_devices d left join event_store e on e.aggregate_id = d.id and e.type = 'DeviceEnrolled'"""


async def find_device(connection: Connection, device_id: UUID) -> DeviceRow | None:
    return await _one(connection, "d.id = $1", device_id)


async def find_signer(connection: Connection, owner: UUID, credential_id: str) -> DeviceRow | None:
    """Among the person's own devices alone: nobody signs with another's."""
    return await _one(
        connection,
        "d.id = (select id from signing_devices where owner = $1 and credential_id = $2 order by id limit 1)",
        owner,
        credential_id,
    )


async def credentials_of(connection: Connection, owner: UUID) -> list[str]:
    """Those that may sign."""
    rows = await connection.fetch("select credential_id from signing_devices where owner = $1 order by id", owner)
    return [row["credential_id"] for row in rows]


async def known(connection: Connection, credentials: Sequence[str]) -> set[str]:
    """Those that were ever anybody's. Two that are enrolled at once the index tells apart: the later one is decided once more."""
    rows = await connection.fetch(
        "select credential_id from sca_devices where credential_id = any($1::text[])", list(credentials)
    )
    return {row["credential_id"] for row in rows}


async def write(connection: Connection, events: Sequence[Event], now: datetime) -> None:
    """Before the flush, as everything but the flush is."""
    for event in events:
        if isinstance(event, DeviceEvent):
            await _device(connection, event, now)


async def _device(connection: Connection, event: DeviceEvent, now: datetime) -> None:
    match event:
        case DeviceRequested():
            await connection.execute(
                "insert into sca_devices (id, owner, name, state, challenge_id, digest, enrol_until) "
                "values ($1, $2, $3, 'REQUESTED', $4, $5, $6)",
                event.device_id,
                event.owner,
                str(event.name),
                event.challenge_id,
                event.digest,
                event.enrol_until,
            )
        case DeviceEnrolled():
            await connection.execute(
                "update sca_devices set state = 'ENROLLED', credential_id = $2, public_key = $3, counter = $4, enrolled_at = $5 "
                "where id = $1",
                event.device_id,
                event.credential_id,
                event.public_key,
                event.counter,
                now,
            )
        case DeviceUsed():
            await connection.execute(
                "update sca_devices set counter = $2, used_at = $3 where id = $1", event.device_id, event.counter, now
            )
        case DeviceRemoved():
            await connection.execute("update sca_devices set state = 'REMOVED' where id = $1", event.device_id)


async def _one(connection: Connection, where: str, *keys: object) -> DeviceRow | None:
    row = await connection.fetchrow(f"{_COLUMNS} where {where} limit 1", *keys)
    if row is None:
        return None
    credential = None
    if row["credential_id"] is not None:
        credential = Credential(row["credential_id"], row["public_key"], row["counter"])
    return DeviceRow(row["id"], row["owner"], row["name"], row["state"], row["challenge_id"], row["digest"], credential)
