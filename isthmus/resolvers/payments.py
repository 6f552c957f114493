"""Payments as they are shown."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import strawberry

from isthmus.graphql.connections import Edge, PageInfo
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import Kind, encode
from isthmus.graphql.scalars import Position
from isthmus.read_models.payments import PaymentRow
from isthmus.resolvers.accounts import Account
from isthmus.resolvers.bound_payments import challenge_of_payment
from isthmus.resolvers.ledger_accounts import account_from
from isthmus.resolvers.money import Money, money
from isthmus.resolvers.nodes import Node
from isthmus.resolvers.payee_checks import PayeeCheck, check_of
from isthmus.resolvers.payees import Payee
from isthmus.resolvers.sca import ScaChallenge


@strawberry.enum(description="Where a payment stands. It only ever goes on, and comes to one end.")
class PaymentState(Enum):
    AWAITING_SCA = strawberry.enum_value("AWAITING_SCA", description="Its payer is to answer the challenge.")
    AUTHORISED = strawberry.enum_value(
        "AUTHORISED", description="Its payer answered for it; it is on its way to the bank."
    )
    SUBMITTED = strawberry.enum_value("SUBMITTED", description="The bank has it.")
    EXECUTED = strawberry.enum_value("EXECUTED", description="The money has left.")
    SETTLED = strawberry.enum_value("SETTLED", description="The money has arrived.")
    REJECTED = strawberry.enum_value("REJECTED", description="The bank, or a rule here, would not have it.")
    CANCELLED = strawberry.enum_value("CANCELLED", description="Its payer took it back.")
    EXPIRED = strawberry.enum_value("EXPIRED", description="Nobody answered the challenge in time.")
    FAILED = strawberry.enum_value("FAILED", description="It could not be done.")


@strawberry.type(description="Why a payment came to nothing.")
class PaymentFailure:
    code: str = strawberry.field(description="Why, for programs (docs/payments.md).")
    message: str = strawberry.field(description="Why, for people.")
    retryable: bool = strawberry.field(description="Whether the same payment, made anew, may succeed.")


@strawberry.type(description="A state that a payment came to.")
class PaymentStep:
    state: PaymentState = strawberry.field(description="The state.")
    at: datetime = strawberry.field(description="When.")


#: Of every code of our own (docs/payments.md).
MESSAGES = {
    "SCA_FAILED": "It was answered for wrongly too often.",
    "COMPLIANCE": "This payment cannot be made.",
    "RECIPIENT_NOT_FOUND": "The account that it was for is not open any more.",
    "NOT_EXECUTED": "The bank did not carry it out. The money is free again.",
    "CHANGED_AFTER_SCA": "What would have been sent is not what was answered for. Nothing was sent.",
}


@strawberry.type(description="Someone pays a payee.")
class Payment(Node):
    row: strawberry.Private[PaymentRow]
    state: PaymentState = strawberry.field(description="Where it stands.")
    provider: str = strawberry.field(description="Who carries it out.")
    created_at: datetime = strawberry.field(description="When it was made.")
    position: Position = strawberry.field(
        description="The log position of the last thing that happened to it: what to resume `paymentProgressed` after."
    )

    @strawberry.field(description="How much.")
    async def amount(self, info: AppInfo) -> Money:
        return await money(info.context, self.row.amount, self.row.asset)

    @strawberry.field(
        description="What the bank moved for it as it was found when somebody had to look into it; null where nobody had to."
    )
    async def moved(self, info: AppInfo) -> Money | None:
        return None if self.row.moved is None else await money(info.context, self.row.moved, self.row.asset)

    @strawberry.field(description="Who is paid.")
    def payee(self) -> Payee:
        return Payee(row=self.row)

    @strawberry.field(
        description="The payer's own account here that has the money once it has settled; null where somebody else is paid."
    )
    async def to_account(self, info: AppInfo) -> Account | None:
        key = self.row.credits_account_id
        row = None if key is None else await info.context.loaders.accounts.load(key)
        return None if row is None else account_from(row)

    @strawberry.field(
        description="What its payer is told of the payee before they authorise it; null where nobody was asked."
    )
    async def payee_check(self, info: AppInfo) -> PayeeCheck | None:
        row = await info.context.loaders.payee_checks.load(self.row.payment_id)
        return None if row is None else check_of(row, sealed=True)

    @strawberry.field(
        description="What the payee reads; null where nothing was written, or once the payer's personal data are erased."
    )
    async def reference(self, info: AppInfo) -> str | None:
        return None if self.row.reference is None else await info.context.loaders.texts.load(self.row.reference)

    @strawberry.field(
        description="The rule by which its payer was not asked (docs/payments.md); null where they were, or it was refused."
    )
    def exemption(self) -> str | None:
        return self.row.exempted_by

    @strawberry.field(
        description="What its payer is asked for; null where nothing is: it was refused at once, or a rule exempts it."
    )
    async def challenge(self, info: AppInfo) -> ScaChallenge | None:
        return await challenge_of_payment(info, self.row)

    @strawberry.field(
        description="Why it was `REJECTED` or `FAILED`; null in every other state, of which `CANCELLED` and `EXPIRED` say it themselves."
    )
    def failure(self) -> PaymentFailure | None:
        code = self.row.failure_code
        if code is None:
            return None
        message = MESSAGES.get(code, "The bank would not have it.")
        return PaymentFailure(code=code, message=message, retryable=self.row.retryable)

    @strawberry.field(description="The states that it came to, oldest first.")
    async def history(self, info: AppInfo) -> list[PaymentStep]:
        steps = await info.context.loaders.payment_histories.load(self.row.payment_id)
        return [PaymentStep(state=PaymentState(step.state), at=step.at) for step in steps]


@strawberry.type(description="A page of payments, newest first.")
class PaymentConnection:
    edges: list[Edge[Payment]] = strawberry.field(description="The payments of this page.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the whole list.")

    @strawberry.field(description="How many there are on all pages.")
    async def total_count(self, info: AppInfo) -> int:
        return await info.context.services.read.payments.count(info.context.caller.person_id)


def payment_of(row: PaymentRow) -> Payment:
    return Payment(
        id=strawberry.ID(encode(Kind.PAYMENT, row.payment_id)),
        row=row,
        state=PaymentState(row.state),
        provider=row.provider,
        created_at=row.created_at,
        position=Position(row.position),
    )
