"""The same movements, told in every dialect, are the same transactions to us."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import pytest

from isthmus.domain.bank_transactions import BankTransaction
from tests.integrations.banking.dialects import DIALECTS, canonical, untold

Row = dict[str, Any]
OF: Mapping[str, Callable[[Row], bool]] = {
    "every": lambda row: True,
    "posted": lambda row: row["status"] == "POSTED",
    "pending": lambda row: row["status"] == "PENDING",
    "without IBAN": lambda row: not (row["counterparty"]["account"] or "").isupper(),
}
names = pytest.mark.parametrize("name", DIALECTS)


def row_of(one: BankTransaction) -> Row:
    """Everything that is compared, as canonical.json has it."""
    other = one.counterparty
    return {
        "reference": one.reference,
        "account": one.account,
        "amount": str(one.amount),
        "asset": one.asset,
        "status": one.status.value,
        "booked_on": one.booked_on and one.booked_on.isoformat(),
        "value_on": one.value_on and one.value_on.isoformat(),
        "made_on": one.made_on and one.made_on.isoformat(),
        "description": one.description,
        "counterparty": {"name": other.name, "account": other.account, "reference": other.reference},
        "category": one.category,
    }


def _without(row: Row, field: str) -> tuple[Row, object]:
    """The row with None there, and what was there."""
    told = deepcopy(row)
    *path, last = field.split(".")
    place = told[path[0]] if path else told
    value, place[last] = place[last], None
    return told, value


def _expected(name: str) -> list[Row]:
    rows = []
    for row in canonical().values():
        told = row
        for gap in untold()[name]:
            if OF[gap["of"]](row):
                told, _ = _without(told, gap["field"])
        rows.append(told)
    return rows


def _ordered(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=repr)


@names
def test_a_dialect_tells_the_canonical_rows(name: str) -> None:
    assert _ordered([row_of(one) for one in DIALECTS[name].golden()]) == _ordered(_expected(name))


@names
def test_nothing_is_said_to_be_untold_that_makes_no_difference(name: str) -> None:
    for gap in untold()[name]:
        assert any(OF[gap["of"]](row) and _without(row, gap["field"])[1] is not None for row in canonical().values())


def test_where_all_can_tell_them_rows_are_equal_as_they_stand() -> None:
    """No gaps put in by hand: of these fields every dialect says the same of every movement."""
    told = [
        {
            (one.account, one.amount, one.asset, one.status, one.booked_on, one.description, one.counterparty.name)
            for one in dialect.golden()
        }
        for dialect in DIALECTS.values()
    ]
    assert all(each == told[0] for each in told)
    assert len(told[0]) == len(canonical())


@names
def test_the_very_bytes_are_kept(name: str) -> None:
    dialect = DIALECTS[name]
    by_reference = {one.reference: one for one in dialect.golden() if one.account == "acc-eur"}
    fee = by_reference["t-fee"]
    assert fee.raw.startswith(b"{")
    assert b"Account fee November" in fee.raw
    if name != "plaid":  # it names the account itself
        assert row_of(dialect.one(fee.raw, "EUR")) == {**row_of(fee), "account": "acc"}


def test_only_plaid_names_the_pending_transaction_that_a_booking_books() -> None:
    posts = {name: {one.posts for one in dialect.golden()} - {None} for name, dialect in DIALECTS.items()}
    assert posts == {**{name: set() for name in DIALECTS}, "plaid": {"t-card-pending"}}


def test_an_instant_is_kept_in_utc_and_the_day_is_the_banks_own() -> None:
    """Half past midnight at the bank is the day before in UTC."""
    (salary,) = (one for one in DIALECTS["obie"].golden() if one.reference == "t-salary")
    assert salary.at is not None
    assert salary.at.isoformat() == "2026-11-24T23:30:00+00:00"
    assert str(salary.booked_on) == "2026-11-25"
