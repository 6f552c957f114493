"""API keys, from the write side's own tables and therefore never behind: a key that was revoked is refused from the commit on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from isthmus.domain.api_keys import KeyScope, WorkingKey
from isthmus.read_models.database import ACQUIRE_TIMEOUT_S, Sight
from isthmus.read_models.sca import CHALLENGE, ChallengeRow, challenge_from, joined

_ROWS = f"""
select k.id as api_key_id, k.owner, m.data->>'name' as name, m.data->'scopes' as scopes, m.committed_at as made_at,
    m.position as made_position, k.expires_at, r.committed_at as revoked_at, u.used_at, k.confirmed,
    {CHALLENGE}
from api_keys k join event_store m on m.aggregate_id = k.id and m.version = 1
left join event_store r on r.aggregate_id = k.id and r.type = 'ApiKeyRevoked'
{joined("m.data", "k.owner")}
left join api_key_uses u on u.api_key_id = k.id"""
# An erased person's key row is gone. One who came back has a younger one, under which nothing of before may live again.
_WORKS = (
    "k.confirmed and not k.revoked and k.expires_at > coalesce($2, statement_timestamp()) and exists "
    "(select from person_keys p where p.person_id = k.owner and p.created_at <= k.stored_at)"
)


@dataclass(frozen=True)
class ApiKeyRow:
    """`name` is ciphertext under the owner's key; `used_at` is right to a minute or two. `challenge`: None of
    keys that none was asked for."""

    api_key_id: UUID
    owner: UUID
    name: str
    scopes: Sequence[str]
    made_at: datetime
    made_position: int
    expires_at: datetime
    revoked_at: datetime | None
    used_at: datetime | None
    confirmed: bool
    challenge: ChallengeRow | None


class ApiKeyReader:
    """`stamp` gives what SQL takes for now (`Clock.stamp`)."""

    def __init__(self, pool: asyncpg.Pool, stamp: Callable[[], datetime | None]) -> None:
        self._pool = pool
        self._stamp = stamp

    async def load_many(self, sight: Sight, keys: Sequence[UUID]) -> list[ApiKeyRow | None]:
        """In the order of the keys; None where there is none, or none of the person's own."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"{_ROWS} where k.id = any($2::uuid[]) and k.owner = $3", self._stamp(), list(keys), sight.person
            )
        found = {row["api_key_id"]: _key(row) for row in rows}
        return [found.get(key) for key in keys]

    async def page(self, owner: UUID, first: int, after: int | None) -> tuple[list[ApiKeyRow], bool]:
        """A person's keys, oldest first, after the position `after`; and whether there are more."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"{_ROWS} where k.owner = $2 and m.position > $3 order by m.position limit $4",
                self._stamp(),
                owner,
                after or 0,
                first + 1,
            )
        return [_key(row) for row in rows[:first]], len(rows) > first

    async def count(self, owner: UUID) -> int:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            counted: int = await connection.fetchval("select count(*) from api_keys where owner = $1", owner)
        return counted


def _key(row: asyncpg.Record) -> ApiKeyRow:
    return ApiKeyRow(
        row["api_key_id"],
        row["owner"],
        row["name"],
        row["scopes"],
        row["made_at"],
        row["made_position"],
        row["expires_at"],
        row["revoked_at"],
        row["used_at"],
        row["confirmed"],
        challenge_from(row),
    )


class ApiKeyTable:
    """What each request with a key asks."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def find(self, key_id: UUID, at: datetime | None) -> WorkingKey | None:
        """None where there is no such key, or it does not work any more."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            row = await connection.fetchrow(
                "select k.owner, k.expires_at, m.data->'scopes' as scopes, decode(m.data->>'secret_digest', 'hex') as digest "
                f"from api_keys k join event_store m on m.aggregate_id = k.id and m.version = 1 where k.id = $1 and {_WORKS}",
                key_id,
                at,
            )
        if row is None:
            return None
        scopes = frozenset(KeyScope(scope) for scope in row["scopes"])
        return WorkingKey(row["owner"], scopes, row["digest"], row["expires_at"])

    async def working(self, key_ids: Collection[UUID], at: datetime | None) -> set[UUID]:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"select k.id from api_keys k where k.id = any($1::uuid[]) and {_WORKS}", list(key_ids), at
            )
        return {row["id"] for row in rows}

    async def note_uses(self, uses: Mapping[UUID, datetime]) -> None:
        """In key order, so that two processes wait for one another in one direction only."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            await connection.execute(
                "insert into api_key_uses (api_key_id, used_at) "
                "select u.id, date_trunc('minute', u.at) from unnest($1::uuid[], $2::timestamptz[]) as u (id, at) order by u.id "
                "on conflict (api_key_id) do update set used_at = excluded.used_at where api_key_uses.used_at < excluded.used_at",
                sorted(uses),
                [uses[key] for key in sorted(uses)],
            )
