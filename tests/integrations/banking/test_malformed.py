"""What cannot be a transaction is refused with what is wrong, and never with what stood there."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from isthmus.domain.bank_transactions import MalformedTransaction
from isthmus.integrations.banking import berlin_group, obie
from tests.integrations.banking.dialects import DIALECTS, malformed

CASES = [(name, case) for name in DIALECTS for case in malformed(name)]


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}: {case['what']}" for name, case in CASES])
def test_it_is_refused_for_its_reason(name: str, case: dict[str, str]) -> None:
    with pytest.raises(MalformedTransaction) as refused:
        DIALECTS[name].one(case["told"].encode(), "GBP")
    assert str(refused.value) == case["reason"]


@pytest.mark.parametrize("name", DIALECTS)
def test_places_follow_the_currency(name: str) -> None:
    dialect = DIALECTS[name]
    for asset, most, too_many in (("JPY", "-1", "-1.5"), ("GBP", "-1.25", "-1.255"), ("KWD", "-1.255", None)):
        assert dialect.one(dialect.written(Decimal(most), asset), asset).amount == Decimal(most)
        if too_many is not None:
            with pytest.raises(MalformedTransaction, match="more places"):
                dialect.one(dialect.written(Decimal(too_many), asset), asset)


@pytest.mark.parametrize("name", DIALECTS)
def test_depth_is_no_way_to_end_a_process(name: str) -> None:
    deep = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(MalformedTransaction):
        DIALECTS[name].one(deep, "GBP")


def test_what_moved_no_money_is_passed_over() -> None:
    """One rejected payment does not spoil an answer; what nobody knows does."""
    told = {
        "Amount": {"Amount": "1.00", "Currency": "GBP"},
        "CreditDebitIndicator": "Debit",
        "BookingDateTime": "2026-11-20T10:00:00Z",
    }

    def answer(*statuses: str) -> bytes:
        return msgspec.json.encode({"Data": {"Transaction": [{**told, "Status": status} for status in statuses]}})

    assert len(obie.read(answer("Rejected", "Booked", "FUTR", "PDNG"), "acc", "GBP")) == 2
    with pytest.raises(MalformedTransaction):
        obie.read(answer("Booked", "Invented"), "acc", "GBP")


def test_what_is_pending_may_have_neither_id_nor_day() -> None:
    body = b'{"transactions": {"booked": [], "pending": [{"transactionAmount": {"currency": "EUR", "amount": "-5"}}]}}'
    (one,) = berlin_group.read(body, "acc", "EUR")
    assert (one.reference, one.day, str(one.amount)) == (None, None, "-5.00")


def test_texts_can_be_stored_and_shown() -> None:
    """No NUL, which PostgreSQL cannot keep; no line ends; nothing that turns the direction of writing; of bounded length."""
    told = msgspec.json.decode(DIALECTS["fdx"].written(Decimal(-1), "GBP"))
    told |= {"payee": " A\u0000B\u202eC\r\nD\u200cE ", "description": "x" * 5_000}
    one = DIALECTS["fdx"].one(msgspec.json.encode(told), "GBP")
    assert one.counterparty.name == "A BC D\u200cE"
    assert one.description == "x" * 1_000


def test_an_account_is_named_in_one_way_and_a_card_not_at_all() -> None:
    def other(scheme: str, identification: str) -> str | None:
        told = msgspec.json.decode(DIALECTS["obie"].written(Decimal(-1), "GBP"))
        told["CreditorAccount"] = {"SchemeName": scheme, "Identification": identification, "Name": "Bob"}
        return DIALECTS["obie"].one(msgspec.json.encode(told), "GBP").counterparty.account

    assert other("UK.OBIE.IBAN", "gb29 nwbk 6016 1331 9268 19") == "GB29NWBK60161331926819"
    assert other("UK.OBIE.SortCodeAccountNumber", "20-00-00 12345678") == "20000012345678"
    assert other("UK.OBIE.PAN", "4111111111111111") is None
    assert other("UK.OBIE.IBAN", "not an IBAN") is None
