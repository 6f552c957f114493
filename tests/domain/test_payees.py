"""Payees: which names can be shown, and when two accounts that are written differently are the same."""

from __future__ import annotations

import pytest

from isthmus.domain.payees import NAME_LENGTH_MAX, PayeeAccount, name_fault, payee_account, same_account
from isthmus.domain.refusals import InvalidInput

IBAN, NUMBER = "IBAN GB29NWBK60161331926819", "SCAN 601613 31926819"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (IBAN, IBAN, True),
        (IBAN, NUMBER, True),
        (NUMBER, IBAN, True),
        (IBAN, "SCAN 601613 31926810", False),
        (IBAN, "IBAN GB33BUKB20201555555555", False),
        ("IBAN DE89370400440532013000", NUMBER, False),
        ("MERCHANT ours", "MERCHANT theirs", False),
        ("? nrb", "? nrb else", False),
        ("? nrb", NUMBER, False),
    ],
)
def test_a_bank_may_tell_an_account_as_it_was_not_written(one: str, other: str, same: bool) -> None:
    assert same_account(one, other) is same


@pytest.mark.parametrize("name", ["", "  ", "\u200b\u2060", "\u00ad", "\u2800", "…", "\U0001f600"])
def test_a_name_without_a_letter_names_nobody_whom_its_payer_could_read_of(name: str) -> None:
    assert isinstance(name_fault(name), InvalidInput)


@pytest.mark.parametrize("name", ["Jo", "7", "山田 太郎", "محمد", "می\u200cخواهم", "O’Neill", "é"])
def test_a_name_in_any_script_is_one(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize("blank", [" ", "-", "\u00a0", "\u202f", "\t"])
def test_an_account_is_the_same_with_whichever_blanks_it_was_copied(blank: str) -> None:
    iban, code = blank.join(("de89", "3704", "0044", "0532", "0130", "00")), blank.join(("60", "16", "13"))

    assert payee_account(iban, None, None) == PayeeAccount(iban="DE89370400440532013000")
    assert payee_account(None, code, "31926819") == PayeeAccount(sort_code="601613", number="31926819")


@pytest.mark.parametrize(
    ("sort_code", "number", "account"),
    [
        ("60-16-13", "3192 6819", "SCAN 601613 31926819"),
        ("601613", "123456", "SCAN 601613 00123456"),
        ("60161", "31926819", None),
        ("6016130", "31926819", None),
        ("601613", "12345", None),
        ("601613", "319268190", None),
        ("601613", "3192681x", None),
        ("\N{ARABIC-INDIC DIGIT SIX}01613", "31926819", None),
    ],
)
def test_a_sort_code_has_six_digits_and_a_number_eight_or_what_leads_there(
    sort_code: str, number: str, account: str | None
) -> None:
    found = payee_account(None, sort_code, number)

    assert (found.text() if isinstance(found, PayeeAccount) else None) == account


@pytest.mark.parametrize(
    ("name", "refused"), [("Bob", False), (" \t", True), ("x" * NAME_LENGTH_MAX, False), ("x" * 141, True)]
)
def test_a_payee_has_a_name_of_a_length(name: str, refused: bool) -> None:
    assert (name_fault(name) is not None) is refused
