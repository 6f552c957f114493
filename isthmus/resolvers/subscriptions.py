"""Live: balances as they change."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Hashable
from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry
from strawberry import UNSET

from isthmus.domain.identifiers import NOWHERE
from isthmus.graphql.context import AppInfo, RequestContext, SharedContext
from isthmus.graphql.errors import BadUserInput, NotYetVisible
from isthmus.graphql.ids import account_key
from isthmus.graphql.scalars import Position
from isthmus.graphql.services import BalanceMessage, Subscriber
from isthmus.resolvers.accounts import Account
from isthmus.resolvers.balances import Balance, balance_of
from isthmus.resolvers.ledger_accounts import LedgerSource, ledger_account

#: Most accounts that one subscription may name.
ACCOUNTS_MAX = 200


@strawberry.type(description="What changed something.")
class Cause:
    event_id: strawberry.ID = strawberry.field(description="The event, as the audit trail shows it.")
    event_type: str = strawberry.field(description="What happened.")
    correlation_id: strawberry.ID = strawberry.field(description="The request that caused it.")


@strawberry.type(description="Messages that were left out: those after `fromPosition`, up to `toPosition`.")
class Lagged:
    from_position: Position = strawberry.field(description="Nothing of the account was left out up to here.")
    to_position: Position = strawberry.field(description="From here on nothing is left out again.")


@strawberry.type(description="A balance, and what made it so.")
class BalanceChange:
    account: Account = strawberry.field(description="The account.")
    balance: Balance = strawberry.field(description="What lies in it after the change.")
    version: int = strawberry.field(
        description="The balance's version: one more than in the account's message before, unless this one is `lagged`."
    )
    as_of: datetime = strawberry.field(description="When the change was committed.")
    position: Position = strawberry.field(
        description="With this message everything of the subscription up to here is delivered: give it as `after` to go on."
    )
    cause: Cause | None = strawberry.field(
        description="What made the change; null in the first message of an account, and in a lagged one."
    )
    lagged: Lagged | None = strawberry.field(
        description="Null, unless the account's messages before this one were left out: the balance is right, its history has a gap."
    )


class BalanceStream(AsyncIterable[BalanceChange]):
    """One subscriber's messages, to be taken by `pop` (graphql/live.py). Iterable for the type system only."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self.pop = subscriber.pop
        self.close = subscriber.close

    @property
    def ready(self) -> Callable[[], None]:
        return self._subscriber.ready

    @ready.setter
    def ready(self, tell: Callable[[], None]) -> None:
        self._subscriber.ready = tell

    def mark(self, message: BalanceMessage) -> Hashable:
        return message.account_id, message.version, message.position, message.lagged_from, message.cause is None

    def place(self, message: BalanceMessage) -> str:
        return str(message.position)

    async def value(self, context: SharedContext, message: BalanceMessage) -> BalanceChange:
        return BalanceChange(
            account=_account(message),
            balance=await balance_of(context, message, message.asset),
            version=message.version,
            as_of=message.as_of,
            position=Position(message.position),
            cause=_cause(message),
            lagged=_lagged(message),
        )

    def __aiter__(self) -> AsyncIterator[BalanceChange]:
        raise TypeError("taken by pop")


@strawberry.type
class BalanceSubscriptions:
    @strawberry.subscription(
        description="First each account's current balance, or what was missed since `after`; then a message per journal that touches it, "
        "in order, none skipped."
    )
    async def balance_changed(
        self,
        info: AppInfo,
        account_ids: Annotated[
            list[strawberry.ID] | None,
            strawberry.argument(
                description="Which accounts, 200 at most; all of the viewer's, those opened later too, unless told."
            ),
        ] = UNSET,
        after: Annotated[
            Position | None,
            strawberry.argument(
                description="The position of the last message that was received: what came after it is delivered, and nothing before."
            ),
        ] = UNSET,
    ) -> AsyncIterable[BalanceChange]:
        context = info.context
        wanted = _wanted(account_ids)
        position = context.resume_after
        if position is None and isinstance(after, int):
            position = after
        if position is not None:
            await _reached(context, position)
        return BalanceStream(await context.services.feed.subscribe(wanted, context.sight, position))


async def _reached(context: RequestContext, position: int) -> None:
    """What is delivered after a position must be after it. Raises BadUserInput where the log has none, else NotYetVisible."""
    positions = context.services.positions
    if await positions.wait_for(position, 0):
        return
    if position > await context.services.read.log.end():
        raise BadUserInput("after: the log has no such position. Subscribe without it.")
    if not await positions.wait_for(position, context.position_wait_s):
        raise NotYetVisible("That position is not visible yet. Try again.")


def _wanted(account_ids: list[strawberry.ID] | None) -> frozenset[UUID] | None:
    """None is all; what is no account's id stands for one that does not exist, and is never delivered to."""
    if account_ids is None or account_ids is UNSET:
        return None
    if len(account_ids) > ACCOUNTS_MAX:
        raise BadUserInput(f"accountIds: at most {ACCOUNTS_MAX}.")
    return frozenset(account_key(account_id) for account_id in account_ids) or frozenset({NOWHERE})


def _account(message: BalanceMessage) -> Account:
    source = LedgerSource(
        message.account_id, None, balance=message, known_asset=message.asset, position=message.position
    )
    return ledger_account(source)


def _cause(message: BalanceMessage) -> Cause | None:
    if message.cause is None:
        return None
    return Cause(
        event_id=strawberry.ID(str(message.cause.event_id)),
        event_type=message.cause.event_type,
        correlation_id=strawberry.ID(message.cause.correlation_id),
    )


def _lagged(message: BalanceMessage) -> Lagged | None:
    if message.lagged_from is None:
        return None
    return Lagged(from_position=Position(message.lagged_from), to_position=Position(message.position))
