"""Yapily's transactions in our words: signed amounts, booked or pending. A bank may give what is pending no id."""

from __future__ import annotations

from datetime import datetime

import msgspec

from isthmus.domain.bank_transactions import (
    BankTransaction,
    BankTransactionStatus,
    Counterparty,
    MalformedTransaction,
)
from isthmus.integrations.banking.amounts import exact, number
from isthmus.integrations.banking.reading import decoded, iban, identifier, instant, number_of_account, written

STATUSES = {"BOOKED": BankTransactionStatus.POSTED, "PENDING": BankTransactionStatus.PENDING}


class _Identification(msgspec.Struct):
    type: str
    identification: str | None = None


class _Party(msgspec.Struct, rename="camel"):
    name: str | None = None
    account_identifications: list[_Identification] | None = None


class _Merchant(msgspec.Struct, rename="camel"):
    merchant_name: str | None = None


class YapilyTransaction(msgspec.Struct, rename="camel"):
    amount: msgspec.Raw
    status: str
    currency: str | None = None
    id: str | None = None
    date: datetime | None = None
    booking_date_time: datetime | None = None
    value_date_time: datetime | None = None
    reference: str | None = None
    description: str | None = None
    payee_details: _Party | None = None
    payer_details: _Party | None = None
    merchant: _Merchant | None = None


_DECODER = msgspec.json.Decoder(YapilyTransaction)


def decode(raw: bytes | msgspec.Raw) -> YapilyTransaction:
    """Raises MalformedTransaction."""
    return decoded(_DECODER, raw, "Yapily's")


def canonical(told: YapilyTransaction, account: str, asset: str, raw: bytes) -> BankTransaction:
    """Raises MalformedTransaction."""
    status = STATUSES.get(told.status)
    if status is None:
        raise MalformedTransaction("a transaction is neither booked nor pending")
    posted = status is BankTransactionStatus.POSTED
    at = told.booking_date_time or told.date if posted else told.date
    if at is None:
        raise MalformedTransaction("a transaction has no day")
    amount = exact(number(told.amount), told.currency, asset)
    out = amount < 0 or (not amount and told.payer_details is None)  # a zero goes to whoever is named
    other = (told.payee_details if out else told.payer_details) or _Party()
    merchant = told.merchant.merchant_name if told.merchant is not None else None
    return BankTransaction(
        account,
        identifier(told.id),
        amount,
        asset,
        status,
        booked_on=at.date() if posted else None,
        value_on=told.value_date_time.date() if told.value_date_time and posted else None,
        made_on=None if posted else at.date(),
        description=written(told.description) or written(told.reference),
        counterparty=Counterparty(
            written(other.name) or written(merchant), _account_of(other), written(told.reference)
        ),
        at=instant(at),
        raw=raw,
    )


def _account_of(party: _Party) -> str | None:
    ids = {one.type: one.identification for one in party.account_identifications or ()}
    return iban(ids.get("IBAN")) or number_of_account(ids.get("SORT_CODE"), ids.get("ACCOUNT_NUMBER"))
