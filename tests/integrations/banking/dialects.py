"""Each dialect as a row: how its answers are read, how one transaction is, and how an amount is written in it.

`golden/` holds the same movements as each dialect tells them, and what they are to us; `malformed/` what nobody may take.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from isthmus.domain.bank_transactions import BankTransaction
from isthmus.integrations.banking import (
    berlin_group,
    fdx,
    gocardless_transactions,
    obie,
    plaid_transactions,
    truelayer_transactions,
    yapily_transactions,
)

HERE = Path(__file__).parent
ACCOUNT = "acc"
ASSETS = {"acc-gbp": "GBP", "acc-eur": "EUR", "acc-jpy": "JPY", "acc-kwd": "KWD"}

Raw = msgspec.Raw


@dataclass(frozen=True)
class Dialect:
    """`file`: all movements of its golden file. `one`: a transaction of an account in that currency. `written`: a whole transaction
    of that amount, as short as can be."""

    name: str
    file: Callable[[bytes], list[BankTransaction]]
    one: Callable[[bytes, str], BankTransaction]
    written: Callable[[Decimal, str], bytes]

    def golden(self) -> list[BankTransaction]:
        return self.file((HERE / "golden" / f"{self.name}.json").read_bytes())


def _documents(read: Callable[[Raw, str, str], list[BankTransaction]]) -> Callable[[bytes], list[BankTransaction]]:
    """A golden file that has a whole answer for each account."""

    def file(body: bytes) -> list[BankTransaction]:
        documents = msgspec.json.decode(body, type=dict[str, Raw])
        return [one for account, told in documents.items() for one in read(told, account, ASSETS[account])]

    return file


# -- how the answers of those are read that have an adapter: as the adapter does ----------------------------------------------------


class _Sync(msgspec.Struct):
    added: list[Raw]


class _Results(msgspec.Struct):
    results: list[Raw]


class _Both(msgspec.Struct):
    booked: _Results
    pending: _Results


class _Data(msgspec.Struct):
    data: list[Raw]


def _plaid(raw: bytes | Raw, assets: Mapping[str, str | None]) -> BankTransaction:
    return plaid_transactions.canonical(plaid_transactions.decode(raw), assets, bytes(raw))


def _plaid_file(body: bytes) -> list[BankTransaction]:
    return [_plaid(raw, ASSETS) for raw in msgspec.json.decode(body, type=_Sync).added]


def _truelayer(raw: bytes | Raw, account: str, asset: str, *, pending: bool = False) -> BankTransaction:
    told = truelayer_transactions.decode(raw)
    return truelayer_transactions.canonical(told, account, asset, bytes(raw), pending=pending)


def _truelayer_both(body: Raw, account: str, asset: str) -> list[BankTransaction]:
    both = msgspec.json.decode(body, type=_Both)
    booked = [_truelayer(raw, account, asset) for raw in both.booked.results]
    return [*booked, *(_truelayer(raw, account, asset, pending=True) for raw in both.pending.results)]


def _yapily(raw: bytes | Raw, account: str, asset: str) -> BankTransaction:
    return yapily_transactions.canonical(yapily_transactions.decode(raw), account, asset, bytes(raw))


def _yapily_data(body: Raw, account: str, asset: str) -> list[BankTransaction]:
    return [_yapily(raw, account, asset) for raw in msgspec.json.decode(body, type=_Data).data]


# -- one transaction ------------------------------------------------------------------------------------------------------------


def _obie(raw: bytes, asset: str) -> BankTransaction:
    return obie.canonical(obie.decode(raw), ACCOUNT, asset, raw)


def _fdx(raw: bytes, asset: str) -> BankTransaction:
    return fdx.canonical(fdx.decode(raw), ACCOUNT, asset, raw)


def _berlin_group(raw: bytes, asset: str) -> BankTransaction:
    return berlin_group.canonical(berlin_group.decode(raw), ACCOUNT, asset, raw, pending=False)


def _gocardless(raw: bytes, asset: str) -> BankTransaction:
    return gocardless_transactions.canonical(gocardless_transactions.decode(raw), ACCOUNT, asset, raw, pending=False)


# -- an amount, written ----------------------------------------------------------------------------------------------------------


def _json(**fields: object) -> bytes:
    """Decimals become JSON numbers with all of their digits."""
    return msgspec.json.Encoder(decimal_format="number").encode(fields)


def _write_plaid(amount: Decimal, asset: str) -> bytes:
    return _json(
        transaction_id="t",
        account_id=ACCOUNT,
        amount=-amount,
        iso_currency_code=asset,
        date="2026-11-20",
        pending=False,
    )


def _write_truelayer(amount: Decimal, asset: str) -> bytes:
    return _json(transaction_id="t", timestamp="2026-11-20T10:00:00Z", amount=amount, currency=asset)


def _write_yapily(amount: Decimal, asset: str) -> bytes:
    return _json(id="t", date="2026-11-20T10:00:00Z", status="BOOKED", amount=amount, currency=asset)


def _write_obie(amount: Decimal, asset: str) -> bytes:
    return _json(
        TransactionId="t",
        Amount={"Amount": format(abs(amount), "f"), "Currency": asset},
        CreditDebitIndicator="Debit" if amount < 0 else "Credit",
        Status="Booked",
        BookingDateTime="2026-11-20T10:00:00Z",
    )


def _write_berlin_group(amount: Decimal, asset: str) -> bytes:
    told = {"currency": asset, "amount": format(amount, "f")}
    return _json(transactionId="t", bookingDate="2026-11-20", transactionAmount=told)


def _write_fdx(amount: Decimal, _: str) -> bytes:
    memo = "DEBIT" if amount < 0 else "CREDIT"
    at = "2026-11-20T10:00:00Z"
    return _json(transactionId="t", postedTimestamp=at, debitCreditMemo=memo, status="POSTED", amount=abs(amount))


DIALECTS = {
    one.name: one
    for one in (
        Dialect("plaid", _plaid_file, lambda raw, asset: _plaid(raw, {ACCOUNT: asset}), _write_plaid),
        Dialect(
            "truelayer",
            _documents(_truelayer_both),
            lambda raw, asset: _truelayer(raw, ACCOUNT, asset),
            _write_truelayer,
        ),
        Dialect("yapily", _documents(_yapily_data), lambda raw, asset: _yapily(raw, ACCOUNT, asset), _write_yapily),
        Dialect("obie", _documents(obie.read), _obie, _write_obie),
        Dialect("berlin_group", _documents(berlin_group.read), _berlin_group, _write_berlin_group),
        Dialect("gocardless", _documents(gocardless_transactions.read), _gocardless, _write_berlin_group),
        Dialect("fdx", _documents(fdx.read), _fdx, _write_fdx),
    )
}


def canonical() -> dict[str, dict[str, Any]]:
    """What the movements are to us, by reference."""
    rows = json.loads((HERE / "golden" / "canonical.json").read_text(encoding="utf-8"))
    return {row["reference"]: row for row in rows}


def untold() -> dict[str, list[dict[str, str]]]:
    """What each dialect has no place for, and of which movements."""
    told: dict[str, list[dict[str, str]]] = json.loads((HERE / "golden" / "untold.json").read_text(encoding="utf-8"))
    return told


def malformed(name: str) -> list[dict[str, str]]:
    told: list[dict[str, str]] = json.loads((HERE / "malformed" / f"{name}.json").read_text(encoding="utf-8"))
    return told
