"""What a bank itself said: the shapes of OBIE, the Berlin Group and FDX, of the same movements that Yapily tells of."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import pytest

from tests.sandbox.running import Sandbox
from tests.sandbox.test_yapily_data import ask, linked

SORT_CODE, IBAN = "20000012345678", "GB29NWBK60161331926819"


def bobs(sandbox: Sandbox, bank: str, account: str | None, **other: Any) -> dict[str, Any]:
    """Everything that is said of 12.34 to Bob, for rent."""
    _, token = linked(sandbox, institutionId=f"{bank}-sandbox")
    ours = sandbox.accounts(bank)[0]["id"]
    movement = {"amount": -1234, "name": "Bob", "reference": "Rent", "counterparty_account": account}
    sandbox.tell("movements", account=ours, **movement, **other)
    answer = ask(sandbox, "GET", f"accounts/{ours}/transactions", token, params={"limit": 1, "raw": "true"})
    assert answer.status_code == 200, answer.text
    # Amounts as they stand there: a number without its places would not be the bank's.
    whole: dict[str, Any] = json.loads(answer.text, parse_float=Decimal)
    return whole


def test_in_the_united_kingdom_it_is_open_bankings(sandbox: Sandbox) -> None:
    told = bobs(sandbox, "harbour", SORT_CODE)
    (said,) = told["raw"][0]["result"]["Data"]["Transaction"]
    booked_at = said.pop("BookingDateTime")
    assert booked_at == told["data"][0]["bookingDateTime"]
    assert said == {
        "AccountId": sandbox.accounts("harbour")[0]["id"],
        "TransactionId": told["data"][0]["id"],
        "Amount": {"Amount": "12.34", "Currency": "GBP"},
        "CreditDebitIndicator": "Debit",
        "Status": "Booked",
        "TransactionInformation": "Rent",
        "CreditorAccount": {
            "SchemeName": "UK.OBIE.SortCodeAccountNumber",
            "Identification": SORT_CODE,
            "Name": "Bob",
        },
    }


def test_in_the_eea_it_is_the_berlin_groups(sandbox: Sandbox) -> None:
    told = bobs(sandbox, "nordlicht", IBAN)
    ours = told["data"][0]
    day = ours["bookingDateTime"][:10]
    assert told["raw"][0]["result"]["transactions"] == {
        "booked": [
            {
                "transactionId": ours["id"],
                "bookingDate": day,
                "valueDate": day,
                "transactionAmount": {"currency": "EUR", "amount": "-12.34"},
                "creditorName": "Bob",
                "creditorAccount": {"iban": IBAN},
                "remittanceInformationUnstructured": "Rent",
            }
        ],
        "pending": [],
    }


def test_in_the_united_states_it_is_fdxs(sandbox: Sandbox) -> None:
    told = bobs(sandbox, "prairie", None)
    (said,) = told["raw"][0]["result"]["transactions"]
    assert said == {
        "transactionId": told["data"][0]["id"],
        "postedTimestamp": told["data"][0]["bookingDateTime"],
        "transactionTimestamp": told["data"][0]["date"],
        "description": "Rent",
        "debitCreditMemo": "DEBIT",
        "status": "POSTED",
        "amount": Decimal("12.34"),
        "payee": "Bob",
    }


def test_what_is_pending_has_no_id_at_the_berlin_group_and_elsewhere_where_the_bank_is_like_that(
    sandbox: Sandbox,
) -> None:
    told = bobs(sandbox, "nordlicht", IBAN, pending=True)
    (pending,) = told["raw"][0]["result"]["transactions"]["pending"]
    assert {"transactionId", "bookingDate"} & set(pending) == set()
    told = bobs(sandbox, "harbour", None, pending=True)
    (pending,) = told["raw"][0]["result"]["Data"]["Transaction"]
    assert (pending["Status"], pending["TransactionId"]) == ("Pending", told["data"][0]["id"])
    sandbox.tell("facts", name="yapily.pending_without_id", value="yes")
    told = bobs(sandbox, "harbour", None, pending=True)
    (pending,) = told["raw"][0]["result"]["Data"]["Transaction"]
    assert ("TransactionId" in pending, "id" in told["data"][0]) == (False, False)


@pytest.mark.parametrize("bank", ["harbour", "nordlicht", "prairie"])
def test_every_amount_is_the_same_whoever_tells_it(sandbox: Sandbox, bank: str) -> None:
    _, token = linked(sandbox, institutionId=f"{bank}-sandbox")
    current = next(one for one in sandbox.accounts(bank) if one["kind"] == "CURRENT")
    path = f"accounts/{current['id']}/transactions"
    answer = ask(sandbox, "GET", path, token, params={"raw": "true"})
    whole = json.loads(answer.text, parse_float=Decimal)
    ours = sorted(one["amount"] for one in whole["data"])
    said = whole["raw"][0]["result"]
    match bank:
        case "harbour":
            rows = said["Data"]["Transaction"]
            assert all(re.fullmatch(r"\d{1,13}\.\d{1,5}", one["Amount"]["Amount"]) for one in rows)
            signs = {"Debit": -1, "Credit": 1}
            theirs = [Decimal(one["Amount"]["Amount"]) * signs[one["CreditDebitIndicator"]] for one in rows]
        case "nordlicht":
            rows = [*said["transactions"]["booked"], *said["transactions"]["pending"]]
            texts = [one["transactionAmount"]["amount"] for one in rows]
            assert all(re.fullmatch(r"-?\d{1,14}\.\d{1,3}", text) for text in texts)
            theirs = [Decimal(text) for text in texts]
        case _:
            signs = {"DEBIT": -1, "CREDIT": 1}
            theirs = [one["amount"] * signs[one["debitCreditMemo"]] for one in said["transactions"]]
    assert sorted(theirs) == ours
    assert len(ours) > 10


def test_a_payment_shows_its_payees_account_in_both(sandbox: Sandbox) -> None:
    told = bobs(sandbox, "harbour", SORT_CODE)
    assert told["data"][0]["payeeDetails"]["accountIdentifications"] == [
        {"type": "SORT_CODE", "identification": "200000"},
        {"type": "ACCOUNT_NUMBER", "identification": "12345678"},
    ]


def test_nobody_who_does_not_ask_is_told_what_the_bank_said(sandbox: Sandbox) -> None:
    _, token = linked(sandbox)
    path = f"accounts/{sandbox.accounts('harbour')[0]['id']}/transactions"
    assert "raw" not in ask(sandbox, "GET", path, token).json()
