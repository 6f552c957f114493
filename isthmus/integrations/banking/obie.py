"""OBIE's transactions (Open Banking in the United Kingdom, versions 3.1 and 4.0) in our words.

Amounts have no sign: CreditDebitIndicator tells the direction. An id is optional.
"""

from __future__ import annotations

import re
from datetime import datetime

import msgspec

from isthmus.domain.bank_transactions import (
    BankTransaction,
    BankTransactionStatus,
    Counterparty,
    MalformedTransaction,
)
from isthmus.integrations.banking.amounts import exact, signed, text
from isthmus.integrations.banking.reading import decoded, iban, identifier, instant, number_of_account, written

_AMOUNT = re.compile(r"[0-9]{1,13}(?:\.[0-9]{1,5})?")
#: The words of 3.1, and the codes of 4.0.
STATUSES = {
    "Booked": BankTransactionStatus.POSTED,
    "Pending": BankTransactionStatus.PENDING,
    "BOOK": BankTransactionStatus.POSTED,
    "PDNG": BankTransactionStatus.PENDING,
}
#: No money moved, or none yet: `read` passes them over.
NO_MOVEMENT = frozenset({"Rejected", "RJCT", "INFO", "FUTR"})
_OUT = {"Debit": True, "Credit": False}


class _Amount(msgspec.Struct, rename="pascal"):
    amount: str
    currency: str | None = None


class _Party(msgspec.Struct, rename="pascal"):
    scheme_name: str = ""
    identification: str | None = None
    name: str | None = None


class _Merchant(msgspec.Struct, rename="pascal"):
    merchant_name: str | None = None


class ObieTransaction(msgspec.Struct, rename="pascal"):
    amount: _Amount
    credit_debit_indicator: str
    status: str
    booking_date_time: datetime
    transaction_id: str | None = None
    value_date_time: datetime | None = None
    transaction_information: str | None = None
    creditor_account: _Party | None = None
    debtor_account: _Party | None = None
    merchant_details: _Merchant | None = None


class _Data(msgspec.Struct, rename="pascal"):
    transaction: list[msgspec.Raw] | None = None


class _Document(msgspec.Struct, rename="pascal"):
    data: _Data


_DECODER = msgspec.json.Decoder(ObieTransaction)
_DOCUMENTS = msgspec.json.Decoder(_Document)


def decode(raw: bytes | msgspec.Raw) -> ObieTransaction:
    """Raises MalformedTransaction."""
    return decoded(_DECODER, raw, "OBIE's")


def canonical(told: ObieTransaction, account: str, asset: str, raw: bytes) -> BankTransaction:
    """Raises MalformedTransaction. What is pending is told under the day it is expected to be booked on: no other is told."""
    status, out = STATUSES.get(told.status), _OUT.get(told.credit_debit_indicator)
    if status is None:
        raise MalformedTransaction("a transaction is neither booked nor pending")
    if out is None:
        raise MalformedTransaction("a transaction goes neither in nor out")
    posted, day = status is BankTransactionStatus.POSTED, told.booking_date_time.date()
    other = (told.creditor_account if out else told.debtor_account) or _Party()
    merchant = told.merchant_details.merchant_name if told.merchant_details is not None else None
    return BankTransaction(
        account,
        identifier(told.transaction_id),
        signed(exact(text(told.amount.amount, _AMOUNT), told.amount.currency, asset), out=out),
        asset,
        status,
        booked_on=day if posted else None,
        value_on=told.value_date_time.date() if told.value_date_time is not None and posted else None,
        made_on=None if posted else day,
        description=written(told.transaction_information),
        counterparty=Counterparty(written(other.name) or written(merchant), _account_of(other)),
        at=instant(told.booking_date_time),
        raw=raw,
    )


def read(body: bytes | msgspec.Raw, account: str, asset: str) -> list[BankTransaction]:
    """All movements of a whole answer. Raises MalformedTransaction."""
    raws = decoded(_DOCUMENTS, body, "OBIE's").data.transaction or ()
    told = [(decode(raw), bytes(raw)) for raw in raws]
    return [canonical(one, account, asset, raw) for one, raw in told if one.status not in NO_MOVEMENT]


def _account_of(party: _Party) -> str | None:
    """A card's number (PAN) is nobody's account."""
    match party.scheme_name.rpartition(".")[2]:
        case "IBAN":
            return iban(party.identification)
        case "SortCodeAccountNumber" | "BBAN":
            return number_of_account(party.identification)
        case _:
            return None
