"""Payments with their challenges, from the write side's own tables and therefore never behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from isthmus.domain.sca import FAILURES_MAX
from isthmus.read_models.change_feed import Connect
from isthmus.read_models.database import ACQUIRE_TIMEOUT_S, Sight
from isthmus.read_models.row_feed import RowFeed
from isthmus.read_models.sca import ChallengeRow

_ROWS = """
select p.id as payment_id, p.owner, p.source, p.from_account_id, p.provider, p.asset, p.amount, p.payee_name, p.payee_account, p.reference,
    p.state, p.failure_code, p.retryable, p.parked, p.moved, p.version, p.screened_by, p.screened_against,
    p.review_since, p.exempted_by, p.batch_id, p.credits_account_id, b.data->>'purpose' as purpose,
    m.committed_at as created_at, m.position as created_position,
    (select position from event_store where aggregate_id = p.id order by version desc limit 1) as payment_position,
    (select position from event_store where aggregate_id = c.id order by version desc limit 1) as challenge_position,
    p.challenge_id, c.method, coalesce(b.data->>'digest', p.digest) as digest, c.expires_at,
    a.data->>'url' as url, a.data->>'device' as device, (a.data->>'poll_after_s')::int as poll_after_s,
    case when c.state = 'PENDING' and c.expires_at <= coalesce($1, statement_timestamp()) then 'EXPIRED'
        else c.state end as challenge_state,
    case when g.blocked_until is null then coalesce(g.failures, 0)
        when g.blocked_until > coalesce($1, statement_timestamp()) then %(most)s else 0 end as failures
