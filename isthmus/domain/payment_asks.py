"""Events of a payment that a bank asks its own customer for (`payments_at_bank.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from isthmus.domain.personal import Sealed


@dataclass(frozen=True)
class PaymentAskStarted:
    """Written before the bank is asked to ask its customer. No money moves by that."""

    payment_id: UUID
    owner: UUID
    attempt: int


@dataclass(frozen=True)
class PaymentAsked:
    """The bank asks its customer: at `url`, or on `device`. `state`: what the person is to come back with."""

    payment_id: UUID
    owner: UUID
    challenge_id: UUID
    provider_reference: str
    state: Sealed
    url: Sealed | None
    device: Sealed | None
    poll_after_s: int
