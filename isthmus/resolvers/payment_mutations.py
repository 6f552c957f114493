"""Wishes about payments: to pay, to answer for it, to take it back."""

from __future__ import annotations

from typing import Annotated, assert_never
from uuid import UUID

import strawberry
from strawberry import UNSET

from isthmus.domain.authenticators import ANSWER_LENGTH_MAX
from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.identifiers import NOWHERE
from isthmus.domain.payment_events import Source
from isthmus.domain.payment_initiation import REFERENCE_LENGTH_MAX
from isthmus.domain.refusals import InvalidInput, PaymentNotFound, Refusal
from isthmus.domain.validation import first_fault, key_fault, shown_fault
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import account_key, bank_account_key, payment_key, sca_challenge_key
from isthmus.graphql.scalars import Position
from isthmus.resolvers.api_keys import ApiKey, api_key_of
from isthmus.resolvers.apps import AuthenticatorApp, app_of
from isthmus.resolvers.batches import PaymentBatch, batch_of
from isthmus.resolvers.devices import Device, device_of
from isthmus.resolvers.limits import PersonalLimit, limit_of
from isthmus.resolvers.money import MoneyInput, canonical
from isthmus.resolvers.money_mutations import amount_fault
from isthmus.resolvers.payees import PayeeInput, chosen
from isthmus.resolvers.payments import Payment, payment_of
from isthmus.resolvers.saved_payees import SavedPayee, saved_payee_of
from isthmus.resolvers.sca import ScaChallenge, ScaMethod, challenge_of, method_body, method_from
from isthmus.resolvers.wishes import INPUT, KEY, AnyPayload, Payload, envelope_of, refused
from isthmus.write_models.envelope import Done, Refused
from isthmus.write_models.payment_desk import PaymentWish
from isthmus.write_models.sca_desk import Answer, Answered

_CODE_MAX, _RETURN_MAX = 16, 2_048


ScaSubject = Annotated[
    Payment | PaymentBatch | Device | SavedPayee | AuthenticatorApp | ApiKey | PersonalLimit,
    strawberry.union("ScaSubject", description="What a challenge authorises."),
]


@strawberry.input(description="A payment to be made.")
class InitiatePaymentInput:
    from_account_id: strawberry.ID = strawberry.field(
        description="One of the viewer's accounts, here or at a linked bank. A bank asks its customer itself."
    )
    amount: MoneyInput = strawberry.field(description="How much, in the account's asset.")
    payee: PayeeInput = strawberry.field(description="Who is to be paid.")
    reference: str | None = strawberry.field(
        default=UNSET, description=f"What the payee reads, in {REFERENCE_LENGTH_MAX} characters at most."
    )
    method: ScaMethod | None = strawberry.field(
        default=UNSET, description="How to be asked: by a device where there is one, unless told."
    )
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="What a person came back from their bank with.")
class RedirectResultInput:
    code: str = strawberry.field(description="What the bank's address held beside the state (docs/payments.md).")
    state: str = strawberry.field(description="What says that it belongs to this challenge.")


@strawberry.input(description="What a challenge is answered with: exactly one of these.", one_of=True)
class ScaAnswerInput:
    one_time_code: str | None = strawberry.field(default=UNSET, description="The code that was sent.")
    device_assertion: str | None = strawberry.field(
        default=UNSET, description="What `navigator.credentials.get` gave, as JSON."
    )
    totp: str | None = strawberry.field(default=UNSET, description="The code that the authenticator app shows.")
    redirect_result: RedirectResultInput | None = strawberry.field(
        default=UNSET,
        description="What a person came back from their bank with. The bank itself is asked what they said there.",
    )
    decoupled_poll: bool | None = strawberry.field(
        default=UNSET, description="Asks whether the bank has its customer's answer by now. True, or leave it out."
    )


@strawberry.input(description="An answer to a challenge.")
class AnswerScaChallengeInput:
    challenge_id: strawberry.ID = strawberry.field(description="The challenge's id.")
    answer: ScaAnswerInput = strawberry.field(description="The answer. Each counts, whether or not it came before.")


