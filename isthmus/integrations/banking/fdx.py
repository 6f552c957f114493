"""FDX's transactions (Financial Data Exchange, North America, version 5) in our words.

Amounts are numbers without a sign: debitCreditMemo tells the direction. The currency is the account's.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from isthmus.domain.bank_transactions import (
    BankTransaction,
    BankTransactionStatus,
    Counterparty,
    MalformedTransaction,
)
from isthmus.integrations.banking.amounts import exact, number, signed
from isthmus.integrations.banking.reading import decoded, identifier, instant, written

#: A memo is pending until the end of its day; an authorisation until somebody claims it.
STATUSES = {
    "POSTED": BankTransactionStatus.POSTED,
    "PENDING": BankTransactionStatus.PENDING,
    "MEMO": BankTransactionStatus.PENDING,
    "AUTHORIZATION": BankTransactionStatus.PENDING,
}
#: The third word, MEMO, says nothing of the direction.
_OUT = {"DEBIT": True, "CREDIT": False}


class FdxTransaction(msgspec.Struct, rename="camel"):
    amount: msgspec.Raw
    debit_credit_memo: str
    status: str
    transaction_id: str | None = None
    posted_timestamp: datetime | None = None
    transaction_timestamp: datetime | None = None
    description: str | None = None
    payee: str | None = None


class _Document(msgspec.Struct):
    transactions: list[msgspec.Raw]


_DECODER = msgspec.json.Decoder(FdxTransaction)
_DOCUMENTS = msgspec.json.Decoder(_Document)


def decode(raw: bytes | msgspec.Raw) -> FdxTransaction:
    """Raises MalformedTransaction."""
    return decoded(_DECODER, raw, "FDX's")


def canonical(told: FdxTransaction, account: str, asset: str, raw: bytes) -> BankTransaction:
    """Raises MalformedTransaction."""
    status, out = STATUSES.get(told.status), _OUT.get(told.debit_credit_memo)
    if status is None:
        raise MalformedTransaction("a transaction is neither booked nor pending")
    if out is None:
        raise MalformedTransaction("a transaction goes neither in nor out")
    posted, made = status is BankTransactionStatus.POSTED, told.transaction_timestamp
    at = told.posted_timestamp or made if posted else made
    if at is None:
        raise MalformedTransaction("a transaction has no day")
    return BankTransaction(
        account,
        identifier(told.transaction_id),
        signed(exact(number(told.amount), asset, asset), out=out),
        asset,
        status,
        booked_on=at.date() if posted else None,
        made_on=made.date() if made is not None else None,
        description=written(told.description),
        counterparty=Counterparty(written(told.payee)),
        at=instant(at),
        raw=raw,
    )


def read(body: bytes | msgspec.Raw, account: str, asset: str) -> list[BankTransaction]:
    """All movements of a whole answer. Raises MalformedTransaction."""
    raws = decoded(_DOCUMENTS, body, "FDX's").transactions
    return [canonical(decode(raw), account, asset, bytes(raw)) for raw in raws]
