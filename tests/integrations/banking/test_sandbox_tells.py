"""What the sandbox's banks say of any movement, in their country's dialect, is what the sandbox's book has."""

from __future__ import annotations

from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.domain.bank_transactions import BankTransactionStatus
from isthmus.integrations.banking import berlin_group, fdx, obie
from isthmus.sandbox import yapily_raw
from isthmus.sandbox.book import BOOKED, PENDING, Account, Movement

READ = {
    "harbour": (obie.read, "GBP"),
    "nordlicht": (berlin_group.read, "EUR"),
    "prairie": (fdx.read, "USD"),
}
SORT_CODE, IBAN = "20000012345678", "GB29NWBK60161331926819"

movements = st.builds(
    Movement,
    id=st.uuids().map(str),
    account=st.just("acc"),
    at=st.just("2026-11-19T09:00:00Z"),
    amount=st.integers(-(10**13) + 1, 10**13 - 1),
    currency=st.just(""),
    name=st.sampled_from(["Bob", "Café Müller"]),
    reference=st.sampled_from(["Rent", "CARD", ""]),
    category=st.just("BILLS"),
    counterparty_account=st.sampled_from([None, SORT_CODE, IBAN]),
    state=st.sampled_from([BOOKED, PENDING]),
    books_at=st.just("2026-11-20T10:00:00Z"),
    booked_at=st.none(),
)


@pytest.mark.parametrize("bank", READ)
@given(told=st.lists(movements, max_size=4, unique_by=lambda one: abs(one.amount)))
def test_a_banks_own_words_are_the_book(bank: str, told: list[Movement]) -> None:
    read, asset = READ[bank]
    booked = {BOOKED: "2026-11-20T10:00:00Z", PENDING: None}
    book = [Movement(**{**vars(one), "currency": asset, "booked_at": booked[one.state]}) for one in told]
    account = Account("acc", "c", bank, "Current", "CURRENT", asset, IBAN, "200000", "12345678", 0, "", 0)

    answer = orjson.dumps(yapily_raw.answer(account, book))

    found = {(one.amount, one.status, str(one.day)) for one in read(answer, "acc", asset)}
    assert found == {
        (
            Decimal(one.amount) / 100,
            BankTransactionStatus.POSTED if one.state == BOOKED else BankTransactionStatus.PENDING,
            "2026-11-20" if one.state == BOOKED else "2026-11-19",
        )
        for one in book
    }
