"""One transaction of an account at a bank, whichever dialect told of it.

Amounts are signed as everywhere here: negative is money out. Days are the bank's own; an instant is kept only where the dialect tells
one. What a dialect does not say is None, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum


class BankTransactionStatus(StrEnum):
    PENDING = "PENDING"
    POSTED = "POSTED"


@dataclass(frozen=True)
class Counterparty:
    """The other side. `account` is its IBAN, or sort code and number without separators; `reference` what was written for it."""

    name: str | None = field(default=None, repr=False)
    account: str | None = field(default=None, repr=False)
    reference: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class BankTransaction:
    """`account` is the provider's name for the account, `reference` its name for the transaction: None where the bank gives none, as
    some do while one is pending. `posts`: the reference of the pending transaction that this one is the booking of.

    `booked_on` is None while it is pending; `made_on` the day it was made, as far as it is told. What is compared is what all
    dialects can say alike; `at` (an instant) and `raw` (the JSON as it came) are kept beside it.
    """

    account: str
    reference: str | None
    amount: Decimal
    asset: str
    status: BankTransactionStatus
    booked_on: date | None
    value_on: date | None = None
    made_on: date | None = None
    description: str | None = field(default=None, repr=False)
    counterparty: Counterparty = Counterparty()
    category: str | None = None
    posts: str | None = field(default=None, compare=False)
    at: datetime | None = field(default=None, compare=False)
    raw: bytes = field(default=b"", repr=False, compare=False)

    @property
    def direction(self) -> str:
        """DEBIT out of the account, CREDIT into it; a zero is a credit of nothing."""
        return "DEBIT" if self.amount < 0 else "CREDIT"

    @property
    def day(self) -> date | None:
        """The day it is told under."""
        return self.booked_on or self.made_on


class MalformedTransaction(Exception):
    """What a provider told cannot be one: no number, more places than its currency has, no currency. Says what, never the content."""
