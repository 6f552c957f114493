"""Accounts and references as payment providers take them."""

from __future__ import annotations

from isthmus.domain.bank_payments import PayerAccount
from isthmus.domain.payees import PayeeAccount

#: Providers want a reference; where the payer wrote none the payee reads this.
NO_REFERENCE = "Payment"
_SORT_CODE_DIGITS, _NUMBER_DIGITS = 6, 8


def reference_of(written: str, length_max: int, also: str = "") -> str:
    """What the payer wrote in the letters that every bank takes: Latin ones, digits, blanks, and `also`. Cut off where it is too long."""
    from anyascii import anyascii

    plain = "".join(one if one.isalnum() or one in also else " " for one in anyascii(written))
    return " ".join(plain.split())[:length_max].strip() or NO_REFERENCE


def sort_code_and_number(account: PayeeAccount | PayerAccount) -> tuple[str, str] | None:
    """As the United Kingdom names accounts: also of an IBAN of its own, which is made of them. None where there are none."""
    if isinstance(account, PayeeAccount):
        if account.sort_code is not None and account.number is not None:
            return account.sort_code, account.number
    elif account.number is not None and account.number.isdigit() and len(account.number) == 14:
        return account.number[:_SORT_CODE_DIGITS], account.number[_SORT_CODE_DIGITS:]
    if account.iban is not None and account.iban.startswith("GB") and len(account.iban) == 22:
        return account.iban[8:14], account.iban[14:]
    return None


def text_of_account(iban: str | None, sort_code: str | None, number: str | None) -> str | None:
    """A payee's account that a provider told, in its one form. None where it told none, or two: which was meant is not known then."""
    by_number = sort_code is not None and number is not None
    if (iban is not None) == by_number:
        return None
    if iban is not None:
        return PayeeAccount(iban="".join(iban.split()).upper()).text()
    return PayeeAccount(sort_code=sort_code, number=(number or "").zfill(_NUMBER_DIGITS)).text()
