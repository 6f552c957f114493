"""What lies in an account."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import strawberry

from isthmus.domain.money import subtract
from isthmus.graphql.context import RequestContext, SharedContext
from isthmus.read_models.balances import Figures
from isthmus.resolvers.money import Money, money_with


@strawberry.type(description="What lies in an account at one version of it.")
class Balance:
    available: Money = strawberry.field(description="What can be moved now: posted, less what is reserved to go out.")
    posted: Money = strawberry.field(description="What is booked.")
    pending: Money = strawberry.field(description="What is reserved, on balance: coming in less going out.")
    pending_in: Money = strawberry.field(description="What is reserved to come in.")
    pending_out: Money = strawberry.field(description="What is reserved to go out.")
    as_of: datetime = strawberry.field(description="When the last movement in it was committed.")
    version: int = strawberry.field(description="How many movements the account has had: one more with each.")


async def balance_of(context: RequestContext | SharedContext, figures: Figures, asset: str) -> Balance:
    scale = await context.scale(asset)

    def printed(amount: Decimal) -> Money:
        return money_with(scale, amount, asset)

    return Balance(
        available=printed(subtract(figures.posted, figures.pending_out)),
        posted=printed(figures.posted),
        pending=printed(subtract(figures.pending_in, figures.pending_out)),
        pending_in=printed(figures.pending_in),
        pending_out=printed(figures.pending_out),
        as_of=figures.as_of,
        version=figures.version,
    )
