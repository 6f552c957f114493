"""Stock Strawberry, for comparison: its own ASGI application, the same types as the product's message, a queue per subscriber.

`python -m isthmus.bench.live_stock PORT`. `GET /flood?balances=N` makes changes as fast as its subscribers take them, `GET /tick` five a
second, `GET /stop` none.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import strawberry
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from strawberry.asgi import GraphQL

_QUEUE_MAX = 64
_TICK_S = 0.2


@strawberry.type
class Money:
    amount: Decimal
    asset: str


@strawberry.type
class Balance:
    available: Money
    posted: Money
    pending: Money
    version: int
    as_of: datetime


@strawberry.type
class Account:
    id: strawberry.ID


@strawberry.type
class Cause:
    event_id: strawberry.ID
    event_type: str
    correlation_id: strawberry.ID


@strawberry.type
class BalanceChange:
    account: Account
    balance: Balance
    position: str
    cause: Cause | None


Subscribers = dict[str, set[asyncio.Queue[BalanceChange]]]
_subscribers: Subscribers = {}
_versions: dict[str, int] = {}
_maker: asyncio.Task[None] | None = None


def _change(account: str, version: int) -> BalanceChange:
    def money(text: str) -> Money:
        return Money(amount=Decimal(text), asset="EUR")

    balance = Balance(
        available=money("100.00"),
        posted=money("100.00"),
        pending=money("0.00"),
        version=version,
        as_of=datetime.now(UTC),
    )
    cause = Cause(
        event_id=strawberry.ID(str(uuid4())),
        event_type="JournalPosted",
        correlation_id=strawberry.ID(str(uuid4())),
    )
    return BalanceChange(
        account=Account(id=strawberry.ID(account)), balance=balance, position=str(version), cause=cause
    )


@strawberry.type
class Query:
    ok: bool = True


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def balance_changed(self, account_ids: list[strawberry.ID]) -> AsyncGenerator[BalanceChange, None]:
        queue: asyncio.Queue[BalanceChange] = asyncio.Queue(_QUEUE_MAX)
        account = str(account_ids[0])
        yield _change(account, _versions.setdefault(account, 0))
        _subscribers.setdefault(account, set()).add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            _subscribers[account].discard(queue)
            while not queue.empty():
                queue.get_nowait()  # whoever waits for room in it waits no more


async def _make(accounts: list[str], pause_s: float) -> None:
    """Waits for the slowest subscriber: a change is made as soon as each has room for it."""
    while True:
        for account in accounts:
            _versions[account] += 1
            change = _change(account, _versions[account])
            for queue in tuple(_subscribers[account]):
                await queue.put(change)
        await asyncio.sleep(pause_s)


def _started(pause_s: float) -> Any:
    async def start(request: Request) -> Response:
        global _maker
        if _maker is not None:
            _maker.cancel()
            _maker = None
        if request.url.path != "/stop":
            _maker = asyncio.create_task(_make([name for name, some in _subscribers.items() if some], pause_s))
        return PlainTextResponse("ok")

    return start


def application() -> Starlette:
    graphql: Any = GraphQL(strawberry.Schema(Query, subscription=Subscription))
    return Starlette(
        routes=[
            WebSocketRoute("/graphql", graphql),
            Route("/flood", _started(0)),
            Route("/tick", _started(_TICK_S)),
            Route("/stop", _started(0)),
        ]
    )


if __name__ == "__main__":
    uvicorn.run(application(), port=int(sys.argv[1]), log_level="error", loop="uvloop")
