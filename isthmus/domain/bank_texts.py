"""What is personal of a bank's account and of its transactions, as it is sealed: written by the write side, read by the read side.

Names are short, and never change: they are in every row.
"""

from __future__ import annotations

import msgspec

from isthmus.domain.bank_transactions import BankTransaction

ACCOUNT_CONTEXT = b"bank account"
TRANSACTION_CONTEXT, RAW_CONTEXT = b"bank transaction", b"bank transaction as told"


class AccountText(msgspec.Struct, frozen=True, omit_defaults=True):
    """`n` its name, `i` its IBAN, `k` sort code and number, as far as they are told."""

    n: str
    i: str | None = None
    k: str | None = None


class TransactionText(msgspec.Struct, frozen=True, omit_defaults=True):
    """`d` the description; of the other side `n` its name, `a` its account, `r` what was written for it."""

    d: str | None = None
    n: str | None = None
    a: str | None = None
    r: str | None = None


def text_of_transaction(one: BankTransaction) -> TransactionText:
    other = one.counterparty
    return TransactionText(one.description, other.name, other.account, other.reference)
