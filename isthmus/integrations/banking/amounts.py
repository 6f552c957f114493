"""Amounts as banks write them: exact, with as many places as their currency has, and of a size that can be."""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact, InvalidOperation

import msgspec

from isthmus.domain.bank_transactions import MalformedTransaction

#: No bank's account holds more, and a ledger's NUMERIC holds it ten times over.
_DIGITS_BEFORE_POINT_MAX = 18
_LENGTH_MAX = 100
#: A number in JSON. A number as text is none, whatever reads it: `Decimal` takes "1_000", " 12 " and "NaN".
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,9})?")
#: Currencies of ISO 4217 that do not have two places.
_NONE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_PLACES = {**dict.fromkeys(_NONE.split(), 0), **dict.fromkeys(_THREE.split(), 3)}
_UNITS = {places: Decimal(1).scaleb(-places) for places in (0, 2, 3)}
_EXACTLY = Context(prec=40, traps=[Inexact, InvalidOperation])
_TOO_LARGE = "an amount is too large to be one"
_CURRENCY = re.compile(r"[A-Z]{3}")


def places_of(currency: str) -> int:
    return _PLACES.get(currency, 2)


def number(raw: msgspec.Raw) -> Decimal:
    """A JSON number, digit by digit. Raises MalformedTransaction."""
    told = bytes(raw)
    if len(told) > _LENGTH_MAX:
        raise MalformedTransaction(_TOO_LARGE)
    if _NUMBER.fullmatch(told) is None:
        raise MalformedTransaction("an amount is no number")
    return Decimal(told.decode())


def text(told: str, form: re.Pattern[str]) -> Decimal:
    """An amount that its standard writes as text, in the form that the standard gives it. Raises MalformedTransaction."""
    if form.fullmatch(told) is None:
        raise MalformedTransaction("an amount is no number")
    return Decimal(told)


def exact(amount: Decimal, currency: str | None, expected: str | None = None) -> Decimal:
    """The amount with just the places of its currency. `expected`: the account's currency. Raises MalformedTransaction."""
    if not currency or _CURRENCY.fullmatch(currency) is None:
        raise MalformedTransaction("a transaction has no currency")
    if expected is not None and currency != expected:
        raise MalformedTransaction("a transaction is in another currency than its account")
    if not amount:
        amount = Decimal(0)  # whatever its sign and exponent
    if not amount.is_finite() or amount.adjusted() >= _DIGITS_BEFORE_POINT_MAX:
        raise MalformedTransaction(_TOO_LARGE)
    try:
        return amount.quantize(_UNITS[places_of(currency)], context=_EXACTLY)
    except (Inexact, InvalidOperation):
        raise MalformedTransaction("an amount has more places than its currency") from None


def signed(amount: Decimal, *, out: bool) -> Decimal:
    """An amount that has no sign of its own. Raises MalformedTransaction where it has one: two things would tell the direction."""
    if amount < 0:
        raise MalformedTransaction("an amount has a sign where none belongs")
    return -amount if out else amount
