"""Limits that the viewer sets themselves: those there are, to lower one, to ask that one be raised again."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import strawberry
from strawberry import UNSET

from isthmus.domain.compliance import Limits
from isthmus.domain.money import text_of
from isthmus.domain.personal_limits import PersonalLimit as Decided
from isthmus.domain.personal_limits import effective, limit_id_of
from isthmus.domain.refusals import Refusal
from isthmus.domain.validation import asset_fault, first_fault, key_fault, money_fault
from isthmus.graphql.context import AppInfo
from isthmus.graphql.scalars import AssetCode, Position
from isthmus.read_models.personal_limits import LimitRow
from isthmus.resolvers.money import Money, money
from isthmus.resolvers.sca import ScaChallenge, ScaMethod, challenge_of, method_body, method_from
from isthmus.resolvers.wishes import INPUT, KEY, Payload, envelope_of, refused
from isthmus.write_models.envelope import Refused


@strawberry.type(description="How much the viewer may pay in one asset.")
class PaymentLimit:
    per_payment: Money = strawberry.field(description="At once.")
    per_day: Money = strawberry.field(description="In a day (UTC), over all accounts.")


@strawberry.type(description="A limit that the viewer set themselves, in one asset.")
class PersonalLimit:
    row: strawberry.Private[LimitRow]
    asset: AssetCode = strawberry.field(description="What it is a limit of.")

    @strawberry.field(description="What holds now: the viewer's own limit, or the platform's where that is lower.")
    async def limit(self, info: AppInfo) -> PaymentLimit:
        row, own = self.row, None
        if row.per_payment is not None and row.per_day is not None:
            own = Limits(row.per_payment, row.per_day)
        ceiling = info.context.services.limits.ceiling(row.asset)
        holds = effective(ceiling, Decided(row.limit_id, row.owner, own))
        return await _shown(info, holds, row.asset)

    @strawberry.field(
        description="What the viewer asks to raise it to, until the challenge is passed; null where nothing waits."
    )
    async def asked(self, info: AppInfo) -> PaymentLimit | None:
        row = self.row
        if row.asked_per_payment is None or row.asked_per_day is None:
            return None
        return await _shown(info, Limits(row.asked_per_payment, row.asked_per_day), row.asset)

    @strawberry.field(description="What is to be answered before it is raised; null where nothing waits.")
    def challenge(self) -> ScaChallenge | None:
        return None if self.row.challenge is None else challenge_of(self.row.challenge)


async def _shown(info: AppInfo, limits: Limits, asset: str) -> PaymentLimit:
    at_once = await money(info.context, limits.per_payment, asset)
    return PaymentLimit(per_payment=at_once, per_day=await money(info.context, limits.per_day, asset))


def limit_of(row: LimitRow) -> PersonalLimit:
    return PersonalLimit(row=row, asset=AssetCode(row.asset))


@strawberry.input(description="How much the viewer wishes to be able to pay in one asset.")
class ChangeLimitInput:
    asset: AssetCode = strawberry.field(description="What it is a limit of.")
    per_payment: Decimal = strawberry.field(description="At once.")
    per_day: Decimal = strawberry.field(description="In a day (UTC), over all accounts.")
    method: ScaMethod | None = strawberry.field(
        default=UNSET, description="How to be asked: by a device where there is one, unless told."
    )
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.type(description="What became of the wish for another limit.")
class ChangeLimitPayload(Payload):
    limit: PersonalLimit | None = strawberry.field(description="The limit, with its challenge; null when refused.")


@strawberry.type
class LimitMutations:
    @strawberry.mutation(
        description="Change the viewer's own limit: a lower one holds at once, a higher one once the challenge in the answer is answered. "
        "Not above the platform's, and not for API keys."
    )
    async def change_limit(
        self, info: AppInfo, input: Annotated[ChangeLimitInput, strawberry.argument(description=INPUT)]
    ) -> ChangeLimitPayload:
        fault = first_fault(key_fault(input.idempotency_key), await _amounts_fault(info, input))
        if fault is not None:
            return await refused(info, ChangeLimitPayload, fault, "limit")
        limits, person = Limits(input.per_payment, input.per_day), info.context.caller.person_id
        envelope = envelope_of(
            info,
            mutation="changeLimit",
            key=input.idempotency_key,
            body={
                "asset": input.asset,
                "per_payment": text_of(input.per_payment),
                "per_day": text_of(input.per_day),
                **method_body(input.method),
            },
        )
        outcome = await info.context.services.limits.change(
            person, input.asset, limits, method_from(input.method), envelope
        )
        if isinstance(outcome, Refused):
            return await refused(info, ChangeLimitPayload, outcome.refusal, "limit", outcome)
        row = await info.context.services.read.limits.find(person, limit_id_of(person, input.asset))
        assert row is not None, "it was written just now, in the same database"
        return ChangeLimitPayload(
            position=Position(outcome.position), replayed=outcome.replayed, errors=[], limit=limit_of(row)
        )


async def _amounts_fault(info: AppInfo, input: ChangeLimitInput) -> Refusal | None:
    asset = await info.context.services.read.assets.find(input.asset)
    unknown = asset_fault(input.asset, asset, ("input", "asset"))
    if unknown is not None or asset is None:
        return unknown
    return first_fault(
        money_fault(input.per_payment, asset, ("input", "perPayment")),
        money_fault(input.per_day, asset, ("input", "perDay")),
    )
