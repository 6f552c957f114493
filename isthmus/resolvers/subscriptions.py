"""Live: balances as they change."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any, cast
from uuid import UUID

import strawberry
from strawberry import UNSET

from isthmus.domain.identifiers import NOWHERE
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import account_key
from isthmus.graphql.scalars import Position
from isthmus.graphql.services import BalanceMessage
from isthmus.resolvers.accounts import Account
from isthmus.resolvers.balances import Balance, balance_of
from isthmus.resolvers.ledger_accounts import LedgerSource, ledger_account


@strawberry.type(description="What changed something.")
class Cause:
    event_id: strawberry.ID = strawberry.field(description="The event, as the audit trail shows it.")
    event_type: str = strawberry.field(description="What happened.")
    correlation_id: strawberry.ID = strawberry.field(description="The request that caused it.")


@strawberry.type(description="A balance, and what made it so.")
class BalanceChange:
    account: Account = strawberry.field(description="The account.")
    balance: Balance = strawberry.field(description="What lies in it after the change.")
    version: int = strawberry.field(description="The balance's version: one more than in the message before.")
    as_of: datetime = strawberry.field(description="When the change was committed.")
    position: Position = strawberry.field(description="The change's place in the log.")
    cause: Cause | None = strawberry.field(description="What made the change; null in the first message of an account.")


@strawberry.type
class BalanceSubscriptions:
    @strawberry.subscription(
        description="First each account's current balance, then a message per journal that touches it, in order, none skipped."
    )
    async def balance_changed(
        self,
        info: AppInfo,
        account_ids: Annotated[
            list[strawberry.ID] | None,
            strawberry.argument(
                description="Which of the viewer's accounts; all of them, those opened later too, unless told."
            ),
        ] = UNSET,
    ) -> AsyncGenerator[BalanceChange, None]:
        context = info.context
        wanted = _wanted(account_ids)
        messages = context.services.feed.subscribe(wanted, context.caller.person_id)
        # The feed's iterator gives up its place when it is closed, not when it is forgotten.
        async with aclosing(cast("AsyncGenerator[BalanceMessage, Any]", messages)) as stream:
            async for message in stream:
                context.renew_loaders()
                yield BalanceChange(
                    account=_account(message),
                    balance=await balance_of(context, message, message.asset),
                    version=message.version,
                    as_of=message.as_of,
                    position=Position(message.position),
                    cause=_cause(message),
                )


def _wanted(account_ids: list[strawberry.ID] | None) -> frozenset[UUID] | None:
    """None is all; what is no account's id stands for one that does not exist, and is never delivered to."""
    if account_ids is None or account_ids is UNSET:
        return None
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
