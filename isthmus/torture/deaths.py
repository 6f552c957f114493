"""Deaths at fail points of payments: processes are started to die just there, while everything else goes on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence

from isthmus.torture.system import System

#: Where each is come by for sure: a bank is first asked by the server that takes the payment.
POINTS: Mapping[str, str] = {
    "bank_payments.begun": "serve",
    "bank_payments.asked": "serve",
    "bank_payments.answered": "work",
    "bank_payments.submitting": "work",
    "bank_payments.submitted": "work",
    "payment_saga.begun": "work",
    "payment_saga.sent": "work",
}
_WITHIN_S = 25.0


async def dying(
    system: System,
    chance: random.Random,
    points: Sequence[str],
    missing: Callable[[str], bool],
    died: Callable[[str], None],
) -> None:
    """One server and one worker at a time, while the others live: at all points that are missing, else at one of each kind."""

    async def one_after_another(kind: str, names: Sequence[str], draw: random.Random) -> None:
        some = [point for point in points if POINTS[point] == kind]
        done = not some
        while not done or any(missing(point) for point in some):
            wanted = [point for point in some if missing(point)] or [draw.choice(some)]
            came = await system.die_at(draw.choice(names), wanted, _WITHIN_S)
            if came is not None:
                died(came)
                done = True
            await asyncio.sleep(draw.uniform(0.5, 2.0))

    kinds = (("serve", system.serves), ("work", system.works))
    await asyncio.gather(*(one_after_another(kind, names, random.Random(chance.random())) for kind, names in kinds))
