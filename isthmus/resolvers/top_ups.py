"""The wish to bring money here from one's own bank."""

from __future__ import annotations

from typing import Annotated

import strawberry

from isthmus.domain.validation import first_fault, key_fault
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import account_key, bank_account_key
from isthmus.graphql.scalars import Position
from isthmus.resolvers.money import MoneyInput, canonical
from isthmus.resolvers.money_mutations import amount_fault
from isthmus.resolvers.payments import Payment, payment_of
from isthmus.resolvers.wishes import INPUT, KEY, Payload, envelope_of, refused
from isthmus.write_models.envelope import Refused
from isthmus.write_models.payment_desk import TopUpWish


@strawberry.input(description="Money to be brought here.")
class TopUpInput:
    from_account_id: strawberry.ID = strawberry.field(description="One of the viewer's accounts at a linked bank.")
    to_account_id: strawberry.ID = strawberry.field(description="One of the viewer's accounts here, in the same asset.")
    amount: MoneyInput = strawberry.field(description="How much, in the asset of both accounts.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.type(description="What became of the wish to bring money here.")
class TopUpPayload(Payload):
    payment: Payment | None = strawberry.field(
        description="The payment whose payee we are, with the challenge that the bank puts to its customer; null when refused."
    )


@strawberry.type
class TopUpMutations:
    @strawberry.mutation(
        description="Bring money here from a linked bank. The bank asks its customer, and the account is credited once the money has "
        "arrived (`SETTLED`)."
    )
    async def top_up(
        self, info: AppInfo, input: Annotated[TopUpInput, strawberry.argument(description=INPUT)]
    ) -> TopUpPayload:
        fault = first_fault(key_fault(input.idempotency_key), await amount_fault(info, input.amount))
        if fault is not None:
            return await refused(info, TopUpPayload, fault, "payment")
        envelope = envelope_of(
            info,
            mutation="topUp",
            key=input.idempotency_key,
            body={
                "from_account_id": input.from_account_id,
                "to_account_id": input.to_account_id,
                "amount": canonical(input.amount),
            },
        )
        wish = TopUpWish(
            bank_account_key(input.from_account_id),
            account_key(input.to_account_id),
            input.amount.amount,
            input.amount.asset,
        )
        answer = await info.context.services.payments.top_up(info.context.caller.person_id, wish, envelope)
        if isinstance(answer, Refused):
            return await refused(info, TopUpPayload, answer.refusal, "payment", answer)
        payment_id, done = answer
        row = await info.context.loaders.payments.load(payment_id)
        assert row is not None, "it was written just now, in the same database"
        return TopUpPayload(
            position=Position(done.position), replayed=done.replayed, errors=[], payment=payment_of(row)
        )
