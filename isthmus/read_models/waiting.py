"""What waits for somebody, and for how long: payments for an operator or for a bank's answer, cases, and money that is nobody's.

Asked every few seconds, by every process: each question is answered from an index that has nothing in it but what waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import asyncpg

from isthmus.read_models.database import ACQUIRE_TIMEOUT_S

PARKED = """
select parked as which, count(*) as number, min(parked_since) as since from payments
where parked is not null and parked <> 'REVIEW' group by parked"""
REVIEWS = """
select 'REVIEW' as which, count(*) as number, min(review_since) as since from payments
where parked = 'REVIEW' and state = 'AWAITING_SCA'"""
UNKNOWN = """
select 'UNKNOWN' as which, count(*) as number, min(unknown_since) as since from payments
where unknown_since is not null and state = 'AUTHORISED'"""
CASES = """
select difference as which, count(*) as number, min(opened_at) as since from reconciliation_cases
where closed_at is null group by difference"""
#: Of accounts like `suspense:<provider>:<asset>`, over all providers.
HOUSE = """
select split_part(a.code, ':', 1) as what, a.asset, sum(b.posted) as amount
from accounts a join account_balances b on b.account_id = a.id
where a.owner is null and split_part(a.code, ':', 1) in ('suspense', 'differences') group by 1, 2"""


@dataclass(frozen=True)
class Waits:
    number: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Waiting:
    """`parked` by why, with REVIEW; `cases` by difference; `suspense`, `differences` by asset. What nothing waits for is not in them."""

    parked: Mapping[str, Waits]
    unknown: Waits
    cases: Mapping[str, Waits]
    suspense: Mapping[str, Decimal]
    differences: Mapping[str, Decimal]


async def what_waits(pool: asyncpg.Pool, at: datetime | None = None) -> Waiting:
    """`at` None is now by the database's clock."""
    async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        now = await connection.fetchval("select coalesce($1, clock_timestamp())", at)
        parked, reviews, unknown, cases = [await connection.fetch(sql) for sql in (PARKED, REVIEWS, UNKNOWN, CASES)]
        house = await connection.fetch(HOUSE)
    return Waiting(
        _waits([*parked, *reviews], now),
        _waits(unknown, now)["UNKNOWN"],
        _waits(cases, now),
        {row["asset"]: row["amount"] for row in house if row["what"] == "suspense"},
        {row["asset"]: row["amount"] for row in house if row["what"] == "differences"},
    )


def _waits(rows: list[asyncpg.Record], now: datetime) -> dict[str, Waits]:
    return {
        row["which"]: Waits(
            row["number"], max((now - row["since"]).total_seconds(), 0.0) if row["since"] is not None else 0.0
        )
        for row in rows
    }
