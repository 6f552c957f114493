"""Which handler serves which command about payments, challenges and devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from isthmus.domain import (
    payment_events,
    payment_news,
    payment_review,
    payments,
    saved_payees,
    sca,
    sca_answers,
    sca_devices,
)
from isthmus.domain.ledger import Hold
from isthmus.domain.payment_news import RecordPaymentNews
from isthmus.domain.payment_review import RefusePayment, ReleasePayment
from isthmus.domain.payments import CancelPayment, ExpirePayment, InitiatePayment, StartSubmission
from isthmus.domain.saved_payees import AddPayee, RemovePayee
from isthmus.domain.sca_answers import AnswerScaChallenge
from isthmus.domain.sca_devices import BeginDevice, CompleteDevice, RemoveDevice
from isthmus.write_models.handling import Decision, Handler, Loaded, Needs


def _payment(loaded: Loaded, payment_id: UUID) -> payment_events.Payment | None:
    return payment_events.fold(loaded.streams.get(payment_id, ()))


def _device(loaded: Loaded, device_id: UUID | None) -> sca_devices.Device | None:
    return None if device_id is None else sca_devices.fold(loaded.streams.get(device_id, ()))


def _payee(loaded: Loaded, payee_id: UUID) -> saved_payees.SavedPayee | None:
    return saved_payees.fold(loaded.streams.get(payee_id, ()))


def _challenge(loaded: Loaded, wish: Any) -> sca.Challenge | None:
    return sca.fold(loaded.streams.get(wish.challenge_id, ()))


def _guard(loaded: Loaded, wish: Any) -> sca.Guard:
    return sca.fold_guard(loaded.streams.get(sca.guard_id_of(wish.owner), ()), loaded.now)


def _held(loaded: Loaded, wish: Any) -> Hold | None:
    return loaded.holds.get(payment_events.hold_id_of(wish.payment_id))


def _initiate_needs(wish: InitiatePayment) -> Needs:
    guard, spenders = frozenset({sca.guard_id_of(wish.owner)}), frozenset({wish.owner})
    if wish.source is payment_events.Source.BANK:
        return Needs(streams=guard, spenders=spenders, time=True)
    owned = frozenset({(wish.from_account_id, wish.owner)})
    return Needs(frozenset({wish.clearing_id}), owned=owned, streams=guard, spenders=spenders, time=True)


def _initiate(loaded: Loaded, wish: InitiatePayment) -> Decision:
    used = loaded.spent.by(wish.owner, wish.asset)
    return payments.initiate(loaded.book, _guard(loaded, wish), used, wish, loaded.now)


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
    signer = {wish.device_id} if wish.device_id is not None else set()
    streams = frozenset({wish.challenge_id, wish.subject_id, sca.guard_id_of(wish.owner), *signer})
    account = wish.from_account_id
    owned = frozenset({(account, wish.owner)}) if account is not None else frozenset[tuple[UUID, UUID]]()
    return Needs(owned=owned, streams=streams, time=True)


def _answer(loaded: Loaded, wish: AnswerScaChallenge) -> Decision:
    challenge, guard = _challenge(loaded, wish), _guard(loaded, wish)
    stream = wish.subject_id
    subject = _payment(loaded, stream) or _device(loaded, stream) or _payee(loaded, stream)
    signer = _device(loaded, wish.device_id)
    return sca_answers.answer(loaded.book, challenge, guard, subject, signer, wish, loaded.now)


def _cancel(loaded: Loaded, wish: CancelPayment) -> Decision:
    payment, challenge = _payment(loaded, wish.payment_id), _challenge(loaded, wish)
    return payments.cancel(loaded.book, _held(loaded, wish), payment, challenge, wish, loaded.now)


def _expire(loaded: Loaded, wish: ExpirePayment) -> Decision:
    payment, challenge = _payment(loaded, wish.payment_id), _challenge(loaded, wish)
    return payments.expire(loaded.book, _held(loaded, wish), payment, challenge, loaded.now)


def _start_submission(loaded: Loaded, wish: StartSubmission) -> Decision:
    payment, challenge = _payment(loaded, wish.payment_id), _challenge(loaded, wish)
    return payments.start_submission(loaded.book, _held(loaded, wish), payment, challenge, wish, loaded.now)


PAYMENT_HANDLERS: Mapping[type, Handler] = {
    InitiatePayment: Handler(_initiate_needs, _initiate),
    AnswerScaChallenge: Handler(_answer_needs, _answer),
    ReleasePayment: Handler(_payment_needs, _release),
    RefusePayment: Handler(_payment_needs, _refuse),
    BeginDevice: Handler(
        lambda wish: Needs(streams=frozenset({sca.guard_id_of(wish.owner)}), time=True),
        lambda loaded, wish: sca_devices.begin(_guard(loaded, wish), wish, loaded.now),
    ),
    CompleteDevice: Handler(
        lambda wish: Needs(streams=frozenset({wish.device_id, wish.challenge_id}), time=True),
        lambda loaded, wish: sca_devices.complete(
            _device(loaded, wish.device_id), _challenge(loaded, wish), wish, loaded.now
        ),
    ),
    RemoveDevice: Handler(
        lambda wish: Needs(streams=frozenset({wish.device_id})),
        lambda loaded, wish: sca_devices.remove(_device(loaded, wish.device_id), wish),
    ),
    AddPayee: Handler(
        lambda wish: Needs(streams=frozenset({sca.guard_id_of(wish.owner)}), time=True),
        lambda loaded, wish: saved_payees.add(_guard(loaded, wish), wish, loaded.now),
    ),
    RemovePayee: Handler(
        lambda wish: Needs(streams=frozenset({wish.payee_id})),
        lambda loaded, wish: saved_payees.remove(_payee(loaded, wish.payee_id), wish),
    ),
    CancelPayment: Handler(_payment_needs, _cancel),
    ExpirePayment: Handler(_payment_needs, _expire),
    StartSubmission: Handler(_payment_needs, _start_submission),
    RecordPaymentNews: Handler(
        lambda wish: Needs(
            holds=frozenset({payment_events.hold_id_of(wish.payment_id)}),
            streams=frozenset({wish.payment_id}),
            time=True,
        ),
        lambda loaded, wish: payment_news.record_news(
            loaded.book, _held(loaded, wish), _payment(loaded, wish.payment_id), wish, loaded.now
        ),
    ),
}
