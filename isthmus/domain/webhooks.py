"""What a provider sends by itself: kept as it came, believed only once its signature is checked, and never more than a hint to look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from isthmus.domain.banking import ConsentNews


class WebhookRefused(Exception):
    """It is not from whom it says it is. The message says what is wrong, for us; whoever sent it is told nothing."""


@dataclass(frozen=True)
class PayInNews:
    """Money that is said to have come to an account of ours: `entry_id` is the provider's own name for it on its statement."""

    entry_id: str
    asset: str
    amount: Decimal
    at: datetime


@dataclass(frozen=True)
class WebhookNews:
    """`reference`: the provider's own name for the consent that it is about; None where it is about none of ours. `news`: what it says of
    the consent; `ahead`: of what is to come, so that the provider itself does not say so yet; `changed`: that there is something to read.
    `payment`: the provider's own name for a payment of which there is something to ask for: what it says itself moves no money;
    `our_payment`: our own, where the provider carries it (TrueLayer's metadata.payment_id, Yapily's paymentIdempotencyId).
    `pay_in`: money that is to be looked for on the provider's statement.
    None of these: something that we do not know, which is set aside."""

    reference: str | None
    kind: str
    news: ConsentNews | None = None
    changed: bool = False
    ahead: bool = False
    payment: str | None = None
    pay_in: PayInNews | None = None
    our_payment: UUID | None = None


class WebhookSender(Protocol):
    """One per provider."""

    async def verify(self, headers: Mapping[str, str], path: str, body: bytes) -> str:
        """What tells this message from every other, but not from its repetition. Raises WebhookRefused, ProviderFault.

        `headers` have lower-case names, each once.
        """
        ...

    def read(self, body: bytes) -> WebhookNews:
        """Raises WebhookRefused where the body cannot be read."""
        ...


class Sealing(Protocol):
    """Evidence is kept sealed: whoever reads the table reads nobody's affairs."""

    def seal(self, plain: bytes) -> bytes: ...

    def open(self, sealed: bytes) -> bytes | None: ...
