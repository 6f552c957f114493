"""How much each person paid today, asset by asset, counted from the payments themselves under a lock of that person's.

The database decides. Redis, where counts are quick, can lose what it counted, and knows of no commit that failed or was never heard
of: it is asked for a quick no only (`velocity.py`), and never for leave.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from isthmus.domain.compliance import day_began
from isthmus.domain.events import Event
from isthmus.domain.money import add, subtract
from isthmus.domain.payment_events import (
    VOID,
    PaymentCancelled,
    PaymentExpired,
    PaymentFailed,
    PaymentInitiated,
    PaymentRejected,
)
from isthmus.write_models.connection import Connection

#: Sorts our advisory locks from everybody else's; the other half is of the person's id.
_LOCKS = 0x5350454E
_USED = """
select owner, asset, sum(amount) as used from payments
where owner = any($1::uuid[]) and credits_account_id is null and made_at >= $2 and state <> all($3::text[]) group by owner, asset"""


@dataclass
class Spent:
    """`used`: by person and asset, today. `fresh`: the payments of this batch that are in it, with their amounts."""

    used: dict[tuple[UUID, str], Decimal] = field(default_factory=dict)
    fresh: dict[UUID, tuple[str, Decimal]] = field(default_factory=dict)

    def by(self, owner: UUID, asset: str) -> Decimal:
        return self.used.get((owner, asset), Decimal(0))

    def bring_forward(self, event: Event) -> None:
        """What the next command of the batch counts. One that ends in the batch that it began in counts no more; one from before goes on
        to count until the next batch, which errs to the safe side."""
        if isinstance(event, PaymentInitiated) and event.credits is None:
            self.fresh[event.payment_id] = (event.asset, event.amount)
            self.used[event.owner, event.asset] = add(self.by(event.owner, event.asset), event.amount)
        elif isinstance(event, PaymentRejected | PaymentCancelled | PaymentExpired | PaymentFailed):
            asset, amount = self.fresh.pop(event.payment_id, ("", Decimal(0)))
            if amount:
                self.used[event.owner, asset] = subtract(self.by(event.owner, asset), amount)


async def lock(connection: Connection, owners: Iterable[UUID]) -> None:
    """Whoever else counts what these paid waits until our transaction ends."""
    await connection.execute(
        "select pg_advisory_xact_lock($1, lock) from (select distinct hashtext(owner::text) as lock from unnest($2::uuid[]) as o (owner) "
        "order by 1) as locks",
        _LOCKS,
        list(owners),
    )


async def load(connection: Connection, owners: Iterable[UUID], now: datetime) -> Spent:
    """After `lock`, in a statement of its own: one beside the lock would count what was there before the wait."""
    rows = await connection.fetch(_USED, list(owners), day_began(now), sorted(VOID))
    return Spent({(row["owner"], row["asset"]): row["used"] for row in rows})
