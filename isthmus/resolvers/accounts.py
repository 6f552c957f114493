"""Accounts of any kind behind one interface; where each kind's facts come from is its source's affair."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Protocol
from uuid import UUID

import strawberry
from strawberry import UNSET

from isthmus.domain.funding import funding_reference
from isthmus.graphql.connections import AFTER, FIRST, FIRST_DEFAULT, Edge, PageInfo
from isthmus.graphql.context import AppInfo, RequestContext
from isthmus.graphql.scalars import AssetCode
from isthmus.resolvers.balances import Balance
from isthmus.resolvers.nodes import Node
from isthmus.resolvers.transactions import TransactionConnection, TransactionFilter


@strawberry.enum(description="Where the money of an account lies.")
class AccountKind(Enum):
    LEDGER = strawberry.enum_value("LEDGER", description="Own money, in our ledger.")
    BANK = strawberry.enum_value("BANK", description="An account at a bank, linked by its owner.")
    WALLET = strawberry.enum_value("WALLET", description="A wallet on a chain.")


@strawberry.enum(description="What an account can do.")
class AccountStatus(Enum):
    OPEN = strawberry.enum_value("OPEN", description="Pays and receives.")
    FROZEN = strawberry.enum_value("FROZEN", description="Only receives.")
    CLOSED = strawberry.enum_value("CLOSED", description="Does nothing any more.")


class AccountSource(Protocol):
    """Where an account's facts come from."""

    @property
    def key(self) -> UUID: ...

    async def name(self, context: RequestContext) -> str | None: ...

    async def asset(self, context: RequestContext) -> str: ...

    async def status(self, context: RequestContext) -> AccountStatus: ...

    async def opened_at(self, context: RequestContext) -> datetime: ...

    async def transactions(self, context: RequestContext) -> int: ...

    async def shown_balance(self, context: RequestContext, as_of: datetime | None) -> Balance: ...

    async def page(
        self, context: RequestContext, first: int, after: str | None, filter: TransactionFilter | None
    ) -> TransactionConnection: ...


@strawberry.interface(description="An account: own money, at a bank or on a chain.")
class Account(Node):
    source: strawberry.Private[AccountSource]
    kind: AccountKind = strawberry.field(description="Where the money lies.")

    @strawberry.field(description="The owner's name for it; null once the owner's personal data are erased.")
    async def name(self, info: AppInfo) -> str | None:
        return await self.source.name(info.context)

    @strawberry.field(description="What it holds. Never changes.")
    async def asset(self, info: AppInfo) -> AssetCode:
        return AssetCode(await self.source.asset(info.context))

    @strawberry.field(description="What it can do.")
    async def status(self, info: AppInfo) -> AccountStatus:
        return await self.source.status(info.context)

    @strawberry.field(description="When it was opened.")
    async def opened_at(self, info: AppInfo) -> datetime:
        return await self.source.opened_at(info.context)

    @strawberry.field(description="What lies in it, now or at any instant since.")
    async def balance(
        self,
        info: AppInfo,
        as_of: Annotated[
            datetime | None,
            strawberry.argument(description="An instant that is over; the answer to it never changes."),
        ] = UNSET,
    ) -> Balance:
        return await self.source.shown_balance(info.context, as_of or None)

    @strawberry.field(description="What moved in it, newest first.")
    async def transactions(
        self,
        info: AppInfo,
        first: Annotated[int, strawberry.argument(description=FIRST)] = FIRST_DEFAULT,
        after: Annotated[str | None, strawberry.argument(description=AFTER)] = UNSET,
        filter: Annotated[TransactionFilter | None, strawberry.argument(description="Only some of them.")] = UNSET,
    ) -> TransactionConnection:
        return await self.source.page(info.context, first, after or None, filter or None)


@strawberry.type(description="An account of own money, in our ledger.")
class LedgerAccount(Account):
    @strawberry.field(
        description="What to write as the reference of a transfer to our account at a bank, so that it is credited here (ISO 11649)."
    )
    def funding_reference(self) -> str:
        return funding_reference(self.source.key)


@strawberry.type(description="A page of accounts, oldest first.")
class AccountConnection:
    kinds: strawberry.Private[list[str] | None]
    edges: list[Edge[Account]] = strawberry.field(description="The accounts of this page.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the whole list.")

    @strawberry.field(description="How many there are on all pages.")
    async def total_count(self, info: AppInfo) -> int:
        read, person = info.context.services.read, info.context.caller.person_id
        bank = (
            await read.bank_accounts.count(person) if self.kinds is None or AccountKind.BANK.name in self.kinds else 0
        )
        return bank + await read.accounts.count(person, self.kinds)


@strawberry.input(description="Only accounts of some kinds.")
class AccountFilter:
    kinds: list[AccountKind] | None = strawberry.field(
        default=UNSET, description="Accounts of any of these kinds; all kinds unless told."
    )
