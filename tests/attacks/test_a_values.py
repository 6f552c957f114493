"""Row A16: values that are not what they look like."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from isthmus.graphql.errors import BadUserInput
from isthmus.graphql.scalars import parse_decimal, print_decimal
from tests.api.conftest import CONTRACT, Person, Served, deposit
from tests.attacks.count import Row
from tests.attacks.victim import nothing_changes

AMOUNTS: list[Any] = [
    1, 0, -1, 1.5, 0.1, 1e3, True, None, [], {}, ["1"], "", " ", "1e3", "1E3", "1e-2", "0x10", "0b1", "1_000",
    "1,000", "1.000,00", "+1", "-0", "-0.00", "--1", "1-", ".5", "5.", "00.1", "01", "1 ", " 1", "1\n", "\t1",
    "1\0", "\x001", "NaN", "nan", "Infinity", "-Infinity", "sNaN", "１", "١", "۱", "१", "𝟏", "½", "²", "1٫5",
    "1．5", "$1", "1 EUR", "EUR", "null", "undefined", "1" * 101, "0." + "0" * 100 + "1", "1/2", "1%",
    "1;drop table entries", "${1}", "1\u200b", "\u202e1", "१.५", "1.1.1", "٣.14",
]  # fmt: skip
#: Well written, and still not what may be moved: none, less than none, finer than a cent, more than there can be.
NOT_MOVABLE = [
    "0",
    "0.00",
    "0.000",
    "-1",
    "-0.01",
    "0.001",
    "1.005",
    "0.999999999999999999",
    "9" * 40,
    "9" * 60 + ".01",
    "100000000000000.001",
]


def test_a16_an_amount_is_a_plain_decimal_of_its_assets_scale(
    served: Served, ada: Person, olga: Person, row: Row
) -> None:
    mine, other = ada.open(), ada.open()
    deposit(olga, mine, "100.00")

    def attempt(value: Any, **changed: Any) -> Any:
        wish = {
            "fromAccountId": mine,
            "toAccountId": other,
            "amount": {"amount": value, "asset": "EUR"},
            "idempotencyKey": uuid4().hex,
        }
        return ada.post(CONTRACT, {"input": wish | changed}, "TransferInternally").json()

    with nothing_changes(served):
        for amount in AMOUNTS:
            with row.case(amount):
                answer = attempt(amount)
                assert "data" not in answer
                assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
        for amount in NOT_MOVABLE:
            with row.case(amount):
                errors = attempt(amount)["data"]["transferInternally"]["errors"]
                assert [error["code"] for error in errors] in (["INVALID_AMOUNT"], ["INSUFFICIENT_FUNDS"])
        for literal in ("1", "1.0", "1e3", "true", "EUR", "[]", '{a: "1"}', "null", "-1", '"1e3"', '"１"'):
            with row.case(("literal", literal)):
                text = (f'mutation {{ transferInternally(input: {{fromAccountId: "{mine}", toAccountId: "{other}", idempotencyKey: "k", '
                        f'amount: {{amount: {literal}, asset: "EUR"}}}}) {{ position }} }}')  # fmt: skip
                assert ada.refused(text) == "BAD_USER_INPUT"
        no_assets: list[Any] = [
            "eur", "EURO", "E", "", "XXX", "€", "ＥＵＲ", "EUR ", "EUR\0", "BTC", "USD", 978, None, [], "' or 1=1", "E" * 100,
        ]  # fmt: skip
        for asset in no_assets:
            with row.case(("asset", asset)):
                answer = attempt("1.00", amount={"amount": "1.00", "asset": asset})
                errors = answer.get("errors") or answer["data"]["transferInternally"]["errors"]
                assert errors
        for code in ("JPY", "ETH"):
            with row.case(("another asset's scale", code)):
                assert attempt("1.00", amount={"amount": "0.000000000000000001", "asset": code})["data"][
                    "transferInternally"
                ]["errors"]


def test_a16_what_is_taken_is_kept_to_the_last_digit(row: Row) -> None:
    digits = "12345678901234567890123456789012345678"
    for places in range(19):
        for length in (1, 2, 17, 18, 19, 38):
            whole = digits[:length]
            text = f"{whole}.{digits[:places]}" if places else whole
            with row.case(text):
                assert print_decimal(parse_decimal(text)) == text
    for text in AMOUNTS:
        with row.case(text), pytest.raises(BadUserInput):
            parse_decimal(text)


def test_a16_an_input_has_its_own_fields_and_no_others(served: Served, ada: Person, row: Row) -> None:
    good = {"asset": "EUR", "name": "x", "idempotencyKey": "k"}
    no_values: list[Any] = [None, 1, 1.5, True, [], {}, ["x"]]
    wrong: list[Any] = [
        None, [], [good], [good, good], "x", 1, {}, {"input": good}, *({k: v for k, v in good.items() if k != gone} for gone in good),
        *(good | {name: value} for name in good for value in no_values),
        *(good | {name: "x"} for name in ("ASSET", "asset ", "names", "", "__typename", "constructor", "idempotency_key", "$where")),
    ]  # fmt: skip
    with nothing_changes(served):
        for value in wrong:
            if value == good | {"asset": ["x"]}:
                continue
            with row.case(value):
                served.statements.clear()
                assert ada.refused(CONTRACT, {"input": value}, "OpenAccount") == "BAD_USER_INPUT"
                assert served.statements == []
        for kinds in (
            '"LEDGER"',
            "[LEDGER, NOPE]",
            "[ledger]",
            "[1]",
            "[true]",
            "{}",
            '["LEDGER"]',
            "[null]",
            "LEDGER_",
            "[[LEDGER]]",
        ):
            with row.case(("enum", kinds)):
                assert (
                    ada.refused(f"{{ viewer {{ accounts(filter: {{kinds: {kinds}}}) {{ totalCount }} }} }}")
                    == "BAD_USER_INPUT"
                )
        no_kinds: list[Any] = ["ledger", "Ledger", "LEDGER ", 0, True, {}, ["x"], "BANK,LEDGER", ""]
        for value in no_kinds:
            with row.case(("enum in a variable", value)):
                text = "query($k: [AccountKind!]) { viewer { accounts(filter: {kinds: $k}) { totalCount } } }"
                assert ada.refused(text, {"k": [value]}) == "BAD_USER_INPUT"
