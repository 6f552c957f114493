"""Plaid's transactions in our words. Positive is money out; a booking names the pending transaction it books, where the bank does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import msgspec

from isthmus.domain.bank_transactions import (
    BankTransaction,
    BankTransactionStatus,
    Counterparty,
    MalformedTransaction,
)
from isthmus.integrations.banking.amounts import exact, number
from isthmus.integrations.banking.categories import of_plaid
from isthmus.integrations.banking.reading import (
    decoded,
    iban,
    identifier,
    instant,
    number_of_account,
    required,
    written,
)


class _Category(msgspec.Struct):
    primary: str
    detailed: str = ""


class _Bacs(msgspec.Struct):
    account: str | None = None
    sort_code: str | None = None


class _International(msgspec.Struct):
    iban: str | None = None


class _Numbers(msgspec.Struct):
    bacs: _Bacs | None = None
    international: _International | None = None


class _Other(msgspec.Struct):
    name: str | None = None
    account_numbers: _Numbers | None = None


class _Meta(msgspec.Struct):
    payee: str | None = None
    payer: str | None = None
    reason: str | None = None


class PlaidTransaction(msgspec.Struct):
    transaction_id: str
    account_id: str
    amount: msgspec.Raw
    date: dt.date
    pending: bool
    iso_currency_code: str | None = None
    name: str | None = None
    merchant_name: str | None = None
    original_description: str | None = None
    authorized_date: dt.date | None = None
    datetime: dt.datetime | None = None
    pending_transaction_id: str | None = None
    counterparties: list[_Other] | None = None
    personal_finance_category: _Category | None = None
    payment_meta: _Meta | None = None


_DECODER = msgspec.json.Decoder(PlaidTransaction)
_NO_META, _NOBODY = _Meta(), Counterparty()


def decode(raw: bytes | msgspec.Raw) -> PlaidTransaction:
    """Raises MalformedTransaction."""
    return decoded(_DECODER, raw, "Plaid's")


def canonical(told: PlaidTransaction, assets: Mapping[str, str | None], raw: bytes) -> BankTransaction:
    """`assets`: currencies by account, as the same answer tells them. Raises MalformedTransaction."""
    if told.account_id not in assets:
        raise MalformedTransaction("a transaction is of an account that the bank does not show")
    amount = -exact(number(told.amount), told.iso_currency_code, assets[told.account_id])
    assert told.iso_currency_code is not None, "it was looked at"
    category, pending = told.personal_finance_category, told.pending
    return BankTransaction(
        told.account_id,
        required(told.transaction_id),
        amount,
        told.iso_currency_code,
        BankTransactionStatus.PENDING if pending else BankTransactionStatus.POSTED,
        None if pending else told.date,
        None,
        told.authorized_date or (told.date if pending else None),
        written(told.original_description) or written(told.name),
        _counterparty(told, out=amount < 0),
        None if category is None else of_plaid(category.primary, category.detailed),
        None if pending else identifier(told.pending_transaction_id),
        instant(told.datetime),
        raw,
    )


def _counterparty(told: PlaidTransaction, *, out: bool) -> Counterparty:
    first, account = told.counterparties[0] if told.counterparties else None, None
    if first is not None and first.account_numbers is not None:
        numbers = first.account_numbers
        bacs = numbers.bacs or _Bacs()
        account = iban(numbers.international.iban) if numbers.international is not None else None
        account = account or number_of_account(bacs.sort_code, bacs.account)
    meta = told.payment_meta or _NO_META
    name = (first.name if first is not None else None) or told.merchant_name or (meta.payee if out else meta.payer)
    if name is None and account is None and meta.reason is None:
        return _NOBODY
    return Counterparty(written(name), account, written(meta.reason))
