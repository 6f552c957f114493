"""Accounts at banks, as their banks tell of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import strawberry

from isthmus.graphql.connections import Edge, page_info, page_size, timed_cursor, timed_position
from isthmus.graphql.context import AppInfo, RequestContext
from isthmus.graphql.errors import BadUserInput, NotYetVisible
from isthmus.graphql.ids import Kind, encode
from isthmus.read_models.bank_accounts import BankAccountRow
from isthmus.read_models.bank_transactions import BankPageOf
from isthmus.resolvers.accounts import Account, AccountKind, AccountStatus
from isthmus.resolvers.balances import Balance
from isthmus.resolvers.consents import BankConsent, consent_of
from isthmus.resolvers.institutions import BankProviderName, Institution, institution_of
from isthmus.resolvers.money import money_with
from isthmus.resolvers.transactions import (
    Transaction,
    TransactionConnection,
    TransactionFilter,
    bank_transaction_of,
)

_CURSOR = "bank_transaction"
_ZERO = Decimal(0)
#: How much older than it may be, for which a bank is asked again, a balance is before it is called stale.
_LEEWAY = timedelta(seconds=15)


@dataclass(frozen=True)
class BankSource:
    """Where the facts of an account at a bank come from: the mirror of what the bank told last."""

    row: BankAccountRow

    @property
    def key(self) -> UUID:
        return self.row.account_id

    async def name(self, context: RequestContext) -> str | None:  # noqa: ARG002 - as the port has it
        return self.row.text.n if self.row.text else None

    async def asset(self, context: RequestContext) -> str:  # noqa: ARG002 - as the port has it
        return self.row.asset

    async def status(self, context: RequestContext) -> AccountStatus:  # noqa: ARG002 - as the port has it
        return AccountStatus.OPEN

    async def opened_at(self, context: RequestContext) -> datetime:  # noqa: ARG002 - as the port has it
        return self.row.opened_at

    async def transactions(self, context: RequestContext) -> int:  # noqa: ARG002 - as the port has it
        return self.row.transactions

    async def fresh(self, context: RequestContext) -> BankAccountRow:
        """The row, after the bank was asked where it is too old and the bank may be asked."""
        row = self.row
        if await context.services.banking.balances.freshen(row.consent_id, row.as_of, outdated=row.outdated):
            return await context.loaders.bank_accounts.clear(self.key).load(self.key) or row
        return row

    async def shown_balance(self, context: RequestContext, as_of: datetime | None) -> Balance:
        if as_of is not None:
            raise BadUserInput("asOf: a bank tells the balance of now only.")
        row = await self.fresh(context)
        posted = row.booked if row.booked is not None else row.available
        if posted is None or row.as_of is None:
            raise NotYetVisible("The bank has not told a balance yet. Try again.")
        available = row.available if row.available is not None else posted
        scale, asset = await context.scale(row.asset), row.asset
        coming, going = max(available - posted, _ZERO), max(posted - available, _ZERO)
        return Balance(
            available=money_with(scale, available, asset),
            posted=money_with(scale, posted, asset),
            pending=money_with(scale, available - posted, asset),
            pending_in=money_with(scale, coming, asset),
            pending_out=money_with(scale, going, asset),
            as_of=row.as_of,
            version=row.transactions,
        )

    async def page(
        self, context: RequestContext, first: int, after: str | None, filter: TransactionFilter | None
    ) -> TransactionConnection:
        status = filter.status.name if filter is not None and filter.status else None
        wanted = BankPageOf(self.key, page_size(first), timed_position(_CURSOR, after), status)
        rows, more = await context.loaders.bank_pages.load(wanted)
        edges: list[Edge[Transaction]] = [
            Edge(node=bank_transaction_of(row), cursor=timed_cursor(_CURSOR, row.booked_at, row.transaction_id))
            for row in rows
        ]

        async def count(context: RequestContext) -> int:
            if status is None:
                return self.row.transactions
            return await context.loaders.bank_counts.load((self.key, status))

        return TransactionConnection(
            counted=count,
            edges=edges,
            page_info=page_info([edge.cursor for edge in edges], more=more, after=after),
        )


@strawberry.type(description="An account at a bank, linked by its owner.")
class BankAccount(Account):
    provider: BankProviderName = strawberry.field(description="Who told of it.")

    @strawberry.field(description="Its IBAN, where the bank tells one.")
    def iban(self) -> str | None:
        row = _row(self)
        return row.text.i if row.text else None

    @strawberry.field(description="Sort code and number, or as its country has it, where the bank tells them.")
    def number(self) -> str | None:
        row = _row(self)
        return row.text.k if row.text else None

    @strawberry.field(description="The bank.")
    async def institution(self, info: AppInfo) -> Institution:
        row = await info.context.loaders.institutions.load(_row(self).institution_id)
        if row is None:
            raise NotYetVisible("The institution is not known here any more.")
        return institution_of(row)

    @strawberry.field(description="By which consent we see it.")
    async def consent(self, info: AppInfo) -> BankConsent:
        row = await info.context.loaders.consents.load(_row(self).consent_id)
        assert row is not None, "an account has one"
        return consent_of(row)

    @strawberry.field(
        description="Whether what is shown may be old: the bank could not be asked, or must not be. `balance.asOf` says how old."
    )
    async def stale(self, info: AppInfo) -> bool:
        source = self.source
        assert isinstance(source, BankSource), "a bank's account comes from a bank"
        row = await source.fresh(info.context)
        services = info.context.services
        now = services.clock.now()
        if row.as_of is None or row.outdated or not row.readable(now):
            return True
        return now - row.as_of > services.banking.balances.lasts + _LEEWAY


def _row(account: Account) -> BankAccountRow:
    assert isinstance(account.source, BankSource), "a bank's account comes from a bank"
    return account.source.row


def bank_account_of(row: BankAccountRow) -> BankAccount:
    return BankAccount(
        id=strawberry.ID(encode(Kind.BANK_ACCOUNT, row.account_id)),
        source=BankSource(row),
        kind=AccountKind.BANK,
        provider=BankProviderName(row.provider),
    )
