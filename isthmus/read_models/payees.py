"""Saved payees and what payers were told of a payee, from the write side's own tables and therefore never behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg

from isthmus.read_models.database import ACQUIRE_TIMEOUT_S, Sight
from isthmus.read_models.sca import CHALLENGE, ChallengeRow, challenge_from, joined

_PAYEES = f"""
select p.id as payee_id, p.owner, m.data->>'name' as name, m.data->>'account' as account, p.saved_at,
    m.committed_at as created_at, m.position as created_position,
    exists (select from saved_payees s where s.id = p.id) as trusted,
    case when p.state <> 'REQUESTED' then p.state
        when c.state = 'PENDING' and c.expires_at > coalesce($1, statement_timestamp()) then 'AWAITING_SCA'
        else 'EXPIRED' end as state,
    {CHALLENGE}
from payees p join event_store m on m.aggregate_id = p.id and m.version = 1
{joined("m.data", "p.owner")}"""


@dataclass(frozen=True)
class SavedPayeeRow:
    """`name` and `account` are sealed."""

    payee_id: UUID
    owner: UUID
    name: str = field(repr=False)
    account: str = field(repr=False)
    state: str
    trusted: bool
    created_at: datetime
    created_position: int
    saved_at: datetime | None
    challenge: ChallengeRow


@dataclass(frozen=True)
class PayeeCheckRow:
    """Names and accounts are sealed."""

    result: str
    matched_name: str | None = field(repr=False)
    warnings: tuple[str, ...]
    resembles_name: str | None = field(repr=False)
    resembles_account: str | None = field(repr=False)


class PayeeReader:
    """`stamp` gives what SQL takes for now (`Clock.stamp`)."""

    def __init__(self, pool: asyncpg.Pool, stamp: Callable[[], datetime | None]) -> None:
        self._pool = pool
        self._stamp = stamp

    async def load_many(self, sight: Sight, keys: Sequence[UUID]) -> list[SavedPayeeRow | None]:
        """In the order of the keys; None where there is none, or none of the person's own."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"{_PAYEES} where p.id = any($2::uuid[]) and p.owner = $3", self._stamp(), list(keys), sight.person
            )
        found = {row["payee_id"]: _payee(row) for row in rows}
        return [found.get(key) for key in keys]

    async def page(self, owner: UUID, first: int, after: int | None) -> tuple[list[SavedPayeeRow], bool]:
        """Those that are saved, newest first; and whether there are more."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"{_PAYEES} join saved_payees s on s.id = p.id where p.owner = $2 and ($3::bigint is null or m.position < $3) "
                "order by m.position desc limit $4",
                self._stamp(),
                owner,
                after,
                first + 1,
            )
        return [_payee(row) for row in rows[:first]], len(rows) > first

    async def count(self, owner: UUID) -> int:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            counted: int = await connection.fetchval("select count(*) from saved_payees where owner = $1", owner)
        return counted

    async def checks(self, payments: Sequence[UUID]) -> list[PayeeCheckRow | None]:
        """For payments that may be seen, in their order; None where nobody was asked."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                "select payment_id, result, matched_name, warnings, resembles_name, resembles_account from payee_checks "
                "where payment_id = any($1::uuid[])",
                list(payments),
            )
        found = {
            row["payment_id"]: PayeeCheckRow(
                row["result"],
                row["matched_name"],
                tuple(row["warnings"]),
                row["resembles_name"],
                row["resembles_account"],
            )
            for row in rows
        }
        return [found.get(key) for key in payments]


def _payee(row: asyncpg.Record) -> SavedPayeeRow:
    challenge = challenge_from(row)
    assert challenge is not None, "a payee is asked for with its challenge"
    return SavedPayeeRow(
        row["payee_id"],
        row["owner"],
        row["name"],
        row["account"],
        row["state"],
        row["trusted"],
        row["created_at"],
        row["created_position"],
        row["saved_at"],
        challenge,
    )
