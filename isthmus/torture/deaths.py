"""Deaths at fail points of payments: a process is started to die just there, while everything else goes on."""

from __future__ import annotations

import random
from collections.abc import Mapping

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
_WITHIN_S = 15.0


async def die(system: System, chance: random.Random, point: str) -> bool:
    """Whether one did."""
    names = system.serves if POINTS[point] == "serve" else system.works
    return await system.die_at(chance.choice(names), point, _WITHIN_S)
