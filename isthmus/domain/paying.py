"""Who pays for us, behind one port: what sending a payment, asking for it and being told of it need of a provider."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from isthmus.domain.payees import PayeeAccount
from isthmus.domain.payment_news import PaymentNews


@dataclass(frozen=True)
class PaymentOrder:
    """What is sent. `idempotency_key` is ours and the same for every attempt: a provider does what it names once."""

    payment_id: UUID
    amount: Decimal
    asset: str
    payee_name: str = field(repr=False)
    payee_account: PayeeAccount = field(repr=False)
    reference: str = field(repr=False)

    @property
    def idempotency_key(self) -> str:
        return str(self.payment_id)


class Payouts(Protocol):
    """Paying from the platform's own money at a bank. Every call has a deadline and raises banking.ProviderFault only."""

    name: str

    async def send(self, order: PaymentOrder) -> PaymentNews:
        """Under the order's idempotency key: asked again it tells of the same payout. Raises OutcomeUnknown where it may have been
        done, ProviderUnavailable where it was not, ProviderRefused where it never will be."""
        ...

    async def look_up(self, reference: str) -> PaymentNews:
        """What became of one, by the provider's own name for it."""
        ...
