"""Amounts are exact, and the asset's scale decides what is legal and how it prints."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.domain.money import AmountFault, Asset, AssetKind, add, amount_fault, printed, subtract, text_of

EUR = Asset("EUR", AssetKind.FIAT, "Euro", 2)
ETH = Asset("ETH", AssetKind.CRYPTO, "Ether", 18)
JPY = Asset("JPY", AssetKind.FIAT, "Yen", 0)

amounts = st.decimals(min_value=0, max_value=Decimal(10) ** 59, places=18, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("amount", "asset", "fault"),
    [
        ("0.01", EUR, None),
        ("0.010", EUR, None),  # the same value as 0.01
        ("1E+2", JPY, None),
        ("0.000000000000000001", ETH, None),
        ("0.001", EUR, AmountFault.TOO_MANY_DECIMALS),
        ("0.5", JPY, AmountFault.TOO_MANY_DECIMALS),
        ("0", EUR, AmountFault.NOT_POSITIVE),
        ("-1", EUR, AmountFault.NOT_POSITIVE),
        ("NaN", EUR, AmountFault.NOT_POSITIVE),
        ("Infinity", EUR, AmountFault.NOT_POSITIVE),
        ("1E+59", ETH, None),
        ("1E+60", ETH, AmountFault.TOO_LARGE),
    ],
)
def test_what_may_be_moved(amount: str, asset: Asset, fault: AmountFault | None) -> None:
    assert amount_fault(Decimal(amount), asset) is fault


@pytest.mark.parametrize(
    ("amount", "scale", "text"),
    [("87.6", 2, "87.60"), ("-0.5", 2, "-0.50"), ("1", 0, "1"), ("2.5E-17", 18, "0.000000000000000025")],
)
def test_amounts_print_with_the_assets_own_places(amount: str, scale: int, text: str) -> None:
    assert printed(Decimal(amount), scale) == text


@given(amounts, amounts)
def test_arithmetic_loses_nothing_at_full_length(left: Decimal, right: Decimal) -> None:
    assert subtract(add(left, right), right) == left


@given(amounts)
def test_text_is_exact_and_has_no_exponent(amount: Decimal) -> None:
    assert Decimal(text_of(amount)) == amount
    assert "E" not in text_of(amount)
