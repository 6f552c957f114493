"""What waits for somebody, told as gauges, from which alerts are made: each of them asks a person to do something (docs/runbook.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import asyncpg
from prometheus_client import Gauge

from isthmus.domain.reconciliation_cases import Difference
from isthmus.read_models.waiting import Waiting, Waits, what_waits
from isthmus.write_models.payments import WHYS

EVERY_S = 15.0

_parked = Gauge(
    "isthmus_payments_waiting",
    "Payments that wait for an operator, by why: those of `isthmus_payments_parked_total`.",
    ["why"],
)
_parked_seconds = Gauge(
    "isthmus_payments_waiting_seconds",
    "For how long the oldest of them waits for an operator, by why; 0 where none does.",
    ["why"],
)
_unknown = Gauge(
    "isthmus_payments_unknown",
    "Payments that were sent, and nobody knows yet whether the provider has them; a few are only on their way.",
)
_unknown_seconds = Gauge(
    "isthmus_payments_unknown_seconds", "Since the oldest of those was sent for the first time; 0 where there is none."
)
_cases_seconds = Gauge(
    "isthmus_reconciliation_oldest_case_seconds",
    "For how long the oldest open case of reconciliation waits for an operator, by difference; 0 where none does.",
    ["difference"],
)
_suspense = Gauge(
    "isthmus_suspense_money",
    "Money in suspense, by asset: sent to us, and nobody's yet. About so much: the ledger is exact.",
    ["asset"],
)
_differences = Gauge(
    "isthmus_differences_money",
    "What banks moved beside what anybody bears, by asset: above 0 they moved more. About so much: the ledger is exact.",
    ["asset"],
)


async def watch_waiting(pool: asyncpg.Pool[asyncpg.Record], stamp: Callable[[], datetime | None]) -> None:
    """Until cancelled."""
    while True:
        tell(await what_waits(pool, stamp()))
        await asyncio.sleep(EVERY_S)


def tell(waiting: Waiting) -> None:
    for why in WHYS:
        waits = waiting.parked.get(why, Waits())
        _parked.labels(why).set(waits.number)
        _parked_seconds.labels(why).set(waits.seconds)
    _unknown.set(waiting.unknown.number)
    _unknown_seconds.set(waiting.unknown.seconds)
    for difference in Difference:
        _cases_seconds.labels(difference).set(waiting.cases.get(difference, Waits()).seconds)
    # An account of the house's stays once it is there, so that what is no more is told as 0.
    for gauge, money in ((_suspense, waiting.suspense), (_differences, waiting.differences)):
        for asset, amount in money.items():
            gauge.labels(asset).set(float(amount))
