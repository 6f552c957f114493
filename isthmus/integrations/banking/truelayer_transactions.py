"""TrueLayer's transactions in our words. The sign tells the direction, whatever the type says."""

from __future__ import annotations

from datetime import datetime

import msgspec

from isthmus.domain.bank_transactions import BankTransaction, BankTransactionStatus, Counterparty
from isthmus.integrations.banking.amounts import exact, number
from isthmus.integrations.banking.categories import of_truelayer
from isthmus.integrations.banking.reading import decoded, iban, identifier, instant, required, written


class _Meta(msgspec.Struct):
    provider_reference: str | None = None
    counter_party_preferred_name: str | None = None
    counter_party_iban: str | None = None


class TrueLayerTransaction(msgspec.Struct):
    transaction_id: str
    timestamp: datetime
    amount: msgspec.Raw
    currency: str | None = None
    description: str | None = None
    normalised_provider_transaction_id: str | None = None
    merchant_name: str | None = None
    transaction_classification: list[str] | None = None
    meta: _Meta | None = None


_DECODER = msgspec.json.Decoder(TrueLayerTransaction)


def decode(raw: bytes | msgspec.Raw) -> TrueLayerTransaction:
    """Raises MalformedTransaction."""
    return decoded(_DECODER, raw, "TrueLayer's")


def canonical(told: TrueLayerTransaction, account: str, asset: str, raw: bytes, *, pending: bool) -> BankTransaction:
    """`pending`: as the place it was asked for says. Raises MalformedTransaction.

    Booked and pending ones may be told under different `transaction_id`s: the normalised one stays, where there is one.
    """
    day, meta = told.timestamp.date(), told.meta or _Meta()
    return BankTransaction(
        account,
        identifier(told.normalised_provider_transaction_id) or required(told.transaction_id),
        exact(number(told.amount), told.currency, asset),
        asset,
        BankTransactionStatus.PENDING if pending else BankTransactionStatus.POSTED,
        booked_on=None if pending else day,
        made_on=day if pending else None,
        description=written(told.description),
        counterparty=Counterparty(
            written(told.merchant_name) or written(meta.counter_party_preferred_name),
            iban(meta.counter_party_iban),
            written(meta.provider_reference),
        ),
        category=of_truelayer(told.transaction_classification or ()),
        at=instant(told.timestamp),
        raw=raw,
    )
