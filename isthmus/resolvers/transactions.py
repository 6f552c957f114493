"""Transactions: what each journal did to one account."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Protocol
from uuid import UUID

import strawberry
from strawberry import UNSET

from isthmus.graphql.connections import Edge, PageInfo, edges_of, page_info, page_size, position_of
from isthmus.graphql.context import AppInfo, RequestContext
from isthmus.graphql.ids import Kind, encode
from isthmus.read_models.bank_transactions import BankTransactionRow
from isthmus.read_models.transactions import PageOf, TransactionRow
from isthmus.resolvers.institutions import BankProviderName
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


@strawberry.type(description="The other side of a transaction, as far as its bank tells.")
class Counterparty:
    name: str | None = strawberry.field(description="Who that is.")
    account: str | None = strawberry.field(description="Their IBAN, or sort code and number.")
    reference: str | None = strawberry.field(description="What was written for them.")


@strawberry.type(description="What moved in an account: by a journal of ours, or as a bank told of it.")
class Transaction(Node):
    row: strawberry.Private[TransactionRow | BankTransactionRow]

    @strawberry.field(description="Signed: negative is money out.")
    async def amount(self, info: AppInfo) -> Money:
        return await money(info.context, self.row.amount, self.row.asset)

    @strawberry.field(description="Which way it went.")
    def direction(self) -> Direction:
        if isinstance(self.row, BankTransactionRow):
            return Direction.DEBIT if self.row.amount < 0 else Direction.CREDIT
        return Direction(self.row.direction)

    @strawberry.field(description="How far it has come.")
    def status(self) -> TransactionStatus:
        return TransactionStatus(self.row.status)

    @strawberry.field(description="When it was booked, or reserved while it is pending.")
    def booked_at(self) -> datetime:
        return self.row.booked_at

    @strawberry.field(description="What its payer wrote; null where nothing, or once those personal data are erased.")
    async def description(self, info: AppInfo) -> str | None:
        if isinstance(self.row, BankTransactionRow):
            return self.row.text.d if self.row.text else None
        return await info.context.loaders.texts.load(self.row.description) if self.row.description else None

    @strawberry.field(description="The day from which it counts for interest; null where nobody tells.")
    def value_date(self) -> date | None:
        return self.row.value_on if isinstance(self.row, BankTransactionRow) else None

    @strawberry.field(description="The other side, as its bank tells; null for a journal of ours.")
    def counterparty(self) -> Counterparty | None:
        text = self.row.text if isinstance(self.row, BankTransactionRow) else None
        return None if text is None else Counterparty(name=text.n, account=text.a, reference=text.r)

    @strawberry.field(description="Who told of it; null for a journal of ours.")
    def provider(self) -> BankProviderName | None:
        return BankProviderName(self.row.provider) if isinstance(self.row, BankTransactionRow) else None

    @strawberry.field(description="What its provider calls it, where it has a name there; null for a journal of ours.")
    def provider_reference(self) -> str | None:
        return self.row.reference if isinstance(self.row, BankTransactionRow) else None

    @strawberry.field(description="What kind of thing was paid for, as far as its provider tells: GROCERIES, INCOME, …")
    def category(self) -> str | None:
        return self.row.category if isinstance(self.row, BankTransactionRow) else None

    @strawberry.field(description="The owner's own words for it.")
    async def tags(self, info: AppInfo) -> list[str]:
        sealed = self.row.tags if isinstance(self.row, BankTransactionRow) else None
        words = await info.context.loaders.texts.load(sealed) if sealed else None
        return words.split("\n") if words else []

    @strawberry.field(description="The journal that moved it; null for a bank's.")
    async def journal(self, info: AppInfo) -> Annotated[Journal, strawberry.lazy("isthmus.resolvers.journals")] | None:
        from isthmus.resolvers.journals import journal_of

        if isinstance(self.row, BankTransactionRow):
            return None
        row = await info.context.loaders.journals.load(self.row.journal_id)
        return None if row is None else journal_of(row)


@strawberry.type(description="A page of transactions, newest first.")
class TransactionConnection:
    counted: strawberry.Private[Callable[[RequestContext], Awaitable[int]]]
    edges: list[Edge[Transaction]] = strawberry.field(description="The transactions of this page.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the whole list.")

    @strawberry.field(description="How many there are on all pages.")
    async def total_count(self, info: AppInfo) -> int:
        return await self.counted(info.context)


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


def transaction_of(row: TransactionRow) -> Transaction:
    return Transaction(id=strawberry.ID(encode(Kind.TRANSACTION, row.account_id, row.journal_id)), row=row)


def bank_transaction_of(row: BankTransactionRow) -> Transaction:
    return Transaction(id=strawberry.ID(encode(Kind.BANK_TRANSACTION, row.transaction_id)), row=row)


async def transactions_of(
    context: RequestContext, source: Counted, first: int, after: str | None, filter: TransactionFilter | None
) -> TransactionConnection:
    status = filter.status.name if filter is not None and filter.status else None
    before = position_of(_CURSOR, after)
    rows, more = await context.loaders.pages.load(PageOf(source.key, page_size(first), before, status))
    edges = edges_of(_CURSOR, rows, lambda row: row.position, transaction_of)

    async def count(context: RequestContext) -> int:
        if status is None:
            return await source.transactions(context)
        return await context.loaders.counts.load((source.key, status))

    return TransactionConnection(
        counted=count,
        edges=edges,
        page_info=page_info([edge.cursor for edge in edges], more=more, after=after),
    )
