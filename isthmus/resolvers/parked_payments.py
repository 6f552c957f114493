"""Payments that are parked, for operators: the list of them with what the provider said. What ends it is in `payment_decisions.py`."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated

import strawberry
from strawberry import UNSET

from isthmus.graphql.connections import (
    AFTER,
    FIRST,
    FIRST_DEFAULT,
    Edge,
    PageInfo,
    page_info,
    page_size,
    timed_cursor,
    timed_position,
)
from isthmus.graphql.context import AppInfo
from isthmus.read_models.parked import ParkedRow, Proposal
from isthmus.resolvers.money import Money, money
from isthmus.resolvers.payments import Payment, payment_of

_CURSOR = "parked"


@strawberry.enum(description="Why a payment is parked (docs/payments.md).")
class ParkedReason(Enum):
    CHANGED_AFTER_SCA = strawberry.enum_value(
        "CHANGED_AFTER_SCA", description="What would have been sent was not what its payer answered for."
    )
    UNKNOWN_STATUS = strawberry.enum_value(
        "UNKNOWN_STATUS", description="The provider has a word that nobody knows, or does not answer at all."
    )
    OTHER_AMOUNT = strawberry.enum_value("OTHER_AMOUNT", description="The provider tells of another amount.")
    OTHER_PAYEE = strawberry.enum_value("OTHER_PAYEE", description="The provider tells of another payee.")
    CONTRADICTION = strawberry.enum_value(
        "CONTRADICTION", description="The provider says the contrary of what it said before, or of what was done here."
    )


@strawberry.enum(description="Whose money a payment moves, and so what is booked for it.")
class PaymentRail(Enum):
    OWN_ACCOUNT = strawberry.enum_value("OWN_ACCOUNT", description="Money in an account here: it is reserved.")
    LINKED_BANK = strawberry.enum_value(
        "LINKED_BANK", description="Money at the payer's own bank: it is only noted here."
    )
    TOP_UP = strawberry.enum_value(
        "TOP_UP", description="Money that its payer brings here: credited once it has arrived."
    )


@strawberry.enum(description="What operators find that the bank did.")
class PaymentFinding(Enum):
    EXECUTED = strawberry.enum_value(
        "EXECUTED", description="It moved money, as much as `amount` says; of a top-up: into our account."
    )
    NOT_EXECUTED = strawberry.enum_value(
        "NOT_EXECUTED", description="It moved nothing and never will, or all of it came back."
    )


@strawberry.type(description="Something that the provider said and that changed nothing.")
class PaymentEvidence:
    told: str = strawberry.field(
        description="What it means to us and the provider's own word; with the amount where that is another, and with what the provider "
        "calls the payment by where that was not known."
    )
    at: datetime = strawberry.field(description="When we heard it.")


@strawberry.type(description="What an operator proposes to find; another one confirms it.")
class PaymentProposal:
    row: strawberry.Private[Proposal]
    asset: strawberry.Private[str]
    id: strawberry.ID = strawberry.field(description="The proposal's id.")
    finding: PaymentFinding = strawberry.field(description="What the bank did.")
    provider_reference: str | None = strawberry.field(
        description="What the provider calls the payment by; null where that was known, or is not needed."
    )
    proposed_by: str = strawberry.field(description="Who proposed it, as the audit trail names them.")
    at: datetime = strawberry.field(description="When.")

    @strawberry.field(description="How much the bank moved; zero where it moved nothing.")
    async def amount(self, info: AppInfo) -> Money:
        return await money(info.context, self.row.made.amount, self.asset)

    @strawberry.field(
        description="The operator's reason, in their own words; null once their personal data are erased."
    )
    async def reason(self, info: AppInfo) -> str | None:
        return await info.context.loaders.texts.load(str(self.row.made.reason))


@strawberry.type(description="A payment that an operator is to look into. What was asked for is the payment's own.")
class ParkedPayment:
    row: strawberry.Private[ParkedRow]
    payment: Payment = strawberry.field(description="The payment: amount, payee, account, and the states it came to.")
    why: ParkedReason = strawberry.field(description="Why it is parked.")
    since: datetime = strawberry.field(description="Since when.")
    rail: PaymentRail = strawberry.field(description="Whose money it moves.")
    provider_reference: str | None = strawberry.field(
        description="What the provider calls it by; null where nobody knows."
    )
    submissions: int = strawberry.field(description="How often it was sent to the provider, always under the same key.")
    evidence: list[PaymentEvidence] = strawberry.field(description="What the provider said, oldest first.")

    @strawberry.field(description="How much of an account here is reserved for it; zero where nothing is.")
    async def reserved(self, info: AppInfo) -> Money:
        return await money(info.context, self.row.reserved, self.row.row.asset)

    @strawberry.field(description="How much the bank moved for it by our book.")
    async def booked(self, info: AppInfo) -> Money:
        return await money(info.context, self.row.payment.moved, self.row.row.asset)

    @strawberry.field(description="What waits for another operator to confirm it; null where nothing does.")
    def proposal(self) -> PaymentProposal | None:
        found = self.row.proposal
        return None if found is None else _proposal(found, self.row.row.asset)


@strawberry.type(description="A page of payments that operators are to look into, longest first.")
class ParkedPaymentConnection:
    edges: list[Edge[ParkedPayment]] = strawberry.field(description="The payments of this page.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the whole list.")

    @strawberry.field(description="How many there are on all pages.")
    async def total_count(self, info: AppInfo) -> int:
        return await info.context.services.read.parked.count()


@strawberry.type
class ParkedPaymentQueries:
    @strawberry.field(
        description="Payments that an operator is to look into, longest first. Those that wait for a review are in `paymentsForReview`. "
        "For operators."
    )
    async def payments_parked(
        self,
        info: AppInfo,
        first: Annotated[int, strawberry.argument(description=FIRST)] = FIRST_DEFAULT,
        after: Annotated[str | None, strawberry.argument(description=AFTER)] = UNSET,
    ) -> ParkedPaymentConnection:
        size, place = page_size(first), timed_position(_CURSOR, after or None)
        rows, more = await info.context.services.read.parked.page(size, place)
        edges = [Edge(node=parked_of(row), cursor=timed_cursor(_CURSOR, row.since, row.row.payment_id)) for row in rows]
        return ParkedPaymentConnection(
            edges=edges, page_info=page_info([edge.cursor for edge in edges], more=more, after=after or None)
        )


def _proposal(found: Proposal, asset: str) -> PaymentProposal:
    return PaymentProposal(
        row=found,
        asset=asset,
        id=strawberry.ID(str(found.made.proposal_id)),
        finding=PaymentFinding[found.made.finding.name],
        provider_reference=found.made.provider_reference,
        proposed_by=f"person:{found.made.operator}",
        at=found.at,
    )


def parked_of(row: ParkedRow) -> ParkedPayment:
    at_bank = PaymentRail.LINKED_BANK if row.row.credits_account_id is None else PaymentRail.TOP_UP
    return ParkedPayment(
        row=row,
        payment=payment_of(row.row),
        why=ParkedReason[row.why],
        since=row.since,
        rail=PaymentRail.OWN_ACCOUNT if row.row.source == "OWN" else at_bank,
        provider_reference=row.payment.provider_reference or None,
        submissions=row.payment.attempts,
        evidence=[PaymentEvidence(told=one.told, at=one.at) for one in row.evidence],
    )
