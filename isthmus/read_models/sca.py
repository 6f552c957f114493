"""Challenges and the devices that answer them, from the write side's own tables and therefore never behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg

from isthmus.domain.sca import FAILURES_MAX
from isthmus.read_models.database import ACQUIRE_TIMEOUT_S, Sight

#: Of the challenge `c`, as the log has it (`i`), and its person's guard `g`; $1 is `Clock.stamp`.
CHALLENGE = """
    c.id as challenge_id, (i.data->>'owner')::uuid as challenge_owner, i.data->>'purpose' as purpose, c.method,
    i.data->>'digest' as challenge_digest,
    c.expires_at as challenge_expires_at,
    case when c.state = 'PENDING' and c.expires_at <= coalesce($1, statement_timestamp()) then 'EXPIRED'
        else c.state end as challenge_state,
    case when g.blocked_until is null then coalesce(g.failures, 0)
        when g.blocked_until > coalesce($1, statement_timestamp()) then %(most)s else 0 end as failures""".replace(
    "%(most)s", str(FAILURES_MAX)
)


def joined(wish: str, owner: str) -> str:
    """SQL: the challenge that `wish` names, an event's data as SQL. Which it is, and what it authorises, is never read in a table: whoever
    writes there would have a person who wishes for one thing answer for another."""
    return (
        f"left join sca_challenges c on c.id = ({wish}->>'challenge_id')::uuid "
        "left join event_store i on i.aggregate_id = c.id and i.type = 'ScaChallengeIssued' "
        f"left join sca_guards g on g.owner = {owner}"
    )


_DEVICES = f"""
select d.id as device_id, d.owner, m.data->>'name' as name, d.enrolled_at, d.used_at, m.committed_at as created_at,
    case when d.state <> 'REQUESTED' then d.state
        when c.state = 'PASSED' and d.enrol_until > coalesce($1, statement_timestamp()) then 'AUTHORISED'
        when c.state = 'PENDING' and c.expires_at > coalesce($1, statement_timestamp()) then 'AWAITING_SCA'
        else 'EXPIRED' end as state,
    {CHALLENGE}
from sca_devices d join event_store m on m.aggregate_id = d.id and m.version = 1
{joined("m.data", "d.owner")}"""


@dataclass(frozen=True)
class ChallengeRow:
    """One that is over by the clock is EXPIRED, whether or not that is written yet. `failures`: the person's wrong answers in a row."""

    challenge_id: UUID
    owner: UUID
    purpose: str
    method: str
    digest: str
    state: str
    expires_at: datetime
    failures: int


def challenge_from(row: asyncpg.Record) -> ChallengeRow | None:
    """What `CHALLENGE` selected; None where there is none."""
    if row["challenge_id"] is None or row["method"] is None:
        return None
    return ChallengeRow(
        row["challenge_id"],
        row["challenge_owner"],
        row["purpose"],
        row["method"],
        row["challenge_digest"],
        row["challenge_state"],
        row["challenge_expires_at"],
        row["failures"],
    )


@dataclass(frozen=True)
class DeviceRow:
    """`name` is sealed."""

    device_id: UUID
    owner: UUID
    name: str = field(repr=False)
    state: str
    created_at: datetime
    enrolled_at: datetime | None
    used_at: datetime | None
    challenge: ChallengeRow


class DeviceReader:
    """`stamp` gives what SQL takes for now (`Clock.stamp`)."""

    def __init__(self, pool: asyncpg.Pool, stamp: Callable[[], datetime | None]) -> None:
        self._pool = pool
        self._stamp = stamp

    async def load_many(self, sight: Sight, keys: Sequence[UUID]) -> list[DeviceRow | None]:
        """In the order of the keys; None where there is none, or none of the person's own."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"{_DEVICES} where d.id = any($2::uuid[]) and d.owner = $3", self._stamp(), list(keys), sight.person
            )
        found = {row["device_id"]: _device(row) for row in rows}
        return [found.get(key) for key in keys]

    async def of_owner(self, owner: UUID) -> list[DeviceRow]:
        """Those that sign, oldest first."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"{_DEVICES} join signing_devices s on s.id = d.id where s.owner = $2 order by d.id",
                self._stamp(),
                owner,
            )
        return [_device(row) for row in rows]

    async def credentials(self, owners: Sequence[UUID]) -> list[list[str]]:
        """Of those that sign, in the order of the owners."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                "select owner, credential_id from signing_devices where owner = any($1::uuid[]) order by id",
                list(owners),
            )
        return [[row["credential_id"] for row in rows if row["owner"] == owner] for owner in owners]


def _device(row: asyncpg.Record) -> DeviceRow:
    challenge = challenge_from(row)
    assert challenge is not None, "a device is asked for with its challenge"
    return DeviceRow(
        row["device_id"],
        row["owner"],
        row["name"],
        row["state"],
        row["created_at"],
        row["enrolled_at"],
        row["used_at"],
        challenge,
    )
