"""Which handler serves which command of operators about payments that are parked."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from isthmus.domain import parked_payments, payment_events, payments_at_bank, reconciliation_cases, sca
from isthmus.domain.deposits import bank_account_code
from isthmus.domain.identifiers import house_account_id
from isthmus.domain.parked_books import differences_account_id
from isthmus.domain.parked_payments import ConfirmDecision, LookIntoPayment, ProposeDecision
from isthmus.domain.pay_ins import suspense_account_id
from isthmus.domain.payment_events import Source, clearing_code
from isthmus.write_models.handling import Decision, Handler, Loaded, Needs


def _payment(loaded: Loaded, payment_id: UUID) -> payment_events.Payment | None:
    return payment_events.fold(loaded.streams.get(payment_id, ()))


def _confirm_needs(wish: ConfirmDecision) -> Needs:
    streams = frozenset({wish.payment_id, wish.challenge_id})
    if wish.source is Source.BANK and wish.credits is None:
        return Needs(payments_at_bank.memo_ids(wish.asset_code), streams=streams, time=True)
    provider, asset = wish.provider, wish.asset_code
    ours = {differences_account_id(provider, asset), suspense_account_id(provider, asset)}
    if wish.source is Source.BANK and wish.credits is not None:
        ours |= {wish.credits, house_account_id(bank_account_code(provider, asset))}
        return Needs(frozenset(ours), streams=streams | {wish.credit_id, wish.suspense_case_id}, time=True)
    ours |= {wish.from_account_id, house_account_id(clearing_code(provider, asset))}
    hold = frozenset({payment_events.hold_id_of(wish.payment_id)})
    return Needs(frozenset(ours), holds=hold, streams=streams, time=True)


def _confirm(loaded: Loaded, wish: ConfirmDecision) -> Decision:
    hold = loaded.holds.get(payment_events.hold_id_of(wish.payment_id))
    challenge = sca.fold(loaded.streams.get(wish.challenge_id, ()))
    credited = bool(loaded.streams.get(wish.credit_id)) or wish.credit_id in loaded.posted
    suspended = reconciliation_cases.fold(loaded.streams.get(wish.suspense_case_id, ()))
    payment = _payment(loaded, wish.payment_id)
    return parked_payments.confirm(loaded.book, hold, payment, challenge, wish, loaded.now, credited, suspended)


PARKED_HANDLERS: Mapping[type, Handler] = {
    LookIntoPayment: Handler(
        lambda wish: Needs(streams=frozenset({wish.payment_id})),
        lambda loaded, wish: parked_payments.look_into(_payment(loaded, wish.payment_id), wish),
    ),
    ProposeDecision: Handler(
        lambda wish: Needs(streams=frozenset({wish.payment_id})),
        lambda loaded, wish: parked_payments.propose(_payment(loaded, wish.payment_id), wish),
    ),
    ConfirmDecision: Handler(_confirm_needs, _confirm),
}
