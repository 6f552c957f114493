"""What each person paid without being asked since they last proved who they are (RTS 2018/389 Art. 16), under the lock of their limits.

A row for each such payment, written in the transaction of its event and gone in that of the next challenge of ours that is passed: what a
bank asked its customer proves to nobody here who they are, since whoever has their session may link a bank of their own. What is
under way in another transaction is not gone with it, and goes on to count: that errs to the safe side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from isthmus.domain.events import Event
from isthmus.domain.exemptions import Unproven
from isthmus.domain.money import add
from isthmus.domain.payment_events import PaymentExempted
from isthmus.domain.sca import Method, ScaPassed
from isthmus.write_models.connection import Connection

# In one order, so that two answers of a person's wait for one another and do not block each other.
_PROVEN = """
delete from unproven_payments where payment_id in (
    select payment_id from unproven_payments where owner = $1 order by payment_id for update)"""

_AT_THE_BANK = (Method.REDIRECT, Method.DECOUPLED)


@dataclass
class Exempted:
    """By person: their payments' assets and amounts."""

    payments: dict[UUID, list[tuple[str, Decimal]]] = field(default_factory=dict)

    def before(self, owner: UUID, asset: str) -> Unproven:
        mine, total = self.payments.get(owner, []), Decimal(0)
        for of_asset, amount in mine:
            total = add(total, amount) if of_asset == asset else total
        return Unproven(len(mine), total)

    def bring_forward(self, event: Event) -> None:
        """What the next command of the batch counts."""
        if isinstance(event, PaymentExempted):
            self.payments.setdefault(event.owner, []).append((event.asset, event.amount))


async def load(connection: Connection, owners: Iterable[UUID]) -> Exempted:
    """After `spending.lock`, in a statement of its own."""
    rows = await connection.fetch(
        "select owner, asset, amount from unproven_payments where owner = any($1::uuid[])", list(owners)
    )
    found = Exempted()
    for row in rows:
        found.payments.setdefault(row["owner"], []).append((row["asset"], row["amount"]))
    return found


async def write(connection: Connection, events: Sequence[Event]) -> None:
    """Before the flush, as everything but the flush is. In the events' order: what comes after an answer is counted anew."""
    for event in events:
        if isinstance(event, PaymentExempted):
            await connection.execute(
                "insert into unproven_payments (payment_id, owner, asset, amount) values ($1, $2, $3, $4)",
                event.payment_id,
                event.owner,
                event.asset,
                event.amount,
            )
        elif isinstance(event, ScaPassed) and event.proof not in _AT_THE_BANK:
            await connection.execute(_PROVEN, event.owner)
