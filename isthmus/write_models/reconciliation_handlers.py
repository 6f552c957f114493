"""Which handler serves which command about reconciliation's cases and money that came to us."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isthmus.domain import pay_ins, reconciliation_cases
from isthmus.domain.pay_ins import AssignPayIn, ReceivePayIn, ReturnPayIn
from isthmus.domain.reconciliation_cases import (
    Case,
    CloseReconciliationCase,
    OpenReconciliationCase,
    ResolveReconciliationCase,
)
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


def _booked(loaded: Loaded, wish: ReceivePayIn | ReturnPayIn) -> bool:
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
    AssignPayIn: Handler(
        lambda wish: Needs(
            frozenset({wish.suspense_id, wish.account_id}), streams=frozenset({wish.case_id}), time=True
        ),
        lambda loaded, wish: pay_ins.assign(loaded.book, _case(loaded, wish), wish),
    ),
    ReturnPayIn: Handler(
        lambda wish: Needs(
            frozenset({wish.suspense_id, wish.bank_id}),
            streams=frozenset({wish.case_id, wish.journal_id}),
            time=True,
        ),
        lambda loaded, wish: pay_ins.give_back(loaded.book, _booked(loaded, wish), _case(loaded, wish), wish),
    ),
}
