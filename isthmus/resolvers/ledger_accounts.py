"""Where the facts of an account of own money come from: the read models, and what an event just said.

A mutation's answer is right before the projection has it, and the same when it is replayed: what the event says is pinned, and
only what it does not say is read, once the projection has come as far.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import strawberry

from isthmus.domain.accounts import AccountOpened, AccountRenamed
from isthmus.domain.ledger import Figures as EventFigures
from isthmus.graphql.context import RequestContext
from isthmus.graphql.errors import BadUserInput, NotYetVisible
from isthmus.graphql.ids import Kind, encode
from isthmus.read_models.accounts import AccountRow
from isthmus.read_models.balances import ZERO, Balance, Figures, FutureInstant
from isthmus.resolvers.accounts import Account, AccountKind, AccountStatus, LedgerAccount
from isthmus.resolvers.balances import Balance as BalanceShown
from isthmus.resolvers.balances import balance_of
from isthmus.resolvers.transactions import TransactionConnection, TransactionFilter, transactions_of
from isthmus.write_models.envelope import Done, Recorded


@dataclass(frozen=True)
class LedgerSource:
    """`position` is that of the event that pinned something; with `fresh`, what is read must not be older."""

    key: UUID
    row: AccountRow | None = None
    balance: Figures | None = None
    known_asset: str | None = None
    known_name: str | None = None
    known_status: AccountStatus | None = None
    position: int | None = None
    fresh: bool = False

    async def name(self, context: RequestContext) -> str | None:
        sealed = self.known_name or (await self._row(context)).name
        return await context.loaders.texts.load(sealed) if sealed else None

    async def asset(self, context: RequestContext) -> str:
        return self.known_asset or (await self._row(context)).asset

    async def status(self, context: RequestContext) -> AccountStatus:
        return self.known_status or AccountStatus((await self._row(context)).status)

    async def opened_at(self, context: RequestContext) -> datetime:
        return (await self._row(context)).opened_at

    async def transactions(self, context: RequestContext) -> int:
        return (await self._row(context)).transactions

    async def shown_balance(self, context: RequestContext, as_of: datetime | None) -> BalanceShown:
        figures = await self.figures(context, as_of)
        return await balance_of(context, figures, await self.asset(context))

    async def page(
        self, context: RequestContext, first: int, after: str | None, filter: TransactionFilter | None
    ) -> TransactionConnection:
        return await transactions_of(context, self, first, after, filter)

    async def figures(self, context: RequestContext, as_of: datetime | None) -> Figures:
        if as_of is not None:
            try:
                return await context.loaders.balances_at.load((self.key, as_of))
            except FutureInstant:
                raise BadUserInput("asOf: that instant is not over yet.") from None
        if self.balance is not None:
            return self.balance
        current = await context.loaders.balances.load(self.key)
        if current is None:
            await self._row(context)  # waits for the projection, or says that it is behind
            current = await context.loaders.balances.clear(self.key).load(self.key)
        if current is None:
            raise NotYetVisible("The account is not visible yet. Try again.")
        return current

    async def _row(self, context: RequestContext) -> AccountRow:
        if self.row is not None:
            return self.row
        if self.fresh:
            await self._projected(context)
        found = await context.loaders.accounts.load(self.key)
        if found is None and self.position is not None:
            await self._projected(context)
            found = await context.loaders.accounts.clear(self.key).load(self.key)
        if found is None:
            raise NotYetVisible("The account is not visible yet. Try again.")
        return found

    async def _projected(self, context: RequestContext) -> None:
        assert self.position is not None, "what was pinned has a position"
        if not await context.services.positions.wait_for(self.position, context.position_wait_s):
            raise NotYetVisible("The account is not visible yet. Try again.")


def ledger_account(source: LedgerSource) -> Account:
    return LedgerAccount(id=strawberry.ID(encode(Kind.ACCOUNT, source.key)), source=source, kind=AccountKind.LEDGER)


def account_from(row: AccountRow) -> Account:
    return ledger_account(LedgerSource(row.account_id, row))


def opened_account(recorded: Recorded, event: AccountOpened) -> Account:
    """An account as it is the moment it is opened."""
    at = recorded.committed_at
    row = AccountRow(event.account_id, event.owner, "LEDGER", event.name, event.asset, "OPEN", at, recorded.position)
    return ledger_account(LedgerSource(event.account_id, row, Balance(ZERO, ZERO, ZERO, 0, at)))


def account_after(after: EventFigures, recorded: Recorded) -> Account:
    """An account with what a journal left in it."""
    figures = Balance(after.posted, after.pending_in, after.pending_out, after.version, recorded.committed_at)
    source = LedgerSource(after.account_id, None, figures, after.asset, position=recorded.position)
    return ledger_account(source)


def changed_account(key: UUID, outcome: Done, *, status: AccountStatus | None = None) -> Account:
    """An account after a change of its own: what the events say, the rest as the projection has it since."""
    name = next((r.event.name for r in outcome.events if isinstance(r.event, AccountRenamed)), None)
    return ledger_account(
        LedgerSource(key, known_name=name, known_status=status, position=outcome.position, fresh=True)
    )
