"""Money: an exact amount of one asset. Never a float, never rounded silently; the asset's own scale decides what is legal."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from enum import StrEnum

#: NUMERIC(78,18) at rest: sixty digits before the point.
DIGITS_MAX = 78
SCALE_MAX = 18
_EXACT = Context(prec=200)
_ONE = Decimal(1)


class AssetKind(StrEnum):
    FIAT = "FIAT"
    CRYPTO = "CRYPTO"


@dataclass(frozen=True)
class Asset:
    """What may be held: `scale` is the number of decimal places that an amount of it may have and always prints."""

    code: str
    kind: AssetKind
    name: str
    scale: int


@dataclass(frozen=True)
class Money:
    amount: Decimal
    asset: str


class AmountFault(StrEnum):
    NOT_POSITIVE = "NOT_POSITIVE"
    TOO_MANY_DECIMALS = "TOO_MANY_DECIMALS"
    TOO_LARGE = "TOO_LARGE"


def amount_fault(amount: Decimal, asset: Asset) -> AmountFault | None:
    """What is wrong with an amount that someone asks to move, if anything."""
    if not amount.is_finite() or amount <= 0:
        return AmountFault.NOT_POSITIVE
    if amount.adjusted() >= DIGITS_MAX - SCALE_MAX:
        return AmountFault.TOO_LARGE
    exponent = plain(amount).as_tuple().exponent
    assert isinstance(exponent, int)
    if -exponent > asset.scale:
        return AmountFault.TOO_MANY_DECIMALS
    return None


def plain(amount: Decimal) -> Decimal:
    """The same value with no trailing zeros and no exponent: one value, one text."""
    amount = amount.normalize(_EXACT)
    return amount.quantize(_ONE, context=_EXACT) if amount == amount.to_integral_value() else amount


def text_of(amount: Decimal) -> str:
    """How an amount is written into events and SQL: plain digits, never an exponent."""
    if not amount:
        return "0"  # whatever its sign and places
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def printed(amount: Decimal, scale: int) -> str:
    """How an amount prints: always the asset's own number of places ("87.60" for EUR)."""
    return format(amount.quantize(_ONE.scaleb(-scale), context=_EXACT), "f")


def add(left: Decimal, right: Decimal) -> Decimal:
    return _EXACT.add(left, right)


def subtract(left: Decimal, right: Decimal) -> Decimal:
    return _EXACT.subtract(left, right)
