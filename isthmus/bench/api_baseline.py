"""The baseline of `bench api`: the naive handler behind stock Strawberry's own ASGI view, in one uvicorn process.

`python -m isthmus.bench.api_baseline < plan.json` serves until it is ended. It asks for no signature: the bearer token is the payer's
id, and nothing is limited, logged or relayed. All in its favour.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import strawberry
import uvicorn
from strawberry.asgi import GraphQL

from isthmus.bench.naive import NaiveHandler, naive_pool
from isthmus.domain.internal_transfers import NOBODY_IS_ASKED, TransferInternally
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.graphql.ids import account_key
from isthmus.write_models.envelope import Envelope


@dataclass(frozen=True)
class Plan:
    """`texts`: a sealed reference for each payer, by id."""

    url: str
    port: int
    texts: dict[str, str]


@strawberry.input
class MoneyInput:
    amount: Decimal
    asset: str


@strawberry.input
class TransferInternallyInput:
    from_account_id: strawberry.ID
    to_account_id: strawberry.ID
    amount: MoneyInput
    idempotency_key: str
    reference: str | None = None


@strawberry.type
class UserError:
    message: str


@strawberry.type
class TransferInternallyPayload:
    position: str
    errors: list[UserError]


@strawberry.type
class Query:
    @strawberry.field
    def there(self) -> bool:
        return True


def _schema(handler: NaiveHandler) -> strawberry.Schema:
    @strawberry.type
    class Mutation:
        @strawberry.mutation
        async def transfer_internally(
            self, info: strawberry.Info[Any, None], input: TransferInternallyInput
        ) -> TransferInternallyPayload:
            person = UUID(info.context["request"].headers["authorization"].removeprefix("Bearer "))
            command = TransferInternally(
                uuid4(),
                person,
                account_key(input.from_account_id),
                account_key(input.to_account_id),
                input.amount.amount,
                input.amount.asset,
                PersonalText(input.reference or ""),
                NOBODY_IS_ASKED,
            )
            body = {"from": input.from_account_id, "to": input.to_account_id, "amount": str(input.amount.amount)}
            key = input.idempotency_key
            envelope = Envelope(
                f"person:{person}", person, "transferInternally", key, body, correlation_id=str(uuid4())
            )
            return TransferInternallyPayload(position=str(await handler.run(command, envelope)), errors=[])

    return strawberry.Schema(query=Query, mutation=Mutation)


async def _serve(plan: Plan) -> None:
    async with naive_pool(plan.url) as pool:
        texts = {UUID(person): Sealed(text) for person, text in plan.texts.items()}
        application: Any = GraphQL(_schema(NaiveHandler(pool, texts, b"bench")))
        config = uvicorn.Config(
            application,
            host="127.0.0.1",
            port=plan.port,
            loop="uvloop",
            http="httptools",
            log_level="warning",
            lifespan="off",
        )
        await uvicorn.Server(config).serve()


def main() -> None:
    """Reads a `Plan` as JSON from standard input."""
    import uvloop

    uvloop.run(_serve(Plan(**json.load(sys.stdin))))


if __name__ == "__main__":
    main()
