"""Accounts of payees: when two that are written differently are the same."""

from __future__ import annotations

import pytest

from isthmus.domain.payees import same_account

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
