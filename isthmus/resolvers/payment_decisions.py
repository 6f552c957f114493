"""How operators end it that a payment is parked: the provider is asked again, one finds out what the bank did, another confirms it."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry import UNSET

from isthmus.domain.identifiers import NOWHERE
from isthmus.domain.parked_payments import missing
from isthmus.domain.payment_decisions import Finding
from isthmus.domain.personal import PersonalText
from isthmus.domain.refusals import InvalidInput, Refusal
from isthmus.domain.validation import first_fault, key_fault, reason_fault
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import payment_key, proposal_key
from isthmus.graphql.scalars import Position
from isthmus.resolvers.money import MoneyInput, canonical
from isthmus.resolvers.money_mutations import amount_fault
from isthmus.resolvers.parked_payments import ParkedPayment, PaymentFinding, parked_of
from isthmus.resolvers.payments import Payment, payment_of
from isthmus.resolvers.wishes import INPUT, KEY, Payload, envelope_of, refused
from isthmus.write_models.envelope import Done, Outcome, Refused
from isthmus.write_models.parked_desk import FindingWish

_REFERENCE = ("input", "providerReference")
_REFERENCE_LENGTH_MAX = 64


@strawberry.input(description="A payment that the provider is to be asked about now.")
class LookAtPaymentAgainInput:
    payment_id: strawberry.ID = strawberry.field(description="The payment's id.")
    provider_reference: str | None = strawberry.field(
        default=UNSET,
        description="What the provider calls it by, where that is not known here. It counts only if the provider says that it is "
        "this payment.",
    )
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="What an operator found that the bank did.")
class ProposePaymentDecisionInput:
    payment_id: strawberry.ID = strawberry.field(description="The payment's id.")
    finding: PaymentFinding = strawberry.field(description="What the bank did.")
    amount: MoneyInput | None = strawberry.field(
        default=UNSET, description="Of EXECUTED, and needed there: how much the bank really moved."
    )
    provider_reference: str | None = strawberry.field(
        default=UNSET,
        description="What the provider calls the payment by. Needed where money of the platform's moved and it is not known.",
    )
    reason: str = strawberry.field(description="How that was found out, in 500 characters at most.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="What another operator found, and is right.")
class ConfirmPaymentDecisionInput:
    payment_id: strawberry.ID = strawberry.field(description="The payment's id.")
    proposal_id: strawberry.ID = strawberry.field(description="The proposal's id.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.type(description="What became of the wish to have the provider asked.")
class LookAtPaymentAgainPayload(Payload):
    payment: Payment | None = strawberry.field(description="The payment; null when refused.")
    parked: ParkedPayment | None = strawberry.field(
        description="The payment as it is parked still; null where it is no more."
    )
    told: str | None = strawberry.field(
        description="What the provider says now; null where it will not tell, or nobody knows what it calls the payment by."
    )


@strawberry.type(description="What became of a proposal.")
class ProposePaymentDecisionPayload(Payload):
    parked: ParkedPayment | None = strawberry.field(
        description="The payment with the proposal; null when refused, or where it is parked no more."
    )


@strawberry.type(description="What became of the wish to confirm a proposal.")
class ConfirmPaymentDecisionPayload(Payload):
    payment: Payment | None = strawberry.field(description="The payment, decided; null when refused.")


@strawberry.type
class PaymentDecisionMutations:
    @strawberry.mutation(
        description="Ask the provider about a parked payment now. What it says is recorded, and where that is in order the payment is "
        "parked no more. A proposal ends by it. For operators; nobody looks into their own."
    )
    async def look_at_payment_again(
        self, info: AppInfo, input: Annotated[LookAtPaymentAgainInput, strawberry.argument(description=INPUT)]
    ) -> LookAtPaymentAgainPayload:
        reference = input.provider_reference or None
        fault = first_fault(key_fault(input.idempotency_key), _reference_fault(reference))
        payment_id = payment_key(input.payment_id)
        if fault is not None or payment_id == NOWHERE:
            return await refused(info, LookAtPaymentAgainPayload, fault or missing(), "payment", parked=None, told=None)
        envelope = envelope_of(
            info,
            mutation="lookAtPaymentAgain",
            key=input.idempotency_key,
            body={"payment_id": input.payment_id, "provider_reference": reference},
        )
        desk, operator = info.context.services.parked, info.context.caller.person_id
        outcome, news = await desk.look_again(operator, payment_id, reference, envelope)
        if isinstance(outcome, Refused):
            return await refused(
                info, LookAtPaymentAgainPayload, outcome.refusal, "payment", outcome, parked=None, told=None
            )
        row = await info.context.services.read.parked.find(payment_id)
        return LookAtPaymentAgainPayload(
            **_common(outcome),
            payment=await _payment(info, payment_id),
            parked=None if row is None else parked_of(row),
            told=None if news is None else f"{news.state} {news.told}",
        )

    @strawberry.mutation(
        description="Say what the bank did with a parked payment, with a reason. Nothing comes of it until another operator confirms "
        "it, and it ends where something is heard of the payment meanwhile. For operators; nobody decides on their own."
    )
    async def propose_payment_decision(
        self, info: AppInfo, input: Annotated[ProposePaymentDecisionInput, strawberry.argument(description=INPUT)]
    ) -> ProposePaymentDecisionPayload:
        given, reference = input.amount or None, input.provider_reference or None
        fault = first_fault(
            key_fault(input.idempotency_key),
            _amount_wanted(input.finding, given),
            await amount_fault(info, given) if given is not None else None,
            _reference_fault(reference),
            reason_fault(input.reason),
        )
        payment_id = payment_key(input.payment_id)
        if fault is not None or payment_id == NOWHERE:
            return await refused(info, ProposePaymentDecisionPayload, fault or missing(), "parked")
        envelope = envelope_of(
            info,
            mutation="proposePaymentDecision",
            key=input.idempotency_key,
            body={
                "payment_id": input.payment_id,
                "finding": input.finding.name,
                "amount": canonical(given) if given is not None else None,
                "provider_reference": reference,
                "reason": input.reason,
            },
        )
        wish = FindingWish(
            Finding(input.finding.name),
            given.amount if given is not None else Decimal(0),
            given.asset if given is not None else None,
            reference,
            PersonalText(input.reason),
        )
        desk, operator = info.context.services.parked, info.context.caller.person_id
        outcome = await desk.propose(operator, payment_id, wish, envelope)
        if isinstance(outcome, Refused):
            return await refused(info, ProposePaymentDecisionPayload, outcome.refusal, "parked", outcome)
        row = await info.context.services.read.parked.find(payment_id)
        return ProposePaymentDecisionPayload(**_common(outcome), parked=None if row is None else parked_of(row))

    @strawberry.mutation(
        description="Confirm what another operator proposes: it is booked, and the payment goes on, comes to its end, or stays where it "
        "is, and is parked no more. For operators; nobody confirms their own proposal."
    )
    async def confirm_payment_decision(
        self, info: AppInfo, input: Annotated[ConfirmPaymentDecisionInput, strawberry.argument(description=INPUT)]
    ) -> ConfirmPaymentDecisionPayload:
        fault, payment_id = key_fault(input.idempotency_key), payment_key(input.payment_id)
        if fault is not None or payment_id == NOWHERE:
            return await refused(info, ConfirmPaymentDecisionPayload, fault or missing(), "payment")
        envelope = envelope_of(
            info,
            mutation="confirmPaymentDecision",
            key=input.idempotency_key,
            body={"payment_id": input.payment_id, "proposal_id": input.proposal_id},
        )
        desk, operator = info.context.services.parked, info.context.caller.person_id
        outcome = await desk.confirm(operator, payment_id, proposal_key(input.proposal_id), envelope)
        if isinstance(outcome, Refused):
            return await refused(info, ConfirmPaymentDecisionPayload, outcome.refusal, "payment", outcome)
        return ConfirmPaymentDecisionPayload(**_common(outcome), payment=await _payment(info, payment_id))


def _common(outcome: Outcome) -> Any:
    assert isinstance(outcome, Done)
    return {"position": Position(outcome.position), "replayed": outcome.replayed, "errors": []}


async def _payment(info: AppInfo, payment_id: UUID) -> Payment:
    (row,) = await info.context.services.read.payments.load_any([payment_id])
    assert row is not None, "it was decided on just now, in the same database"
    return payment_of(row)


def _amount_wanted(finding: PaymentFinding, amount: MoneyInput | None) -> Refusal | None:
    path = ("input", "amount")
    if finding is PaymentFinding.EXECUTED:
        return None if amount is not None else InvalidInput("Say how much the bank moved.", path)
    return None if amount is None else InvalidInput("What moved nothing has no amount.", path)


def _reference_fault(reference: str | None) -> Refusal | None:
    """It goes into events, which hold nothing personal, and into an address at the provider."""
    if reference is None:
        return None
    fine = all(letter.isascii() and (letter.isalnum() or letter in "_-.") for letter in reference)
    if not fine or len(reference) > _REFERENCE_LENGTH_MAX:
        return InvalidInput("A provider's name for a payment is one word of 64 letters and digits at most.", _REFERENCE)
    return None
