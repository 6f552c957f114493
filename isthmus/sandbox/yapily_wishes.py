"""What a payment at Yapily may be, and the transfer that it asks a bank for."""

from __future__ import annotations

import re
from typing import Any

from isthmus.sandbox.seeding import Bank
from isthmus.sandbox.transfers import Transfer, is_iban, minor_of
from isthmus.sandbox.yapily_wire import Body, Refusal

TYPES = ("DOMESTIC_PAYMENT", "DOMESTIC_INSTANT_PAYMENT")
#: Banks of other currencies do not do payments here.
CURRENCIES = frozenset({"GBP", "EUR"})
PAYMENT_FEATURES = (
    "INITIATE_DOMESTIC_SINGLE_PAYMENT",
    "CREATE_DOMESTIC_SINGLE_PAYMENT",
    "EXISTING_PAYMENTS_DETAILS",
)
IDEMPOTENCY_ID_MAX = 35


def check(wish: Any, bank: Bank) -> Body:
    """The wish itself. Raises Refusal with the first thing that is wrong."""
    if bank.currency not in CURRENCIES:
        raise _wrong(f"The institution does not have the feature {PAYMENT_FEATURES[0]}.")
    if not isinstance(wish, dict):
        raise _wrong("paymentRequest is missing.")
    if not isinstance(wish.get("paymentIdempotencyId"), str) or not wish["paymentIdempotencyId"]:
        raise _wrong("paymentIdempotencyId is missing.")
    if len(wish["paymentIdempotencyId"]) > IDEMPOTENCY_ID_MAX:
        raise _wrong(f"paymentIdempotencyId must be at most {IDEMPOTENCY_ID_MAX} characters.")
    if wish.get("type") not in TYPES:
        raise _wrong("There is no such type of payment.")
    amount = _object(wish.get("amount"))
    if amount.get("currency") != bank.currency:
        raise _wrong("The institution does not do payments in this currency.")
    if minor_of(amount.get("amount")) is None:
        raise _wrong("amount must be a number above 0 with two places at most.")
    payee = _object(wish.get("payee"))
    if not isinstance(payee.get("name"), str) or not payee["name"].strip():
        raise _wrong("payee.name is missing.")
    if account_of(payee) is None:
        raise _wrong("payee.accountIdentifications names no account.")
    if wish.get("payer") is not None and account_of(_object(wish["payer"])) is None:
        raise _wrong("payer.accountIdentifications names no account.")
    return wish


def transfer(payment_id: str, wish: Body) -> Transfer:
    minor, to = minor_of(wish["amount"]["amount"]), account_of(wish["payee"])
    assert minor is not None and to is not None, "it was checked"  # noqa: PT018 - one check, for the types
    payee, currency = wish["payee"]["name"], wish["amount"]["currency"]
    return Transfer(payment_id.replace("-", ""), minor, currency, payee, to, wish.get("reference") or "")


def account_of(party: Body) -> str | None:
    """An IBAN, or sort code and number as one text."""
    some = party.get("accountIdentifications")
    ids = (
        {str(each.get("type")): str(each.get("identification")) for each in some if isinstance(each, dict)}
        if (isinstance(some, list))
        else {}
    )
    if is_iban(ids.get("IBAN")):
        return ids["IBAN"]
    code, number = ids.get("SORT_CODE", ""), ids.get("ACCOUNT_NUMBER", "")
    return f"{code}{number}" if re.fullmatch(r"\d{6}", code) and re.fullmatch(r"\d{8}", number) else None


def _object(value: object) -> Body:
    return value if isinstance(value, dict) else {}


def _wrong(sentence: str) -> Refusal:
    return Refusal(400, "BAD_REQUEST", sentence)
