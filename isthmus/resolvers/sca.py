"""Challenges as they are shown: what a person authorises, how, and how often they may still be wrong."""

from __future__ import annotations

from datetime import datetime

import strawberry

from isthmus.domain.sca import FAILURES_MAX
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import Kind, encode
from isthmus.read_models.payments import PaymentRow
from isthmus.resolvers.money import Money, money
from isthmus.resolvers.payees import shown_account
from isthmus.resolvers.sca_states import ScaChallengeState


@strawberry.type(
    description="What a challenge is bound to (PSD2 dynamic linking): change any of it, and the answer is void."
)
class DynamicLink:
    row: strawberry.Private[PaymentRow]
    digest: str = strawberry.field(
        description="SHA-256 of the canonical bytes of what is authorised, in hexadecimal (docs/payments.md)."
    )

    @strawberry.field(description="How much.")
    async def amount(self, info: AppInfo) -> Money:
        return await money(info.context, self.row.amount, self.row.asset)

    @strawberry.field(description="To whom; null once the payer's personal data are erased.")
    async def payee_name(self, info: AppInfo) -> str | None:
        return await info.context.loaders.texts.load(self.row.payee_name)

    @strawberry.field(description="To which account; null once the payer's personal data are erased.")
    async def payee_account(self, info: AppInfo) -> str | None:
        return shown_account(await info.context.loaders.texts.load(self.row.payee_account))


@strawberry.interface(description="What a person is asked for before something is done in their name.")
class ScaChallenge:
    row: strawberry.Private[PaymentRow]
    id: strawberry.ID = strawberry.field(description="The challenge's id.")
    state: ScaChallengeState = strawberry.field(description="Where it stands.")
    expires_at: datetime = strawberry.field(description="Until when it can be answered.")
    attempts_left: int = strawberry.field(
        description="How many wrong answers are left before nothing can be authorised for a while, over all challenges."
    )

    @strawberry.field(description="What it is bound to.")
    def dynamic_link(self) -> DynamicLink:
        return DynamicLink(row=self.row, digest=self.row.digest)


@strawberry.type(description="A code that was sent to the person, with amount and payee.")
class OneTimeCodeChallenge(ScaChallenge):
    delivered_to: str = strawberry.field(description="Where the code was sent.")


@strawberry.type(description="A device of the person's signs what is authorised.")
class DeviceChallenge(ScaChallenge):
    public_key_options: str = strawberry.field(description="What the device is asked with (WebAuthn), as JSON.")


@strawberry.type(description="The bank asks its customer on its own page.")
class RedirectChallenge(ScaChallenge):
    url: str = strawberry.field(description="Where the person is to be sent.")


@strawberry.type(description="The bank asks its customer on another device.")
class DecoupledChallenge(ScaChallenge):
    device_label: str = strawberry.field(description="Which device that is, as far as the bank says.")
    poll_after: datetime = strawberry.field(description="When to look again.")


CHALLENGES = (OneTimeCodeChallenge, DeviceChallenge, RedirectChallenge, DecoupledChallenge)


def challenge_of(row: PaymentRow) -> ScaChallenge | None:
    """Only codes so far. None where it was refused at once, and nothing is asked for."""
    if row.method is None or row.expires_at is None:
        return None
    pending = row.challenge_state == "PENDING"
    return OneTimeCodeChallenge(
        row=row,
        id=strawberry.ID(encode(Kind.SCA_CHALLENGE, row.challenge_id)),
        state=ScaChallengeState(row.challenge_state),
        expires_at=row.expires_at,
        attempts_left=max(0, FAILURES_MAX - row.failures) if pending else 0,
        delivered_to="inbox",
    )
