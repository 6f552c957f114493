"""Which handler serves which command about payments, challenges and devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from isthmus.domain import (
    api_keys,
    batches,
    payment_events,
    payment_initiation,
    payment_news,
    payment_review,
    payments,
    payments_at_bank,
    personal_limits,
    saved_payees,
    sca,
    sca_answers,
    sca_apps,
    sca_devices,
)
from isthmus.domain.batches import InitiateBatch
from isthmus.domain.deposits import bank_account_code
from isthmus.domain.identifiers import house_account_id
from isthmus.domain.ledger import Hold
from isthmus.domain.pay_ins import suspense_account_id
from isthmus.domain.payment_initiation import InitiatePayment
from isthmus.domain.payment_news import ProviderPayment, RecordPaymentNews
from isthmus.domain.payment_review import RefusePayment, ReleasePayment
from isthmus.domain.payments import CancelPayment, ExpirePayment, StartSubmission
from isthmus.domain.payments_at_bank import RecordAsked, RecordBankNews, StartAsking
from isthmus.domain.personal_limits import ChangeLimit
from isthmus.domain.refusals import Refusal
from isthmus.domain.saved_payees import AddPayee, RemovePayee
from isthmus.domain.sca_answers import AnswerScaChallenge, Subject
from isthmus.domain.sca_apps import BeginApp, CompleteApp, RemoveApp
from isthmus.domain.sca_devices import BeginDevice, CompleteDevice, RemoveDevice
from isthmus.write_models.handling import Decision, Handler, Loaded, Needs


def _payment(loaded: Loaded, payment_id: UUID) -> payment_events.Payment | None:
    return payment_events.fold(loaded.streams.get(payment_id, ()))


def _device(loaded: Loaded, device_id: UUID | None) -> sca_devices.Device | None:
    return None if device_id is None else sca_devices.fold(loaded.streams.get(device_id, ()))


def _app(loaded: Loaded, app_id: UUID | None) -> sca_apps.App | None:
    return None if app_id is None else sca_apps.fold(loaded.streams.get(app_id, ()))


def _challenge(loaded: Loaded, wish: Any) -> sca.Challenge | None:
    return sca.fold(loaded.streams.get(wish.challenge_id, ()))


def _limit(loaded: Loaded, owner: UUID, asset: str) -> personal_limits.PersonalLimit | None:
    return personal_limits.fold(loaded.streams.get(personal_limits.limit_id_of(owner, asset), ()))


def _subject(loaded: Loaded, subject_id: UUID) -> Subject | None:
    events = loaded.streams.get(subject_id, ())
    if (batch := batches.fold(events)) is not None:
        found = (_payment(loaded, payment_id) for payment_id in batch.initiated.payment_ids)
        return replace(batch, payments=tuple(payment for payment in found if payment is not None))
    return (
        payment_events.fold(events)
        or sca_devices.fold(events)
        or saved_payees.fold(events)
        or sca_apps.fold(events)
        or api_keys.fold(events)
        or personal_limits.fold(events)
    )


def guard(loaded: Loaded, wish: Any) -> sca.Guard:
    return sca.fold_guard(loaded.streams.get(sca.guard_id_of(wish.owner), ()), loaded.now)


def step_up(wish: Any) -> Needs:
    """Of whatever asks its person, who may be blocked, or was sent too many codes."""
    return Needs(streams=frozenset({sca.guard_id_of(wish.owner)}), asked=frozenset({wish.owner}), time=True)


def _held(loaded: Loaded, wish: Any) -> Hold | None:
    return loaded.holds.get(payment_events.hold_id_of(wish.payment_id))


def _initiate_needs(wish: InitiatePayment) -> Needs:
    streams = frozenset({sca.guard_id_of(wish.owner), personal_limits.limit_id_of(wish.owner, wish.asset)})
    streams |= {wish.saved_payee_id} if wish.saved_payee_id is not None else set()
    spenders = frozenset({wish.owner})
    asked = spenders if wish.method is sca.Method.ONE_TIME_CODE else frozenset[UUID]()
    if wish.source is payment_events.Source.BANK:
        into = frozenset({(wish.credits, wish.owner)}) if wish.credits is not None else frozenset[tuple[UUID, UUID]]()
        return Needs(owned=into, streams=streams, spenders=spenders, time=True)
    owned = frozenset({(wish.from_account_id, wish.owner)})
    if wish.credits is None:
        other = frozenset({wish.clearing_id} | ({wish.pays} if wish.pays is not None else set()))
        return Needs(other, owned=owned, streams=streams, spenders=spenders, asked=asked, time=True)
    owned |= {(wish.credits, wish.owner)}
    return Needs(owned=owned, streams=streams, spenders=spenders, asked=asked, time=True)


def _payee_fault(loaded: Loaded, wish: InitiatePayment) -> Refusal | None:
    """It may have been removed since it was read."""
    if wish.saved_payee_id is None:
        return None
    return saved_payees.payable(saved_payees.fold(loaded.streams.get(wish.saved_payee_id, ())), wish.owner)


def _initiate(loaded: Loaded, wish: InitiatePayment) -> Decision:
    if (no := _payee_fault(loaded, wish)) is not None:
        return no
    used, before = loaded.spent.by(wish.owner, wish.asset), loaded.exempted.before(wish.owner, wish.asset)
    limits = personal_limits.effective(wish.limits, _limit(loaded, wish.owner, wish.asset))
    wish = replace(wish, limits=limits)
    if wish.source is payment_events.Source.BANK:
        return payments_at_bank.initiate(loaded.book, guard(loaded, wish), used, wish, loaded.now)
    return payment_initiation.initiate(loaded.book, guard(loaded, wish), used, wish, loaded.now, before)


def _batch_needs(wish: InitiateBatch) -> Needs:
    needs = _initiate_needs(wish.lines[0])
    streams = needs.streams | {one.saved_payee_id for one in wish.lines if one.saved_payee_id}
    accounts = {one.clearing_id for one in wish.lines} | {one.pays for one in wish.lines if one.pays is not None}
    return replace(needs, accounts=frozenset(accounts), streams=streams)


def _initiate_batch(loaded: Loaded, wish: InitiateBatch) -> Decision:
    for line in wish.lines:
        if (no := _payee_fault(loaded, line)) is not None:
            return replace(no, path=batches.place(line.line, no.path))
    used, limit = loaded.spent.by(wish.owner, wish.asset), _limit(loaded, wish.owner, wish.asset)
    lines = tuple(replace(line, limits=personal_limits.effective(line.limits, limit)) for line in wish.lines)
    return batches.initiate(loaded.book, guard(loaded, wish), used, replace(wish, lines=lines), loaded.now)


def _release(loaded: Loaded, wish: ReleasePayment) -> Decision:
    payment, challenge = _payment(loaded, wish.payment_id), _challenge(loaded, wish)
    return payment_review.release(loaded.book, payment, challenge, wish)


def _refuse(loaded: Loaded, wish: RefusePayment) -> Decision:
    payment, challenge = _payment(loaded, wish.payment_id), _challenge(loaded, wish)
    return payment_review.refuse(loaded.book, _held(loaded, wish), payment, challenge, wish, loaded.now)


def _payment_needs(wish: Any) -> Needs:
    hold = frozenset({payment_events.hold_id_of(wish.payment_id)})
    return Needs(holds=hold, streams=frozenset({wish.payment_id, wish.challenge_id}), time=True)


def _answer_needs(wish: AnswerScaChallenge) -> Needs:
    signer = {wish.signer_id} if wish.signer_id is not None else set()
    streams = frozenset({wish.challenge_id, wish.subject_id, sca.guard_id_of(wish.owner), *signer, *wish.payment_ids})
    account = wish.from_account_id
    owned = frozenset({(account, wish.owner)}) if account is not None else frozenset[tuple[UUID, UUID]]()
    return Needs(owned=owned, streams=streams, time=True)


def _answer(loaded: Loaded, wish: AnswerScaChallenge) -> Decision:
    challenge, subject = _challenge(loaded, wish), _subject(loaded, wish.subject_id)
    signer = _device(loaded, wish.signer_id) or _app(loaded, wish.signer_id)
    return sca_answers.answer(loaded.book, challenge, guard(loaded, wish), subject, signer, wish, loaded.now)


def _cancel(loaded: Loaded, wish: CancelPayment) -> Decision:
    payment, challenge = _payment(loaded, wish.payment_id), _challenge(loaded, wish)
    return payments.cancel(loaded.book, _held(loaded, wish), payment, challenge, wish, loaded.now)


def _expire(loaded: Loaded, wish: ExpirePayment) -> Decision:
    payment, challenge = _payment(loaded, wish.payment_id), _challenge(loaded, wish)
    return payments.expire(loaded.book, _held(loaded, wish), payment, challenge, loaded.now)


def _start_submission(loaded: Loaded, wish: StartSubmission) -> Decision:
    payment, challenge = _payment(loaded, wish.payment_id), _challenge(loaded, wish)
    return payments.start_submission(loaded.book, _held(loaded, wish), payment, challenge, wish, loaded.now)


def _start_asking(loaded: Loaded, wish: StartAsking) -> Decision:
    payment, challenge = _payment(loaded, wish.payment_id), _challenge(loaded, wish)
    return payments_at_bank.start_asking(payment, challenge, wish, loaded.now)


def _bank_news_needs(wish: RecordBankNews) -> Needs:
    streams = frozenset({wish.payment_id, wish.challenge_id})
    if wish.credits is not None:
        if wish.news.state is not ProviderPayment.SETTLED:
            return Needs(streams=streams, time=True)
        bank, suspense = bank_account_code(wish.provider, wish.asset), suspense_account_id(wish.provider, wish.asset)
        accounts = frozenset({wish.credits, house_account_id(bank), suspense})
        return Needs(accounts, streams=streams | {wish.credit_id}, time=True)
    moved = wish.news.state in (ProviderPayment.EXECUTED, ProviderPayment.SETTLED)
    # All payments share the memo accounts: only what may be booked there waits for them.
    memo = payments_at_bank.memo_ids(wish.asset) if moved else frozenset[UUID]()
    return Needs(memo, streams=streams, time=True)


def _record_bank_news(loaded: Loaded, wish: RecordBankNews) -> Decision:
    payment, challenge = _payment(loaded, wish.payment_id), _challenge(loaded, wish)
    credited = bool(loaded.streams.get(wish.credit_id)) or wish.credit_id in loaded.posted
    return payments_at_bank.record_bank_news(loaded.book, payment, challenge, wish, loaded.now, credited)


PAYMENT_HANDLERS: Mapping[type, Handler] = {
    InitiatePayment: Handler(_initiate_needs, _initiate),
    InitiateBatch: Handler(_batch_needs, _initiate_batch),
    AnswerScaChallenge: Handler(_answer_needs, _answer),
    ReleasePayment: Handler(_payment_needs, _release),
    RefusePayment: Handler(_payment_needs, _refuse),
    BeginDevice: Handler(
        step_up,
        lambda loaded, wish: sca_devices.begin(guard(loaded, wish), wish, loaded.now),
    ),
    CompleteDevice: Handler(
        lambda wish: Needs(
            streams=frozenset({wish.device_id, wish.challenge_id}),
            credentials=frozenset({wish.credential.credential_id} if wish.credential is not None else ()),
            time=True,
        ),
        lambda loaded, wish: sca_devices.complete(
            _device(loaded, wish.device_id), _challenge(loaded, wish), wish, loaded.now, loaded.credentials
        ),
    ),
    RemoveDevice: Handler(
        lambda wish: Needs(streams=frozenset({wish.device_id})),
        lambda loaded, wish: sca_devices.remove(_device(loaded, wish.device_id), wish),
    ),
    AddPayee: Handler(
        step_up,
        lambda loaded, wish: saved_payees.add(guard(loaded, wish), wish, loaded.now),
    ),
    RemovePayee: Handler(
        lambda wish: Needs(streams=frozenset({wish.payee_id})),
        lambda loaded, wish: saved_payees.remove(saved_payees.fold(loaded.streams.get(wish.payee_id, ())), wish),
    ),
    BeginApp: Handler(
        step_up,
        lambda loaded, wish: sca_apps.begin(guard(loaded, wish), wish, loaded.now),
    ),
    CompleteApp: Handler(
        lambda wish: Needs(streams=frozenset({wish.app_id, wish.challenge_id}), time=True),
        lambda loaded, wish: sca_apps.complete(_app(loaded, wish.app_id), _challenge(loaded, wish), wish, loaded.now),
    ),
    RemoveApp: Handler(
        lambda wish: Needs(streams=frozenset({wish.app_id})),
        lambda loaded, wish: sca_apps.remove(_app(loaded, wish.app_id), wish),
    ),
    ChangeLimit: Handler(
        lambda wish: replace(step_up(wish), streams=frozenset({wish.limit_id, sca.guard_id_of(wish.owner)})),
        lambda loaded, wish: personal_limits.change(
            guard(loaded, wish), _limit(loaded, wish.owner, wish.asset), wish, loaded.now
        ),
    ),
    CancelPayment: Handler(_payment_needs, _cancel),
    ExpirePayment: Handler(_payment_needs, _expire),
    StartSubmission: Handler(_payment_needs, _start_submission),
    StartAsking: Handler(
        lambda wish: Needs(streams=frozenset({wish.payment_id, wish.challenge_id}), time=True), _start_asking
    ),
    RecordAsked: Handler(
        lambda wish: Needs(streams=frozenset({wish.payment_id}), time=True),
        lambda loaded, wish: payments_at_bank.record_asked(_payment(loaded, wish.payment_id), wish),
    ),
    RecordBankNews: Handler(_bank_news_needs, _record_bank_news),
    RecordPaymentNews: Handler(
        lambda wish: Needs(
            frozenset({wish.pays}) if wish.pays is not None else frozenset(),
            holds=frozenset({payment_events.hold_id_of(wish.payment_id)}),
            streams=frozenset({wish.payment_id}),
            time=True,
        ),
        lambda loaded, wish: payment_news.record_news(
            loaded.book, _held(loaded, wish), _payment(loaded, wish.payment_id), wish, loaded.now
        ),
    ),
}
