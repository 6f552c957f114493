"""Live: a payment as it goes on."""

from __future__ import annotations

from collections.abc import AsyncIterable, Hashable
from typing import Annotated

import strawberry
from strawberry import UNSET

from isthmus.graphql.context import AppInfo, SharedContext
from isthmus.graphql.errors import BadUserInput
from isthmus.graphql.ids import payment_key
from isthmus.graphql.scalars import Position
from isthmus.read_models.payments import PaymentRow
from isthmus.resolvers.payments import Payment, payment_of
from isthmus.resolvers.streams import Stream


class PaymentStream(Stream[PaymentRow, Payment]):
    def mark(self, row: PaymentRow) -> Hashable:
        return row.payment_id, row.mark

    def place(self, row: PaymentRow) -> str:
        return str(row.position)

    async def value(self, context: SharedContext, row: PaymentRow) -> Payment:  # noqa: ARG002 - as the port has it
        return payment_of(row)


@strawberry.type
class PaymentSubscriptions:
    @strawberry.subscription(
        description="First the payment as it is, unless it was seen (`after`); then whenever it, or its challenge, goes on. Its `history` "
        "has every state that it came to, so that nothing is missed in between. Of what is not the viewer's nothing ever comes."
    )
    async def payment_progressed(
        self,
        info: AppInfo,
        payment_id: Annotated[strawberry.ID, strawberry.argument(description="One of the viewer's payments.")],
        after: Annotated[
            Position | None,
            strawberry.argument(description="The `position` of the last message that was received."),
        ] = UNSET,
    ) -> AsyncIterable[Payment]:
        context = info.context
        position = context.resume_after
        if position is None and isinstance(after, int):
            position = after
        if position is not None and position > await context.services.read.log.end():
            raise BadUserInput("after: the log has no such position. Subscribe without it.")

        def seen(row: PaymentRow) -> bool:
            return position is not None and row.position <= position

        return PaymentStream(
            await context.services.payment_feed.subscribe(context.sight, payment_key(payment_id), seen)
        )
