"""Challenges as they are shown: what a person authorises, how, and how often they may still be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import strawberry

from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.money import add
from isthmus.domain.sca import FAILURES_MAX, Method
from isthmus.domain.sca_devices import signing_challenge
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import Kind, encode
from isthmus.read_models.payments import PaymentRow
from isthmus.read_models.sca import ChallengeRow
from isthmus.resolvers.money import Money, money
from isthmus.resolvers.payees import shown_account
from isthmus.resolvers.sca_states import ScaChallengeState


@strawberry.enum(description="What a challenge is for. Its answer is of use for nothing else.")
class ScaPurpose(Enum):
    PAYMENT = strawberry.enum_value("PAYMENT", description="To pay.")
    BATCH = strawberry.enum_value("BATCH", description="To pay several at once.")
    DEVICE = strawberry.enum_value("DEVICE", description="To enrol a device.")
    AUTHENTICATOR = strawberry.enum_value("AUTHENTICATOR", description="To enrol an authenticator app.")
    API_KEY = strawberry.enum_value("API_KEY", description="To make an API key.")
    LIMIT = strawberry.enum_value("LIMIT", description="To raise a limit.")
    PAYEE = strawberry.enum_value("PAYEE", description="To save a payee.")


@strawberry.enum(description="How a person may be asked.")
class ScaMethod(Enum):
    ONE_TIME_CODE = strawberry.enum_value("ONE_TIME_CODE", description="By a code that is sent.")
    DEVICE = strawberry.enum_value("DEVICE", description="By a device of theirs that signs.")
    TOTP = strawberry.enum_value("TOTP", description="By a code that their authenticator app shows.")


def method_from(wished: ScaMethod | None) -> Method | None:
    """As the domain has it; None where it was left out."""
    return Method[wished.name] if wished else None


def method_body(wished: ScaMethod | None) -> dict[str, str]:
    """What an idempotency key is held against: nothing where it was left out."""
    return {"method": wished.name} if wished else {}


@strawberry.type(description="One who is paid by what a challenge is bound to.")
class BoundPayee:
    row: strawberry.Private[PaymentRow]

    @strawberry.field(description="How much.")
    async def amount(self, info: AppInfo) -> Money:
        return await money(info.context, self.row.amount, self.row.asset)

    @strawberry.field(description="To whom; null once the payer's personal data are erased.")
    async def name(self, info: AppInfo) -> str | None:
        return await info.context.loaders.texts.load(self.row.payee_name)

    @strawberry.field(description="To which account; null once the payer's personal data are erased.")
    async def account(self, info: AppInfo) -> str | None:
        return shown_account(await info.context.loaders.texts.load(self.row.payee_account))


@strawberry.type(
    description="What a challenge is bound to (PSD2 dynamic linking): change any of it, and the answer is void."
)
class DynamicLink:
    rows: strawberry.Private[Sequence[PaymentRow]]
    digest: str = strawberry.field(
        description="SHA-256 of the canonical bytes of what is authorised, in hexadecimal (docs/payments.md)."
    )

    @strawberry.field(description="How much, in all.")
    async def amount(self, info: AppInfo) -> Money:
        total = Decimal(0)
        for row in self.rows:
            total = add(total, row.amount)
        return await money(info.context, total, self.rows[0].asset)

    @strawberry.field(description="Everyone who is paid by it, and how much; one, but for a batch.")
    def payees(self) -> list[BoundPayee]:
        return [BoundPayee(row=row) for row in self.rows]

    @strawberry.field(
        description="To whom; null once the payer's personal data are erased. Of several the first: see `payees`."
    )
    async def payee_name(self, info: AppInfo) -> str | None:
        return await info.context.loaders.texts.load(self.rows[0].payee_name)

    @strawberry.field(
        description="To which account; null once the payer's personal data are erased. Of several the first: see `payees`."
    )
    async def payee_account(self, info: AppInfo) -> str | None:
        return shown_account(await info.context.loaders.texts.load(self.rows[0].payee_account))


@strawberry.interface(description="What a person is asked for before something is done in their name.")
class ScaChallenge:
    row: strawberry.Private[ChallengeRow]
    payment: strawberry.Private[PaymentRow | None]
    bound: strawberry.Private[Sequence[PaymentRow]]
    id: strawberry.ID = strawberry.field(description="The challenge's id.")
    purpose: ScaPurpose = strawberry.field(description="What it is for.")
    state: ScaChallengeState = strawberry.field(description="Where it stands.")
    expires_at: datetime = strawberry.field(description="Until when it can be answered.")
    attempts_left: int = strawberry.field(
        description="How many wrong answers are left before nothing can be authorised for a while, over all challenges."
    )

    @strawberry.field(
        description="The payment that it is bound to; null where it is for something else, and where what is kept of the payment is not "
        "what it is bound to. Answer none that pays and has none."
    )
    def dynamic_link(self) -> DynamicLink | None:
        return DynamicLink(rows=self.bound, digest=self.row.digest) if self.bound else None


@strawberry.type(description="A code that was sent to the person, with what it is for.")
class OneTimeCodeChallenge(ScaChallenge):
    delivered_to: str = strawberry.field(description="Where the code was sent.")


@strawberry.type(description="A device of the person's signs what is authorised.")
class DeviceChallenge(ScaChallenge):
    @strawberry.field(
        description="What `navigator.credentials.get` is called with (WebAuthn), as JSON; what it gives is the answer."
    )
    async def public_key_options(self, info: AppInfo) -> str:
        # An operator who is to judge the payment sees the challenge, and nothing of its owner's devices.
        own = self.row.owner == info.context.sight.person
        known = await info.context.loaders.credentials.load(self.row.owner) if own else []
        challenge = signing_challenge(Purpose(self.row.purpose), self.row.digest, self.row.challenge_id)
        authenticators = info.context.services.devices.authenticators
        return authenticators.request_options(challenge, known) if authenticators else "{}"


@strawberry.type(
    description="The person's authenticator app shows a code. Show what it is for beside the field that it goes into: the code itself is "
    "not made of it."
)
class TotpChallenge(ScaChallenge):
    pass


@strawberry.type(description="The bank asks its customer on its own page.")
class RedirectChallenge(ScaChallenge):
    @strawberry.field(
        description="Where the person is to be sent; null while the bank does not ask yet (`paymentProgressed` tells), and once it is over."
    )
    async def url(self, info: AppInfo) -> str | None:
        sealed = self.payment.url if self.payment is not None else None
        # An operator who is to judge the payment sees the challenge, and goes nowhere in its owner's place.
        own = self.row.owner == info.context.sight.person and self.row.state == "PENDING"
        return await info.context.loaders.texts.load(sealed) if own and sealed is not None else None


@strawberry.type(description="The bank asks its customer on another device.")
class DecoupledChallenge(ScaChallenge):
    @strawberry.field(description="Which device that is, as far as the bank says.")
    async def device_label(self, info: AppInfo) -> str:
        sealed = self.payment.device if self.payment is not None else None
        # An operator who looks into the payment learns nothing of its owner's devices.
        own = self.row.owner == info.context.sight.person
        return (await info.context.loaders.texts.load(sealed) or "") if own and sealed is not None else ""

    @strawberry.field(description="When to look again.")
    def poll_after(self, info: AppInfo) -> datetime:
        wait_s = self.payment.poll_after_s if self.payment is not None else None
        return info.context.services.clock.now() + timedelta(seconds=wait_s or 0)


CHALLENGES = (OneTimeCodeChallenge, DeviceChallenge, TotpChallenge, RedirectChallenge, DecoupledChallenge)


def challenge_of(
    row: ChallengeRow, payment: PaymentRow | None = None, bound: Sequence[PaymentRow] = ()
) -> ScaChallenge:
    """`bound`: what it is shown to authorise, held against its digest (`bound_payments.py`)."""
    pending = row.state == "PENDING"
    common: dict[str, Any] = {
        "row": row,
        "payment": payment,
        "bound": bound,
        "id": strawberry.ID(encode(Kind.SCA_CHALLENGE, row.challenge_id)),
        "purpose": ScaPurpose(row.purpose),
        "state": ScaChallengeState(row.state),
        "expires_at": row.expires_at,
        "attempts_left": max(0, FAILURES_MAX - row.failures) if pending else 0,
    }
    match Method(row.method):
        case Method.DEVICE:
            return DeviceChallenge(**common)
        case Method.TOTP:
            return TotpChallenge(**common)
        case Method.REDIRECT:
            return RedirectChallenge(**common)
        case Method.DECOUPLED:
            return DecoupledChallenge(**common)
        case Method.ONE_TIME_CODE:
            return OneTimeCodeChallenge(**common, delivered_to="inbox")
