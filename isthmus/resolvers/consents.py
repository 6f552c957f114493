"""Consents as they are shown: what someone lets us see at a bank, and until when."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from isthmus.domain.consent_policy import Jurisdiction, policy_of
from isthmus.graphql.connections import Edge, PageInfo
from isthmus.graphql.context import AppInfo
from isthmus.graphql.errors import NotYetVisible
from isthmus.graphql.ids import Kind, encode
from isthmus.read_models.consents import ConsentRow
from isthmus.resolvers.institutions import BankProviderName, Institution, institution_of
from isthmus.resolvers.nodes import Node

if TYPE_CHECKING:
    from isthmus.resolvers.bank_accounts import BankAccount

_DAY = timedelta(days=1)


@strawberry.enum(description="Where a consent stands.")
class ConsentStatus(Enum):
    AWAITING_AUTHORISATION = strawberry.enum_value(
        "AWAITING_AUTHORISATION", description="Its owner is on their way to the bank; that may take days."
    )
    AUTHORISED = strawberry.enum_value("AUTHORISED", description="The bank is read.")
    RENEWAL_NEEDED = strawberry.enum_value(
        "RENEWAL_NEEDED", description="The bank wants its customer to sign in again: renew it."
    )
    EXPIRED = strawberry.enum_value("EXPIRED", description="Its time is over: renew it.")
    REJECTED = strawberry.enum_value("REJECTED", description="Its owner or the bank said no.")
    REVOKED = strawberry.enum_value("REVOKED", description="Its owner took it back, here or at the bank.")
    FAILED = strawberry.enum_value("FAILED", description="It could not be given.")


_OVER = (ConsentStatus.EXPIRED, ConsentStatus.REJECTED, ConsentStatus.REVOKED, ConsentStatus.FAILED)


@strawberry.enum(description="What a consent lets us see.")
class ConsentScope(Enum):
    ACCOUNTS = strawberry.enum_value("ACCOUNTS", description="Accounts.")
    BALANCES = strawberry.enum_value("BALANCES", description="Balances.")
    TRANSACTIONS = strawberry.enum_value("TRANSACTIONS", description="Transactions.")


@strawberry.enum(description="How far the reading of a bank has come.")
class BankSyncState(Enum):
    WAITING = strawberry.enum_value("WAITING", description="It has not begun, or the bank is still gathering.")
    RUNNING = strawberry.enum_value("RUNNING", description="It is under way.")
    DONE = strawberry.enum_value("DONE", description="Everything was read.")
    FAILED = strawberry.enum_value("FAILED", description="It failed, and is tried again.")


@strawberry.type(description="The reading of a bank.")
class BankSync:
    state: BankSyncState = strawberry.field(description="How far it has come.")
    fetched: int = strawberry.field(
        description="Transactions that the reading under way, or the last one, has taken in."
    )
    synced_at: datetime | None = strawberry.field(description="When everything was read last; null where never.")
    fault: str | None = strawberry.field(
        description="Why the last reading failed, or what of it was left out; null where neither."
    )
    next_sync_allowed_at: datetime | None = strawberry.field(
        description="From when on the bank may be read again without its customer; null where it may be now."
    )


@strawberry.type(description="Someone lets us see their accounts at a bank, for a while.")
class BankConsent(Node):
    row: strawberry.Private[ConsentRow]
    status: ConsentStatus = strawberry.field(description="Where it stands.")
    provider: BankProviderName = strawberry.field(description="Who speaks for the bank.")
    expires_at: datetime | None = strawberry.field(description="When it ends; null where it does not by itself.")
    scopes: list[ConsentScope] = strawberry.field(description="What it lets us see.")
    requested_at: datetime = strawberry.field(description="When it was asked for.")

    @strawberry.field(
        description="Whole days until it ends, 0 on the last and when it is over; null where it does not end by itself."
    )
    def days_left(self, info: AppInfo) -> int | None:
        if self.expires_at is None:
            return None
        if self.status in _OVER:
            return 0  # whenever it would have ended by itself
        return max(0, (self.expires_at - info.context.services.clock.now()) // _DAY)

    @strawberry.field(description="The bank.")
    async def institution(self, info: AppInfo) -> Institution:
        row = await info.context.loaders.institutions.load(self.row.institution_id)
        if row is None:
            raise NotYetVisible("The institution is not known here any more.")
        return institution_of(row)

    @strawberry.field(description="The accounts that the bank shows, oldest first.")
    async def accounts(
        self, info: AppInfo
    ) -> list[Annotated[BankAccount, strawberry.lazy("isthmus.resolvers.bank_accounts")]]:
        from isthmus.resolvers.bank_accounts import bank_account_of

        return [bank_account_of(row) for row in await info.context.loaders.consent_accounts.load(self.row.consent_id)]

    @strawberry.field(description="How far the bank has been read.")
    def sync(self) -> BankSync:
        row = self.row
        return BankSync(
            state=BankSyncState(row.sync_state or "WAITING"),
            fetched=row.fetched or 0,
            synced_at=row.synced_at,
            fault=row.fault,
            next_sync_allowed_at=next_sync_allowed_at(row),
        )


def next_sync_allowed_at(row: ConsentRow) -> datetime | None:
    """The law counts readings without the customer over any 24 hours."""
    allowed = policy_of(row.provider, Jurisdiction(row.jurisdiction)).unattended_a_day
    times = sorted(row.unattended or ())
    if allowed is None or len(times) < allowed:
        return None
    return times[-allowed] + _DAY


def consent_of(row: ConsentRow) -> BankConsent:
    return BankConsent(
        id=strawberry.ID(encode(Kind.CONSENT, row.consent_id)),
        row=row,
        status=ConsentStatus(row.status),
        provider=BankProviderName(row.provider),
        expires_at=row.expires_at,
        scopes=[ConsentScope(scope) for scope in row.scopes],
        requested_at=row.requested_at,
    )


@strawberry.type(description="A page of consents, oldest first.")
class BankConsentConnection:
    edges: list[Edge[BankConsent]] = strawberry.field(description="The consents of this page.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the whole list.")

    @strawberry.field(description="How many there are on all pages.")
    async def total_count(self, info: AppInfo) -> int:
        return await info.context.services.read.consents.count(info.context.caller.person_id)
