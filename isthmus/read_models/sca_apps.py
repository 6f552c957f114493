"""Authenticator apps, from the write side's own table and therefore never behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from isthmus.read_models.database import ACQUIRE_TIMEOUT_S
from isthmus.read_models.sca import CHALLENGE, ChallengeRow, challenge_from, joined

_LATEST = f"""
select a.id as app_id, a.enrolled_at, a.used_at, m.committed_at as created_at, {CHALLENGE},
    case when a.state <> 'REQUESTED' then a.state
        when c.state = 'PASSED' and a.enrol_until > coalesce($1, statement_timestamp()) then 'AUTHORISED'
        when c.state = 'PENDING' and c.expires_at > coalesce($1, statement_timestamp()) then 'AWAITING_SCA'
        else 'EXPIRED' end as state
from sca_apps a join event_store m on m.aggregate_id = a.id and m.version = 1
{joined("m.data", "a.owner")}
where a.owner = $2 and exists (select from person_keys p where p.person_id = a.owner and p.created_at <= a.stored_at)
order by (a.state = 'ENROLLED') desc, a.id desc limit 1"""


@dataclass(frozen=True)
class AppRow:
    app_id: UUID
    state: str
    created_at: datetime
    enrolled_at: datetime | None
    used_at: datetime | None
    challenge: ChallengeRow


class AppReader:
    """`stamp` gives what SQL takes for now (`Clock.stamp`)."""

    def __init__(self, pool: asyncpg.Pool, stamp: Callable[[], datetime | None]) -> None:
        self._pool = pool
        self._stamp = stamp

    async def of_owner(self, owner: UUID) -> AppRow | None:
        """The one whose codes are accepted, else the one that was asked for last."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            row = await connection.fetchrow(_LATEST, self._stamp(), owner)
        challenge = challenge_from(row) if row is not None else None
        if row is None or challenge is None:
            return None
        return AppRow(row["app_id"], row["state"], row["created_at"], row["enrolled_at"], row["used_at"], challenge)
