"""Transactions: what each journal did to one account."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Protocol
from uuid import UUID

import strawberry
from strawberry import UNSET

from isthmus.graphql.connections import Edge, PageInfo, edges_of, page_info, page_size, position_of
from isthmus.graphql.context import AppInfo, RequestContext
from isthmus.graphql.ids import Kind, encode
from isthmus.read_models.transactions import PageOf, TransactionRow
from isthmus.resolvers.money import Money, money
from isthmus.resolvers.nodes import Node

if TYPE_CHECKING:
    from isthmus.resolvers.journals import Journal

_CURSOR = "transaction"


@strawberry.enum(description="Which way money went, seen from the account.")
class Direction(Enum):
    DEBIT = strawberry.enum_value("DEBIT", description="Out of a customer's account.")
    CREDIT = strawberry.enum_value("CREDIT", description="Into a customer's account.")


@strawberry.enum(description="How far a transaction has come.")
class TransactionStatus(Enum):
    PENDING = strawberry.enum_value("PENDING", description="Reserved, not booked yet.")
    POSTED = strawberry.enum_value("POSTED", description="Booked for good.")
    VOIDED = strawberry.enum_value("VOIDED", description="Was reserved, and released again.")


@strawberry.type(description="What one journal did to one account.")
class Transaction(Node):
    row: strawberry.Private[TransactionRow]

    @strawberry.field(description="Signed: negative is money out.")
    async def amount(self, info: AppInfo) -> Money:
        return await money(info.context, self.row.amount, self.row.asset)

    @strawberry.field(description="Which way it went.")
    def direction(self) -> Direction:
        return Direction(self.row.direction)

    @strawberry.field(description="How far it has come.")
    def status(self) -> TransactionStatus:
        return TransactionStatus(self.row.status)

    @strawberry.field(description="When it was booked, or reserved while it is pending.")
    def booked_at(self) -> datetime:
        return self.row.booked_at

    @strawberry.field(description="What its payer wrote; null where nothing, or once those personal data are erased.")
    async def description(self, info: AppInfo) -> str | None:
        return await info.context.loaders.texts.load(self.row.description) if self.row.description else None

    @strawberry.field(description="The journal that moved it.")
    async def journal(self, info: AppInfo) -> Annotated[Journal, strawberry.lazy("isthmus.resolvers.journals")] | None:
        from isthmus.resolvers.journals import journal_of

        row = await info.context.loaders.journals.load(self.row.journal_id)
        return None if row is None else journal_of(row)


@strawberry.type(description="A page of transactions, newest first.")
class TransactionConnection:
    counted: strawberry.Private[TransactionCount]
    edges: list[Edge[Transaction]] = strawberry.field(description="The transactions of this page.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the whole list.")

    @strawberry.field(description="How many there are on all pages.")
    async def total_count(self, info: AppInfo) -> int:
        status = self.counted.status
        if status is None:
            return await self.counted.source.transactions(info.context)
        return await info.context.loaders.counts.load((self.counted.source.key, status))


@strawberry.input(description="Only some transactions.")
class TransactionFilter:
    status: TransactionStatus | None = strawberry.field(
        default=UNSET, description="Transactions that have come this far; all unless told."
    )


class Counted(Protocol):
    """The account, as far as its transactions' page needs it."""

    @property
    def key(self) -> UUID: ...

    async def transactions(self, context: RequestContext) -> int: ...


class TransactionCount:
    def __init__(self, source: Counted, status: str | None) -> None:
        self.source = source
        self.status = status


def transaction_of(row: TransactionRow) -> Transaction:
    return Transaction(id=strawberry.ID(encode(Kind.TRANSACTION, row.account_id, row.journal_id)), row=row)


async def transactions_of(
    context: RequestContext, source: Counted, first: int, after: str | None, filter: TransactionFilter | None
) -> TransactionConnection:
    status = filter.status.name if filter is not None and filter.status else None
    before = position_of(_CURSOR, after)
    rows, more = await context.loaders.pages.load(PageOf(source.key, page_size(first), before, status))
    edges = edges_of(_CURSOR, rows, lambda row: row.position, transaction_of)
    return TransactionConnection(
        counted=TransactionCount(source, status),
        edges=edges,
        page_info=page_info([edge.cursor for edge in edges], more=more, after=after),
    )
