"""Money that is sent to us: credited to whose reference it names, else kept in suspense with a case, and booked once either way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.domain import pay_ins
from isthmus.domain.accounts import Account, AccountType
from isthmus.domain.funding import body_in, funding_body, funding_reference
from isthmus.domain.ledger import AccountState, LedgerEvent, apply
from isthmus.domain.pay_ins import ReceivePayIn
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.reconciliation_cases import ReconciliationCaseOpened
from isthmus.domain.refusals import Refusal, RefusalCode

ADA, ACCOUNT = uuid4(), uuid4()
SEALED = PersonalText("", Sealed(f"sealed:v1:{ADA}:AAAA"))
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def book(**more: Any) -> dict[UUID, AccountState]:
    owned = Account(ACCOUNT, "user", AccountType.LIABILITY, "EUR", ADA, may_overdraw=False, **more)
    return {ACCOUNT: AccountState(owned)}


def wish(**more: Any) -> ReceivePayIn:
    told: dict[str, Any] = {"account_id": ACCOUNT, "owner": ADA, "reference": SEALED} | more
    return ReceivePayIn("bank", told.pop("asset", "EUR"), "e-1", Decimal("25.00"), NOW, **told)


def after(some: dict[UUID, AccountState], decided: Any) -> list[Any]:
    assert not isinstance(decided, Refusal), decided
    apply(some, [one for one in decided if isinstance(one, LedgerEvent)])
    return [one for one in decided if not isinstance(one, LedgerEvent)]


def test_money_with_a_known_reference_is_its_owners_and_comes_once() -> None:
    some = book()

    assert after(some, pay_ins.receive(some, False, wish())) == []

    assert (some[ACCOUNT].posted, some[wish().bank_id].posted) == (25, 25)
    assert pay_ins.receive(some, True, wish()) == []


@pytest.mark.parametrize("whose", [{}, {"account_id": None, "owner": None, "reference": None}])
def test_an_entry_of_nothing_is_booked_nowhere(whose: dict[str, Any]) -> None:
    assert pay_ins.receive(book(), False, replace(wish(**whose), amount=Decimal("0.00"))) == []


@pytest.mark.parametrize(
    ("some", "came", "why"),
    [
        (book(), wish(account_id=None, owner=None, reference=None), pay_ins.UNKNOWN_REFERENCE),
        (book(), wish(told=Decimal("24.99")), pay_ins.OTHER_AMOUNT),
        (book(closed=True), wish(), RefusalCode.ACCOUNT_CLOSED),
        (book(), wish(asset="GBP"), RefusalCode.ASSET_MISMATCH),
        ({}, wish(), RefusalCode.ACCOUNT_NOT_FOUND),
    ],
)
def test_what_cannot_be_credited_lies_in_suspense_and_opens_a_case(
    some: dict[UUID, AccountState], came: ReceivePayIn, why: str
) -> None:
    some = dict(some)

    (case,) = after(some, pay_ins.receive(some, False, came))

    assert isinstance(case, ReconciliationCaseOpened)
    assert (case.why, case.ours, case.journal_id, case.entry_id) == (why, Decimal("25.00"), came.journal_id, "e-1")
    assert case.theirs == came.told
    assert (some[came.suspense_id].posted, some[came.bank_id].posted) == (25, 25)
    assert ACCOUNT not in some or some[ACCOUNT].posted == 0


def test_what_two_banks_call_by_one_name_came_twice() -> None:
    assert pay_ins.pay_in_journal_id("bank", "e-1") != pay_ins.pay_in_journal_id("other", "e-1")


@given(st.uuids())
def test_a_reference_is_found_in_what_people_make_of_it(account: UUID) -> None:
    told, body = funding_reference(account), funding_body(account)
    spaced = " ".join(told[n : n + 4] for n in range(0, len(told), 4)).lower()

    assert (len(told), body_in(told), body_in(f"for my account {spaced} thanks")) == (18, body, body)
    number = int("".join(str(int(each, 36)) for each in told[4:] + told[:4]))
    assert number % 97 == 1, "ISO 11649"


@given(st.uuids(), st.integers(2, 17), st.integers(1, 5))
def test_a_mistyped_reference_is_nobodys(account: UUID, place: int, other: int) -> None:
    """A digit for a digit, a letter for a letter. Of a letter for a digit one in a hundred is not seen: it names hardly any account."""
    told = funding_reference(account)
    alike = "0123456789" if told[place].isdigit() else "ABCDEF"
    mistyped = told[:place] + alike[(alike.index(told[place]) + other) % len(alike)] + told[place + 1 :]

    assert body_in(mistyped) is None


def test_two_references_at_once_are_nobodys() -> None:
    assert body_in(f"{funding_reference(uuid4())} {funding_reference(uuid4())}") is None