from payments p join event_store m on m.aggregate_id = p.id and m.version = 1
left join sca_challenges c on c.id = p.challenge_id left join sca_guards g on g.owner = p.owner
left join event_store b on b.aggregate_id = c.id and b.type = 'ScaChallengeIssued' and b.version = 1
left join event_store a on a.aggregate_id = p.id and a.type = 'PaymentAsked'""".replace("%(most)s", str(FAILURES_MAX))
_IN_REVIEW = "p.parked = 'REVIEW' and p.state = 'AWAITING_SCA'"
_HISTORY = """
select aggregate_id, type, committed_at, position from event_store
where aggregate_id = any($1::uuid[]) and type = any($2) order by aggregate_id, version"""
#: The events that lead to a state, and which.
STATES = {
    "PaymentInitiated": "AWAITING_SCA",
    "PaymentAuthorised": "AUTHORISED",
    "PaymentSubmitted": "SUBMITTED",
    "PaymentExecuted": "EXECUTED",
    "PaymentSettled": "SETTLED",
    "PaymentRejected": "REJECTED",
    "PaymentCancelled": "CANCELLED",
    "PaymentExpired": "EXPIRED",
    "PaymentFailed": "FAILED",
}


@dataclass(frozen=True)
class Step:
    state: str
    at: datetime
    position: int


@dataclass(frozen=True)
class PaymentRow:
    """Texts are sealed. What is said of a challenge is None where there is none. A challenge that is over by the clock is EXPIRED, whether
    or not that is written yet. What it is for (`purpose`), what it is bound to (`digest`) and where a bank asks (`url`, `device`) are the
    log's. `failures`: the person's wrong answers in a row."""

    payment_id: UUID
    owner: UUID
    source: str
    from_account_id: UUID
    provider: str
    asset: str
    amount: Decimal
    payee_name: str
    payee_account: str
    reference: str | None
    state: str
    failure_code: str | None
    retryable: bool
    parked: str | None
    moved: Decimal | None
    version: int
    screened_by: str | None
    screened_against: str | None
    review_since: datetime | None
    exempted_by: str | None
    batch_id: UUID | None
    credits_account_id: UUID | None
    purpose: str | None
    created_at: datetime
    created_position: int
    payment_position: int
    challenge_position: int | None
    challenge_id: UUID
    method: str | None
    digest: str
    expires_at: datetime | None
    url: str | None = field(repr=False)
    device: str | None = field(repr=False)
    poll_after_s: int | None
    challenge_state: str | None
    failures: int

    @property
    def challenge(self) -> ChallengeRow | None:
        """None where it was refused at once, and nothing is asked for."""
        if self.method is None or self.challenge_state is None or self.expires_at is None:
            return None
        return ChallengeRow(
            self.challenge_id,
            self.owner,
            self.purpose or "PAYMENT",
            self.method,
            self.digest,
            self.challenge_state,
            self.expires_at,
            self.failures,
        )

    @property
    def position(self) -> int:
        """Of the last thing that happened to it or to its challenge."""
        return max(self.payment_position, self.challenge_position or 0)

    @property
    def key(self) -> UUID:
        return self.payment_id

    @property
    def mark(self) -> tuple[int, int]:
        return self.version, self.challenge_state == "EXPIRED"


class PaymentReader:
    """`stamp` gives what SQL takes for now (`Clock.stamp`)."""

    def __init__(self, pool: asyncpg.Pool, stamp: Callable[[], datetime | None]) -> None:
        self._pool = pool
        self._stamp = stamp

    async def load_many(self, sight: Sight, keys: Sequence[UUID]) -> list[PaymentRow | None]:
        """In the order of the keys; None where there is none, or none of the person's own."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"{_ROWS} where p.id = any($2::uuid[]) and p.owner = $3", self._stamp(), list(keys), sight.person
            )
        found = {row["payment_id"]: PaymentRow(**row) for row in rows}
        return [found.get(key) for key in keys]

    async def page(self, owner: UUID, first: int, after: int | None) -> tuple[list[PaymentRow], bool]:
        """A person's payments, newest first; and whether there are more."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"{_ROWS} where p.owner = $2 and ($3::bigint is null or m.position < $3) order by m.position desc limit $4",
                self._stamp(),
                owner,
                after,
                first + 1,
            )
        return [PaymentRow(**row) for row in rows[:first]], len(rows) > first

    async def of_batches(self, keys: Sequence[tuple[UUID, UUID]]) -> list[list[PaymentRow]]:
        """(owner, batch). Each in the order of its lines; none where it is not that person's own."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"{_ROWS} where p.batch_id = any($2::uuid[]) order by p.batch_line",
                self._stamp(),
                [key[1] for key in keys],
            )
        found: dict[tuple[UUID, UUID], list[PaymentRow]] = {}
        for row in rows:
            found.setdefault((row["owner"], row["batch_id"]), []).append(PaymentRow(**row))
        return [found.get(key, []) for key in keys]

    async def of_batch(self, owner: UUID, batch_id: UUID) -> list[PaymentRow]:
        """In the order of its lines; none where it is not the person's own."""
        return (await self.of_batches([(owner, batch_id)]))[0]

    async def load_any(self, keys: Sequence[UUID]) -> list[PaymentRow | None]:
        """Whosever they are, for operators."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(f"{_ROWS} where p.id = any($2::uuid[])", self._stamp(), list(keys))
        found = {row["payment_id"]: PaymentRow(**row) for row in rows}
        return [found.get(key) for key in keys]

    async def in_review(self, first: int, after: tuple[datetime, UUID] | None) -> tuple[list[PaymentRow], bool]:
        """What waits for an operator, whosever it is, longest first; and whether there is more."""
        since, key = after or (None, None)
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"{_ROWS} where {_IN_REVIEW} and ($2::timestamptz is null or (p.review_since, p.id) > ($2, $3::uuid)) "
                "order by p.review_since, p.id limit $4",
                self._stamp(),
                since,
                key,
                first + 1,
            )
        return [PaymentRow(**row) for row in rows[:first]], len(rows) > first

    async def count_in_review(self) -> int:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            counted: int = await connection.fetchval(f"select count(*) from payments p where {_IN_REVIEW}")
        return counted

    async def count(self, owner: UUID) -> int:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            counted: int = await connection.fetchval("select count(*) from payments where owner = $1", owner)
        return counted

    async def histories(self, keys: Sequence[UUID]) -> list[list[Step]]:
        """For payments that may be seen. Oldest first."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(_HISTORY, list(keys), list(STATES))
        steps: dict[UUID, list[Step]] = {}
        for row in rows:
            step = Step(STATES[row["type"]], row["committed_at"], row["position"])
            steps.setdefault(row["aggregate_id"], []).append(step)
        return [steps.get(key, []) for key in keys]


def payment_feed_of(reader: PaymentReader, connect: Connect) -> RowFeed[PaymentRow]:
    return RowFeed("payment feed", "isthmus_payments", connect, reader.load_many)