@strawberry.input(description="A payment to be taken back.")
class CancelPaymentInput:
    payment_id: strawberry.ID = strawberry.field(description="The payment's id.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.type(description="What became of the wish to pay.")
class InitiatePaymentPayload(Payload):
    payment: Payment | None = strawberry.field(description="The payment, with its challenge; null when refused.")


@strawberry.type(description="What became of an answer.")
class AnswerScaChallengePayload(Payload):
    payment: Payment | None = strawberry.field(
        description="The payment that was answered for; null where it was something else, or the answer was not accepted."
    )
    challenge: ScaChallenge | None = strawberry.field(
        description="The challenge; null where the answer was not accepted."
    )
    subject: ScaSubject | None = strawberry.field(
        description="What was authorised; null where the answer was not accepted."
    )


@strawberry.type(description="What became of the wish to take a payment back.")
class CancelPaymentPayload(Payload):
    payment: Payment | None = strawberry.field(description="The payment; null when refused.")


@strawberry.type
class PaymentMutations:
    @strawberry.mutation(
        description="Pay someone. The money is reserved, and leaves once the challenge in the answer is answered."
    )
    async def initiate_payment(
        self, info: AppInfo, input: Annotated[InitiatePaymentInput, strawberry.argument(description=INPUT)]
    ) -> InitiatePaymentPayload:
        reference = input.reference or ""
        payee = chosen(input.payee)
        source, account_id = _payer(input.from_account_id)
        fault = first_fault(
            key_fault(input.idempotency_key),
            await amount_fault(info, input.amount),
            payee if isinstance(payee, Refusal) else payee.fault(source),
            _reference_fault(reference),
        )
        if fault is not None or isinstance(payee, Refusal):
            assert fault is not None, "a payee who is none is a fault"
            return await refused(info, InitiatePaymentPayload, fault, "payment")
        envelope = envelope_of(
            info,
            mutation="initiatePayment",
            key=input.idempotency_key,
            body={
                "from_account_id": input.from_account_id,
                "amount": canonical(input.amount),
                "payee": payee.body,
                "reference": reference,
                **method_body(input.method),
            },
        )
        wish = PaymentWish(
            account_id,
            input.amount.amount,
            input.amount.asset,
            payee.name,
            payee.account,
            reference,
            method_from(input.method),
            source,
            payee.credits,
            payee.saved,
            by_program=info.context.caller.api_key_id is not None,
        )
        answer = await info.context.services.payments.initiate(info.context.caller.person_id, wish, envelope)
        if isinstance(answer, Refused):
            return await refused(info, InitiatePaymentPayload, answer.refusal, "payment", answer)
        return await _payload(info, InitiatePaymentPayload, *answer)

    @strawberry.mutation(
        description="Answer a challenge. Once per request. Five wrong answers in a row, over all challenges, and nothing can be authorised "
        "for a day."
    )
    async def answer_sca_challenge(
        self, info: AppInfo, input: Annotated[AnswerScaChallengeInput, strawberry.argument(description=INPUT)]
    ) -> AnswerScaChallengePayload:
        fault = _answer_fault(input.answer)
        if fault is not None:
            return await refused(info, AnswerScaChallengePayload, fault, "payment", challenge=None, subject=None)
        desk, given, challenge_id = info.context.services.sca, input.answer, sca_challenge_key(input.challenge_id)
        envelope = envelope_of(info, mutation="answerScaChallenge", key=desk.key_of_answer(), body={})
        answer = await desk.answer(
            info.context.caller.person_id,
            challenge_id,
            Answer(
                given.one_time_code or None,
                given.device_assertion or None,
                given.totp or None,
                given.redirect_result.state if given.redirect_result else None,
                bool(given.decoupled_poll),
            ),
            envelope,
        )
        if isinstance(answer, Refused):
            return await refused(
                info, AnswerScaChallengePayload, answer.refusal, "payment", answer, challenge=None, subject=None
            )
        return await _answered(info, answer, challenge_id)

    @strawberry.mutation(description="Take a payment back, as long as the bank cannot have it yet.")
    async def cancel_payment(
        self, info: AppInfo, input: Annotated[CancelPaymentInput, strawberry.argument(description=INPUT)]
    ) -> CancelPaymentPayload:
        fault = key_fault(input.idempotency_key)
        if fault is not None:
            return await refused(info, CancelPaymentPayload, fault, "payment")
        payment_id = payment_key(input.payment_id)
        if payment_id == NOWHERE:
            missing = PaymentNotFound("There is no such payment.", ("input", "paymentId"))
            return await refused(info, CancelPaymentPayload, missing, "payment")
        envelope = envelope_of(
            info, mutation="cancelPayment", key=input.idempotency_key, body={"payment_id": input.payment_id}
        )
        outcome = await info.context.services.payments.cancel(info.context.caller.person_id, payment_id, envelope)
        if isinstance(outcome, Refused):
            return await refused(info, CancelPaymentPayload, outcome.refusal, "payment", outcome)
        return await _payload(info, CancelPaymentPayload, payment_id, outcome)


async def _answered(info: AppInfo, answer: Answered, challenge_id: UUID) -> AnswerScaChallengePayload:
    """With what was authorised, as it is now."""
    loaders = info.context.loaders
    raised: ScaChallenge | None = None  # a limit that was raised has no challenge any more
    subject: Payment | PaymentBatch | Device | SavedPayee | AuthenticatorApp | ApiKey | PersonalLimit | None
    match answer.purpose:
        case Purpose.PAYMENT:
            payment = await loaders.payments.load(answer.subject_id)
            subject = None if payment is None else payment_of(payment)
        case Purpose.BATCH:
            person = info.context.caller.person_id
            rows = await info.context.services.read.payments.of_batch(person, answer.subject_id)
            subject = batch_of(rows) if rows else None
        case Purpose.DEVICE:
            device = await loaders.devices.load(answer.subject_id)
            subject = None if device is None else device_of(device)
        case Purpose.PAYEE:
            payee = await loaders.payees.load(answer.subject_id)
            subject = None if payee is None else saved_payee_of(payee)
        case Purpose.AUTHENTICATOR:
            app = await info.context.services.read.apps.of_owner(info.context.caller.person_id)
            subject = None if app is None else app_of(app)
        case Purpose.API_KEY:
            key = await loaders.api_keys.load(answer.subject_id)
            subject = None if key is None else api_key_of(key)
        case Purpose.LIMIT:
            read, person = info.context.services.read.limits, info.context.caller.person_id
            limit = await read.find(person, answer.subject_id)
            row = await read.challenge(answer.subject_id, challenge_id)
            subject, raised = None if limit is None else limit_of(limit), None if row is None else challenge_of(row)
        case _:
            assert_never(answer.purpose)
    assert subject is not None, "it was authorised just now, in the same database"
    pays = isinstance(subject, Payment | PaymentBatch)
    return AnswerScaChallengePayload(
        position=Position(answer.done.position),
        replayed=answer.done.replayed,
        errors=[],
        payment=subject if isinstance(subject, Payment) else None,
        challenge=raised or (await subject.challenge(info) if pays else subject.challenge()),
        subject=subject,
    )


async def _payload(info: AppInfo, kind: type[AnyPayload], payment_id: UUID, outcome: Done) -> AnyPayload:
    row = await info.context.loaders.payments.load(payment_id)
    assert row is not None, "it was written just now, in the same database"
    fields = {"payment": payment_of(row)}
    return kind(position=Position(outcome.position), replayed=outcome.replayed, errors=[], **fields)


def _reference_fault(reference: str) -> Refusal | None:
    path = ("input", "reference")
    if len(reference) > REFERENCE_LENGTH_MAX:
        return InvalidInput(f"The reference is longer than {REFERENCE_LENGTH_MAX} characters.", path)
    return shown_fault(reference, path) if reference else None


def _payer(given: str) -> tuple[Source, UUID]:
    """Whose account it is that is paid from: one here unless it is a bank's."""
    at_bank = bank_account_key(given)
    return (Source.BANK, at_bank) if at_bank != NOWHERE else (Source.OWN, account_key(given))


def _answer_fault(given: ScaAnswerInput) -> Refusal | None:
    """What cannot be an answer at all is not counted as one."""
    if len(given.one_time_code or "") > _CODE_MAX:
        return InvalidInput("That is no code.", ("input", "answer", "oneTimeCode"))
    if len(given.totp or "") > _CODE_MAX:
        return InvalidInput("That is no code.", ("input", "answer", "totp"))
    if len(given.device_assertion or "") > ANSWER_LENGTH_MAX:
        return InvalidInput("That is no assertion.", ("input", "answer", "deviceAssertion"))
    back = given.redirect_result
    if back and max(len(back.code), len(back.state)) > _RETURN_MAX:
        return InvalidInput("Nobody comes back with that.", ("input", "answer", "redirectResult"))
    if given.decoupled_poll is False:
        return InvalidInput("True, or leave it out.", ("input", "answer", "decoupledPoll"))
    return None
