"""Money on the wire."""

from __future__ import annotations

from decimal import Decimal

import strawberry

from isthmus.domain import money as domain
from isthmus.graphql.context import RequestContext
from isthmus.graphql.scalars import AssetCode


@strawberry.type(description="An exact amount of one asset.")
class Money:
    amount: Decimal = strawberry.field(description="The amount, with as many decimal places as its asset has.")
    asset: AssetCode = strawberry.field(description="What it is an amount of.")


@strawberry.input(description="An exact amount of one asset.")
class MoneyInput:
    amount: Decimal = strawberry.field(description="More than zero, with no more decimal places than the asset has.")
    asset: AssetCode = strawberry.field(description="What it is an amount of.")


def money_with(scale: int, amount: Decimal, asset: str) -> Money:
    return Money(amount=Decimal(domain.printed(amount, scale)), asset=AssetCode(asset))


async def money(context: RequestContext, amount: Decimal, asset: str) -> Money:
    return money_with(await context.scale(asset), amount, asset)


def canonical(input: MoneyInput) -> dict[str, object]:
    """One value, one text: what an idempotency key is bound to."""
    return {"amount": domain.text_of(input.amount), "asset": input.asset}
