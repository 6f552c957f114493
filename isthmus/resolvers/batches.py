"""Batches: several payees paid at once, under one challenge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Annotated

import strawberry
from strawberry import UNSET

from isthmus.domain import own_accounts
from isthmus.domain.batches import PAYMENTS_MAX, count_fault
from isthmus.domain.money import add
from isthmus.domain.payment_initiation import REFERENCE_LENGTH_MAX
from isthmus.domain.refusals import InvalidInput, Refusal
from isthmus.domain.validation import asset_fault, first_fault, key_fault, money_fault, shown_fault
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import account_key
from isthmus.graphql.scalars import Position
from isthmus.read_models.payments import PaymentRow
from isthmus.resolvers.bound_payments import challenge_of_payment
from isthmus.resolvers.money import Money, MoneyInput, canonical, money
from isthmus.resolvers.payees import ChosenPayee, PayeeInput, chosen
from isthmus.resolvers.payments import Payment, payment_of
from isthmus.resolvers.sca import ScaChallenge, ScaMethod, method_body, method_from
from isthmus.resolvers.wishes import INPUT, KEY, Payload, envelope_of, refused
from isthmus.write_models.envelope import Refused
from isthmus.write_models.payment_desk import PaymentWish


@strawberry.type(description="Several payments under one challenge, which binds the total and every payee.")
class PaymentBatch:
    rows: strawberry.Private[Sequence[PaymentRow]]

    @strawberry.field(description="How much, in all.")
    async def total(self, info: AppInfo) -> Money:
        total = Decimal(0)
        for row in self.rows:
            total = add(total, row.amount)
        return await money(info.context, total, self.rows[0].asset)

    @strawberry.field(description="Its payments, in their order. Each goes on by itself once the challenge is passed.")
    def payments(self) -> list[Payment]:
        return [payment_of(row) for row in self.rows]

    @strawberry.field(description="What its payer is asked for; null where nothing is, since it was refused at once.")
    async def challenge(self, info: AppInfo) -> ScaChallenge | None:
        return await challenge_of_payment(info, self.rows[0])


def batch_of(rows: Sequence[PaymentRow]) -> PaymentBatch:
    """`rows`: one at least."""
    return PaymentBatch(rows=rows)


@strawberry.input(description="One of several payments.")
class BatchLineInput:
    amount: MoneyInput = strawberry.field(description="How much, in the account's asset.")
    payee: PayeeInput = strawberry.field(description="Who is to be paid.")
    reference: str | None = strawberry.field(
        default=UNSET, description=f"What the payee reads, in {REFERENCE_LENGTH_MAX} characters at most."
    )


@strawberry.input(description="Payments to be made together.")
class InitiateBatchPaymentInput:
    from_account_id: strawberry.ID = strawberry.field(description="One of the viewer's accounts.")
    payments: list[BatchLineInput] = strawberry.field(description=f"1 to {PAYMENTS_MAX}, of one asset.")
    method: ScaMethod | None = strawberry.field(default=UNSET, description="How to be asked, where there is a choice.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.type(description="What became of the wish to pay several.")
class InitiateBatchPaymentPayload(Payload):
    batch: PaymentBatch | None = strawberry.field(description="The batch, with its challenge; null when refused.")


@strawberry.type
class BatchMutations:
    @strawberry.mutation(
        description="Pay several payees at once: all or nothing is reserved, and one challenge binds the total and every payee."
    )
    async def initiate_batch_payment(
        self, info: AppInfo, input: Annotated[InitiateBatchPaymentInput, strawberry.argument(description=INPUT)]
    ) -> InitiateBatchPaymentPayload:
        fault = first_fault(key_fault(input.idempotency_key), count_fault(len(input.payments)))
        if fault is not None:
            return await refused(info, InitiateBatchPaymentPayload, fault, "batch")
        wishes: list[PaymentWish] = []
        for n, line in enumerate(input.payments):
            wish = await _wish(info, input, line, n)
            if isinstance(wish, Refusal):
                return await refused(info, InitiateBatchPaymentPayload, wish, "batch")
            wishes.append(wish)
        envelope = envelope_of(
            info,
            mutation="initiateBatchPayment",
            key=input.idempotency_key,
            body={
                "from_account_id": input.from_account_id,
                "payments": [
                    {
                        "amount": canonical(line.amount),
                        "payee": _payee_body(wish),
                        "reference": wish.reference,
                    }
                    for line, wish in zip(input.payments, wishes, strict=True)
                ],
                **method_body(input.method),
            },
        )
        person = info.context.caller.person_id
        method = method_from(input.method)
        answer = await info.context.services.batches.initiate(person, wishes, method, envelope)
        if isinstance(answer, Refused):
            return await refused(info, InitiateBatchPaymentPayload, answer.refusal, "batch", answer)
        batch_id, done = answer
        rows = await info.context.services.read.payments.of_batch(person, batch_id)
        return InitiateBatchPaymentPayload(
            position=Position(done.position), replayed=done.replayed, errors=[], batch=batch_of(rows)
        )


async def _wish(info: AppInfo, input: InitiateBatchPaymentInput, line: BatchLineInput, n: int) -> PaymentWish | Refusal:
    place, reference = ("input", "payments", str(n)), line.reference or ""
    payee = chosen(line.payee)
    asset = await info.context.services.read.assets.find(line.amount.asset)
    fault = first_fault(
        asset_fault(line.amount.asset, asset, (*place, "amount", "asset")),
        money_fault(line.amount.amount, asset, (*place, "amount", "amount")) if asset is not None else None,
        _same_asset(input, line, place),
        _payee_fault(payee, place),
        _reference_fault(reference, (*place, "reference")),
    )
    if fault is not None:
        return fault
    assert isinstance(payee, ChosenPayee)
    source = account_key(input.from_account_id)
    return PaymentWish(
        source,
        line.amount.amount,
        line.amount.asset,
        payee.name,
        payee.account,
        reference,
        saved_payee_id=payee.saved,
    )


def _payee_body(wish: PaymentWish) -> dict[str, str]:
    """As it was written: what is read of a saved payee is not part of the wish."""
    if wish.saved_payee_id is not None:
        return {"saved_payee": str(wish.saved_payee_id)}
    return {"name": wish.payee_name, "account": wish.payee_account.text()}


def _payee_fault(payee: ChosenPayee | Refusal, place: tuple[str, ...]) -> Refusal | None:
    if isinstance(payee, Refusal):
        return _placed(payee, place)
    if payee.credits is not None:
        return _placed(InvalidInput("One's own account is paid by itself.", own_accounts.PATH), place)
    return None


def _placed(refusal: Refusal, place: tuple[str, ...]) -> Refusal:
    return replace(refusal, path=(*place, *refusal.path[1:]))


def _same_asset(input: InitiateBatchPaymentInput, line: BatchLineInput, place: tuple[str, ...]) -> Refusal | None:
    if line.amount.asset == input.payments[0].amount.asset:
        return None
    return InvalidInput("A batch is of one asset.", (*place, "amount", "asset"))


def _reference_fault(reference: str, path: tuple[str, ...]) -> Refusal | None:
    if len(reference) > REFERENCE_LENGTH_MAX:
        return InvalidInput(f"The reference is longer than {REFERENCE_LENGTH_MAX} characters.", path)
    return shown_fault(reference, path) if reference else None
