"""Compiled selections answer what the library answers, to the letter, or leave it to the library."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from graphql import ExecutionResult, parse, validate
from graphql.execution import Executor, execute_subscription_event

from isthmus.domain.identifiers import NOWHERE
from isthmus.graphql.plain import compiled
from isthmus.graphql.scalars import AssetCode, Position
from isthmus.graphql.schema import build_schema
from isthmus.resolvers.accounts import AccountKind, LedgerAccount
from isthmus.resolvers.balances import Balance
from isthmus.resolvers.money import Money
from isthmus.resolvers.subscriptions import BalanceChange, Cause

STAMP = datetime(2026, 11, 23, 12, 0, 0, 7, tzinfo=UTC)
EUR = Money(amount=Decimal("12.50"), asset=AssetCode("EUR"))
BALANCE = Balance(available=EUR, posted=EUR, pending=EUR, pending_in=EUR, pending_out=EUR, as_of=STAMP, version=3)
SOURCE: Any = None
PLAIN = {
    "what the contract asks for": "account { id } balance { available { amount asset } version asOf } cause { eventId }",
    "aliases": "a: account { x: id } b: balance { posted { y: amount } } position",
    "the same key in two places": "balance { posted { amount } } balance { posted { asset } version }",
    "fragments on the type, on an interface and inline": "...Top account { ... on Account { id } ... on LedgerAccount { kind } }",
    "the types' names": "__typename account { __typename id } balance { __typename }",
    "what is null": "lagged { fromPosition toPosition } cause { eventType correlationId }",
}
LEFT = {
    "a field with a resolver": "account { id name }",
    "a field with arguments": "account { balance { version } }",
    "a directive": "position cause @include(if: false) { eventId }",
    "a directive in a fragment": "... @skip(if: false) { position }",
}


def change(**more: Any) -> BalanceChange:
    account = LedgerAccount(id="YWM", source=SOURCE, kind=AccountKind.LEDGER)  # type: ignore[arg-type]
    cause = Cause(event_id=str(NOWHERE), event_type="JournalPosted", correlation_id="c-1")  # type: ignore[arg-type]
    given = {"account": account, "balance": BALANCE, "version": 3, "as_of": STAMP, "position": Position(7)}
    return BalanceChange(**{**given, "cause": cause, "lagged": None, **more})


def document(selection: str) -> Any:
    parsed = parse(
        f"subscription {{ balanceChanged {{ {selection} }} }} fragment Top on BalanceChange {{ position version ...Deep }} "
        "fragment Deep on BalanceChange { asOf }"
        if "...Top" in selection
        else f"subscription {{ it: balanceChanged {{ {selection} }} }}"
    )
    assert validate(build_schema()._schema, parsed) == []
    return parsed


def executed(parsed: Any, value: BalanceChange) -> ExecutionResult:
    executor = Executor.build(build_schema()._schema, parsed, raw_variable_values={}, context_value=None)
    assert isinstance(executor, Executor)
    result = execute_subscription_event(executor.build_per_event_executor(value))
    assert isinstance(result, ExecutionResult)
    return result


@pytest.mark.parametrize("selection", PLAIN.values(), ids=PLAIN.keys())
def test_a_plain_selection_is_answered_as_the_library_answers_it(selection: str) -> None:
    parsed = document(selection)
    complete = compiled(build_schema()._schema, parsed)
    assert complete is not None
    for value in (change(), change(cause=None)):
        expected = executed(parsed, value)
        assert expected.errors is None
        found = complete(value)
        assert found == expected.data
        assert repr(found) == repr(expected.data), "in the same order, too"


@pytest.mark.parametrize("selection", LEFT.values(), ids=LEFT.keys())
def test_whatever_is_not_plain_is_left_to_the_library(selection: str) -> None:
    assert compiled(build_schema()._schema, document(selection)) is None


def test_a_value_that_must_be_there_and_is_not_is_left_to_the_library_which_says_where() -> None:
    parsed = document("position balance { posted { amount } }")
    complete = compiled(build_schema()._schema, parsed)
    assert complete is not None
    broken = change(balance=None)
    with pytest.raises(Exception, match="null"):
        complete(broken)
    errors = executed(parsed, broken).errors
    assert errors is not None
    assert errors[0].path == ["it", "balance"]
