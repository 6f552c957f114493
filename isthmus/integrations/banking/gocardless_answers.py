"""What GoCardless answers, as far as it is read, and what its refusals mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from isthmus.domain.bank_transactions import MalformedTransaction
from isthmus.domain.banking import AccessEnded, Malformed, ProviderAccount, ProviderRefused
from isthmus.integrations.banking.amounts import exact, text
from isthmus.integrations.banking.gocardless_token import TokenRefused
from isthmus.integrations.banking.json_http import refusal_of

_AMOUNT = re.compile(r"-?[0-9]{1,14}(?:\.[0-9]{1,3})?")
#: Kinds of balances (Berlin Group), the one that says most first.
_BOOKED = ("closingBooked", "interimBooked", "openingBooked", "expected")
_AVAILABLE = ("interimAvailable", "closingAvailable", "forwardAvailable", "expected")
_REVOKED = frozenset(("AccessExpiredError", "AccountInactiveError", "AccountSuspendedError", "AccountAccessForbidden"))


class Agreement(msgspec.Struct):
    id: str
    access_valid_for_days: int
    created: datetime | None = None
    accepted: datetime | None = None


class Requisition(msgspec.Struct):
    id: str
    status: str
    reference: str
    agreement: str
    link: str
    accounts: list[str] = []


class Institution(msgspec.Struct):
    id: str
    name: str
    countries: list[str]
    logo: str = ""
    transaction_total_days: str = "90"

    @property
    def history_days(self) -> int:
        return int(self.transaction_total_days) if self.transaction_total_days.isdecimal() else 90


class Details(msgspec.Struct, rename="camel"):
    currency: str
    iban: str | None = None
    bban: str | None = None
    name: str | None = None
    product: str | None = None
    cash_account_type: str | None = None


class DetailsAnswer(msgspec.Struct):
    account: Details


class _Amount(msgspec.Struct):
    amount: str
    currency: str


class Balance(msgspec.Struct, rename="camel"):
    balance_amount: _Amount
    balance_type: str


class BalancesAnswer(msgspec.Struct):
    balances: list[Balance]


class _Error(msgspec.Struct):
    type: str = ""
    summary: str = ""


def account_of(reference: str, told: Details, balances: Sequence[Balance]) -> ProviderAccount:
    """Raises Malformed."""
    amounts = {one.balance_type: _amount(one, told.currency) for one in balances}
    return ProviderAccount(
        reference,
        told.name or told.product or "",
        told.currency,
        kind="SAVINGS" if told.cash_account_type == "SVGS" else "CURRENT",
        iban=told.iban,
        number=told.bban,
        last_digits=(told.bban or told.iban or "")[-4:] or None,
        available=_first(amounts, _AVAILABLE),
        booked=_first(amounts, _BOOKED),
    )


def _amount(balance: Balance, currency: str) -> Decimal:
    told = balance.balance_amount
    try:
        return exact(text(told.amount, _AMOUNT), told.currency, currency)
    except MalformedTransaction:
        raise Malformed("GoCardless told of a balance that is none of the account's currency") from None


def _first(amounts: Mapping[str, Decimal], kinds: Sequence[str]) -> Decimal | None:
    return next((amounts[kind] for kind in kinds if kind in amounts), None)


def refusal(status: int, body: bytes) -> ProviderRefused:
    """401 is said of our own token as well as of a bank's permission: the type tells which. 403 is about us (an address that is not on
    the list), and never about a person."""
    try:
        error = msgspec.json.decode(body, type=_Error)
    except msgspec.MsgspecError:
        error = _Error()
    if error.type in _REVOKED:
        return AccessEnded(f"the bank wants its customer to sign in again ({error.type})", error.type)
    if error.summary.startswith("End User Agreement (EUA)") and error.summary.endswith("has expired"):
        return AccessEnded("the agreement has expired", "EUA_EXPIRED")
    if status == 401:
        return TokenRefused("GoCardless does not take our token", "401")
    if status == 403:
        return ProviderRefused("GoCardless does not let us in", "403")
    return refusal_of("GoCardless", status, error.type or str(status))
