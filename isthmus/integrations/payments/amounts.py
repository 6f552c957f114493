"""Amounts that providers tell of payments: a JSON number, digit by digit, of a size that can be."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from isthmus.domain.bank_transactions import MalformedTransaction
from isthmus.domain.banking import Malformed
from isthmus.integrations.banking.amounts import number

#: No payment has more digits before its point, and a comparison with what was asked for needs no more behind it.
_DIGITS_MAX, _PLACES_MAX = 18, 30


def told_amount(raw: msgspec.Raw) -> Decimal:
    """Raises Malformed: what is no number, or as long as a book, is neither compared nor kept."""
    try:
        amount = number(raw)
    except MalformedTransaction as fault:
        raise Malformed(str(fault)) from None
    if amount.adjusted() >= _DIGITS_MAX or amount.adjusted() < -_PLACES_MAX:
        raise Malformed("the amount of a payment is none")
    return amount
