"""Payments from a person's own account at their bank, behind one port: the bank asks its customer itself, and pays.

An adapter keeps nothing and decides nothing: it translates, and whatever it is asked a second time, after whatever was lost, leads to
the same payment there. What a provider says of a payment is `PaymentNews`, and its states mean:

AWAITING    the person has not answered the bank yet (also: a failed attempt that they may repeat)
AUTHORISED  they have, and the provider waits for us: `submit` is to come
SUBMITTED   they have, and the bank has the payment; EXECUTED, SETTLED: the money has left, has arrived
REJECTED    the person said no, or the bank did; CANCELLED, EXPIRED, FAILED: as they say

What the person comes back with (`answerScaChallenge { redirectResult { code state } }`) moves nothing: it is a reason to look. `state`
must be what `Begun.state` says, so that nobody's return is taken for another's:

truelayer   `payment_id` alone comes back: it is both `code` and `state`, since v3 carries no state of ours
yapily      `application-user-id` is `state` (each payment is a user of its own there, as each link is), `consent` or the one-time token
            is `code`
plaid       Hosted Link comes back with nothing of its own: `completion_redirect_uri` is `return_uri` with `state=…` appended; `code` is the
            same text

Idempotency: `BankWish.order.idempotency_key` (the payment's id, 36 letters; Yapily has room for 35: its 32 hexadecimal digits). TrueLayer
and Yapily are given it; Plaid has none for payment/create, so that a lost answer leaves one there that nobody can approve: a new one
is made, and only its link is ever shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Protocol
from uuid import UUID

from isthmus.domain.paying import PaymentOrder
from isthmus.domain.payment_news import PaymentNews

#: Of a provider that has no account of ours.
COLLECTS_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class PayerAccount:
    """The account at the bank that is paid from, as far as the bank told: what the provider calls it, and its IBAN or `number` (sort code
    and number, as the provider's accounts have it)."""

    reference: str = field(repr=False)
    iban: str | None = field(default=None, repr=False)
    number: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class BankWish:
    """`institution`: the provider's own name for the bank. `person`: a pseudonym, the same for each payment of theirs. `state`: ours, the
    same each time that this payment is begun."""

    order: PaymentOrder
    institution: str
    country: str
    person: UUID
    return_uri: str
    state: str = field(repr=False)
    payer: PayerAccount | None = None


@dataclass(frozen=True)
class GoTo:
    """The person is to be sent there."""

    url: str = field(repr=False)


@dataclass(frozen=True)
class Decoupled:
    """The bank asks its customer elsewhere: on `device`, as far as it says which."""

    device: str = ""
    poll_after_s: int = 2


@dataclass(frozen=True)
class Begun:
    """`reference`: the provider's own name for what was begun, which everything else is asked by. `state`: what will come back as such:
    the wish's, or what the provider has in its place. `expires_at`: when it is of no use any more, where that is told."""

    reference: str
    authorization: GoTo | Decoupled
    state: str = field(repr=False)
    expires_at: datetime | None = None


class BankPayments(Protocol):
    """Implemented by modules of `integrations/payments/`. Every call has a deadline and raises banking.ProviderFault only: OutcomeUnknown
    where it may have been done, ProviderUnavailable where it was not, ProviderRefused where it never will be."""

    name: str
    #: Whether it ever tells that the money has arrived; where not, EXECUTED is the last that is heard.
    settles: bool
    #: Our own accounts there, by asset, which people can be asked to pay into: of what is paid there it does tell that it has arrived.
    collects: Mapping[str, str]

    async def begin(self, wish: BankWish) -> Begun:
        """Ask the bank to ask its customer. No money moves by it. Under the order's idempotency key: asked again it leads to the same
        payment there (also where the person has answered meanwhile: the address may be of no use then). Malformed is for answers that
        cannot be understood; it is asked again."""
        ...

    async def look_up(self, reference: str) -> PaymentNews:
        """What became of it, by `Begun.reference` or the reference that `submit` gave. With amount, asset and payee wherever the provider
        says them: they are compared with what was asked for."""
        ...

    async def submit(self, wish: BankWish, reference: str) -> PaymentNews:
        """The person has authorised it: have it done, under the order's idempotency key. Where the provider does so by itself: as
        `look_up`. The news has the reference that it goes by from now on, where that is another."""
        ...

    async def cancel(self, reference: str) -> PaymentNews:
        """Take it back as far as that can be, and tell where it stands now. That it is too late, or that the provider knows no way back, is
        no fault: the news says so by being what it is."""
        ...
