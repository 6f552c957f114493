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
#: Once all of them have happened, the processes are to live, too.
_REST_S = (5.0, 15.0)


async def dying(
    system: System,
    chance: random.Random,
    points: Sequence[str],
    missing: Callable[[str], bool],
    died: Callable[[str], None],
) -> None:
    """Until cancelled: at those that are missing first, one server at a time and every worker."""

    async def one_after_another(names: Sequence[str], kind: str, draw: random.Random) -> None:
        some = [point for point in points if POINTS[point] == kind]
        while some:
            wanted = [point for point in some if missing(point)]
            came = await system.die_at(draw.choice(names), wanted or [draw.choice(some)], _WITHIN_S)
            if came is not None:
                died(came)
            await asyncio.sleep(draw.uniform(0.2, 1.0) if wanted else draw.uniform(*_REST_S))

    kinds = ((system.serves, "serve"), *(((name,), "work") for name in system.works))
    await asyncio.gather(*(one_after_another(names, kind, random.Random(chance.random())) for names, kind in kinds))
