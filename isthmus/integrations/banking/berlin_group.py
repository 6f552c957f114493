"""The Berlin Group's transactions (NextGenPSD2 1.3) in our words.

Amounts are signed texts. The list that one is in says whether it is booked; what is pending may have no id.
"""

from __future__ import annotations

import re
from datetime import date

import msgspec

from isthmus.domain.bank_transactions import (
    BankTransaction,
    BankTransactionStatus,
    Counterparty,
    MalformedTransaction,
)
from isthmus.integrations.banking.amounts import exact, text
from isthmus.integrations.banking.reading import decoded, iban, identifier, number_of_account, written

_AMOUNT = re.compile(r"-?[0-9]{1,14}(?:\.[0-9]{1,3})?")


class _Amount(msgspec.Struct):
    amount: str
    currency: str | None = None


class _Account(msgspec.Struct):
    iban: str | None = None
    bban: str | None = None


class _Structured(msgspec.Struct):
    reference: str | None = None


class BerlinGroupTransaction(msgspec.Struct, rename="camel"):
    transaction_amount: _Amount
    transaction_id: str | None = None
    entry_reference: str | None = None
    booking_date: date | None = None
    value_date: date | None = None
    creditor_name: str | None = None
    creditor_account: _Account | None = None
    debtor_name: str | None = None
    debtor_account: _Account | None = None
    remittance_information_unstructured: str | None = None
    remittance_information_unstructured_array: list[str] | None = None
    remittance_information_structured: str | _Structured | None = None
    additional_information: str | None = None


class Lists(msgspec.Struct):
    """What `information` holds (standing orders) moved no money yet."""

    booked: list[msgspec.Raw] | None = None
    pending: list[msgspec.Raw] | None = None


class Document(msgspec.Struct):
    transactions: Lists


_DECODER = msgspec.json.Decoder(BerlinGroupTransaction)
DOCUMENTS = msgspec.json.Decoder(Document)


def decode(raw: bytes | msgspec.Raw) -> BerlinGroupTransaction:
    """Raises MalformedTransaction."""
    return decoded(_DECODER, raw, "the Berlin Group's")


def canonical(told: BerlinGroupTransaction, account: str, asset: str, raw: bytes, *, pending: bool) -> BankTransaction:
    """`pending`: as the list says that it is in. Raises MalformedTransaction.

    A bank that names no booking date books with the value date. What is pending has the one day that is told, or none.
    """
    amount = exact(text(told.transaction_amount.amount, _AMOUNT), told.transaction_amount.currency, asset)
    day = told.booking_date or told.value_date
    if day is None and not pending:
        raise MalformedTransaction("a transaction has no day")
    out = amount < 0 or (not amount and told.debtor_name is None)  # a zero goes to whoever is named
    name, party = (told.creditor_name, told.creditor_account) if out else (told.debtor_name, told.debtor_account)
    other, remittance = party or _Account(), _remittance(told)
    return BankTransaction(
        account,
        identifier(told.transaction_id) or identifier(told.entry_reference),
        amount,
        asset,
        BankTransactionStatus.PENDING if pending else BankTransactionStatus.POSTED,
        booked_on=None if pending else day,
        value_on=None if pending else told.value_date,
        made_on=day if pending else None,
        description=remittance or written(told.additional_information),
        counterparty=Counterparty(
            written(name), iban(other.iban) or number_of_account(other.bban), _structured(told) or remittance
        ),
        raw=raw,
    )


def read(body: bytes | msgspec.Raw, account: str, asset: str) -> list[BankTransaction]:
    """All movements of a whole answer. Raises MalformedTransaction."""
    lists = decoded(DOCUMENTS, body, "the Berlin Group's").transactions
    return [
        canonical(decode(raw), account, asset, bytes(raw), pending=pending)
        for raws, pending in ((lists.booked, False), (lists.pending, True))
        for raw in raws or ()
    ]


def _remittance(told: BerlinGroupTransaction) -> str | None:
    lines = told.remittance_information_unstructured_array or ()
    return written(told.remittance_information_unstructured) or written(" ".join(lines))


def _structured(told: BerlinGroupTransaction) -> str | None:
    structured = told.remittance_information_structured
    return written(structured.reference if isinstance(structured, _Structured) else structured)
