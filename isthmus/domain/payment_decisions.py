"""Events of a payment that operators look into: what one found, that another confirmed it, that the provider was asked again."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from isthmus.domain.personal import Sealed


class Finding(StrEnum):
    """What the bank did. EXECUTED: it moved money, of what is brought here into our account. NOT_EXECUTED: it moved nothing and never
    will, or all of it came back."""

    EXECUTED = "EXECUTED"
    NOT_EXECUTED = "NOT_EXECUTED"


@dataclass(frozen=True)
class PaymentDecisionProposed:
    """Nothing comes of it until another operator confirms it; whatever is heard of the payment meanwhile ends it. `amount`: what the bank
    moved, zero where nothing. `provider_reference`: what the provider calls it by, where that was not known. `reason`: the operator's
    own words, sealed under their key."""

    payment_id: UUID
    owner: UUID
    proposal_id: UUID
    finding: Finding
    amount: Decimal
    provider_reference: str | None
    operator: UUID
    reason: Sealed


@dataclass(frozen=True)
class PaymentDecided:
    """Two operators agree on what the bank moved. `charged`: what of it the payer bears, or was credited where they bring money here; the
    rest stands in `differences`."""

    payment_id: UUID
    owner: UUID
    proposal_id: UUID
    finding: Finding
    moved: Decimal
    charged: Decimal
    provider_reference: str | None
    proposed_by: UUID
    confirmed_by: UUID


@dataclass(frozen=True)
class PaymentLookedInto:
    """An operator had the provider asked. `in_order`: what it said is what was to be expected, and nobody need look any more."""

    payment_id: UUID
    owner: UUID
    in_order: bool
