"""Payments that wait for an operator's judgement: the list of them, and the two words that end the wait."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeVar

import strawberry
from strawberry import UNSET

from isthmus.domain.identifiers import NOWHERE
from isthmus.domain.refusals import PaymentNotInReview
from isthmus.domain.validation import key_fault
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
from isthmus.graphql.ids import payment_key
from isthmus.graphql.scalars import Position
from isthmus.read_models.payments import PaymentRow
from isthmus.resolvers.payments import Payment, payment_of
from isthmus.resolvers.wishes import INPUT, KEY, Payload, envelope_of, refused
from isthmus.write_models.envelope import Refused

_CURSOR = "review"


@strawberry.type(description="A payment that waits for an operator's judgement.")
class PaymentReview:
    payment: Payment = strawberry.field(
        description="The payment. Its payer answered for it, and its money is reserved."
    )
    rule: str = strawberry.field(description="The id of the rule that asks for a judgement (docs/payments.md).")
    list_version: str = strawberry.field(
        description="The version of the list that the rule went by; `none` where it goes by none."
    )
    since: datetime = strawberry.field(description="Since when it waits.")


@strawberry.type(description="A page of payments that wait for a judgement, longest first.")
class PaymentReviewConnection:
    edges: list[Edge[PaymentReview]] = strawberry.field(description="The payments of this page.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the whole list.")

    @strawberry.field(description="How many there are on all pages.")
    async def total_count(self, info: AppInfo) -> int:
        return await info.context.services.read.payments.count_in_review()


@strawberry.input(description="A payment that is let go on.")
class ReleasePaymentInput:
    payment_id: strawberry.ID = strawberry.field(description="The payment's id.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="A payment that is refused.")
class RefusePaymentInput:
    payment_id: strawberry.ID = strawberry.field(description="The payment's id.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.type(description="What became of the wish to let a payment go on.")
class ReleasePaymentPayload(Payload):
    payment: Payment | None = strawberry.field(description="The payment; null when refused.")


@strawberry.type(description="What became of the wish to refuse a payment.")
class RefusePaymentPayload(Payload):
    payment: Payment | None = strawberry.field(description="The payment; null when refused.")


@strawberry.type
class PaymentReviewQueries:
    @strawberry.field(description="Payments that wait for an operator's judgement, longest first. For operators.")
    async def payments_for_review(
        self,
        info: AppInfo,
        first: Annotated[int, strawberry.argument(description=FIRST)] = FIRST_DEFAULT,
        after: Annotated[str | None, strawberry.argument(description=AFTER)] = UNSET,
    ) -> PaymentReviewConnection:
        size, place = page_size(first), timed_position(_CURSOR, after or None)
        rows, more = await info.context.services.read.payments.in_review(size, place)
        edges = [Edge(node=_review(row), cursor=timed_cursor(_CURSOR, _since(row), row.payment_id)) for row in rows]
        return PaymentReviewConnection(
            edges=edges, page_info=page_info([edge.cursor for edge in edges], more=more, after=after or None)
        )


@strawberry.type
class PaymentReviewMutations:
    @strawberry.mutation(description="Let a payment go on that waits for a judgement. Nobody judges their own.")
    async def release_payment(
        self, info: AppInfo, input: Annotated[ReleasePaymentInput, strawberry.argument(description=INPUT)]
    ) -> ReleasePaymentPayload:
        return await _judged(info, input, ReleasePaymentPayload, release=True)

    @strawberry.mutation(
        description="Refuse a payment that waits for a judgement: it is rejected, and its money is free again. Nobody judges their own."
    )
    async def refuse_payment(
        self, info: AppInfo, input: Annotated[RefusePaymentInput, strawberry.argument(description=INPUT)]
    ) -> RefusePaymentPayload:
        return await _judged(info, input, RefusePaymentPayload, release=False)


Judged = TypeVar("Judged", ReleasePaymentPayload, RefusePaymentPayload)


async def _judged(
    info: AppInfo, given: ReleasePaymentInput | RefusePaymentInput, kind: type[Judged], *, release: bool
) -> Judged:
    fault = key_fault(given.idempotency_key)
    if fault is not None:
        return await refused(info, kind, fault, "payment")
    payment_id = payment_key(given.payment_id)
    if payment_id == NOWHERE:
        missing = PaymentNotInReview("No payment of that id waits for your judgement.", ("input", "paymentId"))
        return await refused(info, kind, missing, "payment")
    envelope = envelope_of(
        info,
        mutation="releasePayment" if release else "refusePayment",
        key=given.idempotency_key,
        body={"payment_id": given.payment_id},
    )
    services = info.context.services
    outcome = await services.payments.judge(info.context.caller.person_id, payment_id, envelope, release=release)
    if isinstance(outcome, Refused):
        return await refused(info, kind, outcome.refusal, "payment", outcome)
    (row,) = await services.read.payments.load_any([payment_id])
    assert row is not None, "it was judged just now, in the same database"
    return kind(position=Position(outcome.position), replayed=outcome.replayed, errors=[], payment=payment_of(row))


def _review(row: PaymentRow) -> PaymentReview:
    return PaymentReview(
        payment=payment_of(row),
        rule=row.screened_by or "",
        list_version=row.screened_against or "",
        since=_since(row),
    )


def _since(row: PaymentRow) -> datetime:
    assert row.review_since is not None, "what waits has waited since some time"
    return row.review_since
