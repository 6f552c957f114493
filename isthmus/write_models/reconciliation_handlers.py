"""Which handler serves which command about reconciliation's cases and money that came to us."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isthmus.domain import pay_ins, reconciliation_cases, suspense
from isthmus.domain.pay_ins import ReceivePayIn
from isthmus.domain.reconciliation_cases import (
    Case,
    CloseReconciliationCase,
    OpenReconciliationCase,
    ResolveReconciliationCase,
)
from isthmus.domain.suspense import ConfirmSuspenseDecision, ProposeSuspenseDecision
from isthmus.write_models.handling import Decision, Handler, Loaded, Needs


def _case(loaded: Loaded, wish: Any) -> Case | None:
    return reconciliation_cases.fold(loaded.streams.get(wish.case_id, ()))


def _its_stream(wish: Any) -> Needs:
    return Needs(streams=frozenset({wish.case_id}), time=True)


def _receive_needs(wish: ReceivePayIn) -> Needs:
    accounts = {wish.bank_id, wish.suspense_id} | ({wish.account_id} if wish.account_id is not None else set())
    return Needs(frozenset(accounts), streams=frozenset({wish.journal_id}), time=True)


def _receive(loaded: Loaded, wish: ReceivePayIn) -> Decision:
    return pay_ins.receive(loaded.book, _booked(loaded, wish), wish)


def _suspense_needs(wish: ProposeSuspenseDecision | ConfirmSuspenseDecision) -> Needs:
    accounts = frozenset({wish.suspense_id, wish.other_side_id})
    return Needs(accounts, streams=frozenset({wish.case_id, wish.journal_id}), time=True)


def _booked(loaded: Loaded, wish: ReceivePayIn | ProposeSuspenseDecision | ConfirmSuspenseDecision) -> bool:
    """In the log, or a moment ago by a command of the same batch."""
    return bool(loaded.streams.get(wish.journal_id)) or wish.journal_id in loaded.posted


RECONCILIATION_HANDLERS: Mapping[type, Handler] = {
    OpenReconciliationCase: Handler(
        _its_stream, lambda loaded, wish: reconciliation_cases.open_case(_case(loaded, wish), wish)
    ),
    ResolveReconciliationCase: Handler(
        _its_stream, lambda loaded, wish: reconciliation_cases.resolve(_case(loaded, wish))
    ),
    CloseReconciliationCase: Handler(
        _its_stream, lambda loaded, wish: reconciliation_cases.close(_case(loaded, wish), wish)
    ),
    ReceivePayIn: Handler(_receive_needs, _receive),
    ProposeSuspenseDecision: Handler(
        _suspense_needs,
        lambda loaded, wish: suspense.propose(loaded.book, _booked(loaded, wish), _case(loaded, wish), wish),
    ),
    ConfirmSuspenseDecision: Handler(
        _suspense_needs,
        lambda loaded, wish: suspense.confirm(loaded.book, _booked(loaded, wish), _case(loaded, wish), wish),
    ),
}
