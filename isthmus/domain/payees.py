"""Payees: who is paid, and the one form of their account.

An account is an IBAN (ISO 13616) or a sort code with an account number (United Kingdom); or one of our own at a provider, by its name
there, which nobody writes: that is how money is brought here; or one here, by our id. The first two are checked as
far as that can be done without asking anybody: an IBAN's length, check digits and the form of its country; a sort code has no check
digits of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from uuid import UUID

from isthmus.domain.refusals import InvalidInput, PayeeAccountInvalid, Refusal

NAME_LENGTH_MAX = 140
_ACCOUNT = ("input", "payee", "account")
#: Also the blanks that do not break, as pages and papers have them.
_SEPARATORS = re.compile(r"[\s\-]")


@dataclass(frozen=True)
class PayeeAccount:
    """Exactly one: `iban`, or `sort_code` (six digits) with `number` (eight), or `merchant`, an account of ours, or `own`, one here."""

    iban: str | None = field(default=None, repr=False)
    sort_code: str | None = field(default=None, repr=False)
    number: str | None = field(default=None, repr=False)
    merchant: str | None = field(default=None, repr=False)
    own: UUID | None = None

    def text(self) -> str:
        """Its one form, which digests are made of and which is kept: `IBAN GB29…`, `SCAN 200000 12345678`, `MERCHANT <name>`, or
        `ACCOUNT <our id>`."""
        if self.own is not None:
            return f"ACCOUNT {self.own}"
        if self.merchant is not None:
            return f"MERCHANT {self.merchant}"
        return f"IBAN {self.iban}" if self.iban is not None else f"SCAN {self.sort_code} {self.number}"

    @classmethod
    def of_text(cls, text: str) -> PayeeAccount:
        kind, _, rest = text.partition(" ")
        if kind == "IBAN":
            return cls(iban=rest)
        if kind == "MERCHANT":
            return cls(merchant=rest)
        if kind == "ACCOUNT":
            return cls(own=UUID(rest))
        sort_code, _, number = rest.partition(" ")
        return cls(sort_code=sort_code, number=number)


def same_account(one: str, other: str) -> bool:
    """Of two in their one form: also where the one is a British IBAN, and the other the sort code and number that it is made of."""
    british = _british(one)
    return one == other or (british is not None and british == _british(other))


def _british(text: str) -> tuple[str, str] | None:
    account = PayeeAccount.of_text(text)
    if account.iban is not None and account.iban.startswith("GB") and len(account.iban) == 22:
        return account.iban[8:14], account.iban[14:]
    return (account.sort_code, account.number) if account.sort_code and account.number else None


def payee_account(iban: str | None, sort_code: str | None, number: str | None) -> PayeeAccount | Refusal:
    """What a person wrote, as it is kept: without blanks and dashes, in capitals."""
    if iban is not None and sort_code is None and number is None:
        return _of_iban(iban)
    if iban is None and sort_code is not None and number is not None:
        return _of_sort_code(_SEPARATORS.sub("", sort_code), _SEPARATORS.sub("", number))
    return InvalidInput("Give an IBAN, or a sort code and an account number.", _ACCOUNT)


def _of_iban(written: str) -> PayeeAccount | Refusal:
    import schwifty
    from schwifty.exceptions import SchwiftyException

    plain = _SEPARATORS.sub("", written).upper()
    if not plain.isascii() or not plain.isalnum():
        return PayeeAccountInvalid("That is no IBAN.", (*_ACCOUNT, "iban"))
    try:
        # Not a country's own check digits within it: the list of methods that banks have is never complete, and an account that is there
        # must not be refused. Its bank looks at them.
        return PayeeAccount(iban=str(schwifty.IBAN(plain).compact))
    except SchwiftyException:
        return PayeeAccountInvalid("That is no IBAN: look at its digits again.", (*_ACCOUNT, "iban"))


def _of_sort_code(sort_code: str, number: str) -> PayeeAccount | Refusal:
    if not (sort_code.isascii() and sort_code.isdigit() and len(sort_code) == 6):
        return PayeeAccountInvalid("A sort code has six digits.", (*_ACCOUNT, "sortCode"))
    if not (number.isascii() and number.isdigit() and 6 <= len(number) <= 8):
        return PayeeAccountInvalid("An account number has eight digits.", (*_ACCOUNT, "accountNumber"))
    return PayeeAccount(sort_code=sort_code, number=number.zfill(8))


def name_fault(name: str) -> Refusal | None:
    # Blanks are not all that shows nothing: whoever is to authorise it would read of nobody.
    if not any(letter.isalnum() for letter in name):
        return InvalidInput("The payee needs a name.", ("input", "payee", "name"))
    if len(name) > NAME_LENGTH_MAX:
        return InvalidInput(f"The name is longer than {NAME_LENGTH_MAX} characters.", ("input", "payee", "name"))
    return None
