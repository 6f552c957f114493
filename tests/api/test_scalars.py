"""Scalars: what is refused, and what is kept exactly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from isthmus.domain.identifiers import NOWHERE
from isthmus.graphql.connections import cursor_of, page_size, position_of
from isthmus.graphql.errors import BadUserInput
from isthmus.graphql.ids import Kind, account_key, decode, encode
from isthmus.graphql.scalars import (
    parse_asset_code,
    parse_date_time,
    parse_decimal,
    parse_position,
    print_date_time,
    print_decimal,
)


@pytest.mark.parametrize("text", ["0", "1", "-1", "0.1", "12.50", "9" * 60, "0." + "0" * 17 + "1", "-0.01"])
def test_a_plain_decimal_is_kept_exactly(text: str) -> None:
    assert print_decimal(parse_decimal(text)) == text


@pytest.mark.parametrize(
    "value",
    [
        1, 1.5, True, None, [], {}, "", " 1", "1 ", "1\n", "+1", "-0", "-0.0", "-0.00", ".5", "5.", "01", "00", "1e3", "1E3",
        "1_000", "1,000", "0x1", "NaN", "sNaN", "Infinity", "-Infinity", "１２", "١٢", "1" * 101, "--1", "1.2.3", "\x00", "1\x00",
    ],
)  # fmt: skip
def test_anything_else_is_no_decimal(value: Any) -> None:
    with pytest.raises(BadUserInput):
        parse_decimal(value)


def test_a_decimal_never_prints_an_exponent() -> None:
    assert print_decimal(Decimal("1E+3")) == "1000"
    assert print_decimal(Decimal("1E-18")) == "0.000000000000000001"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31t12:00:00z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00.000001Z", datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC)),
        ("2026-01-31T12:00:00.000001999Z", datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC)),
        ("2026-01-31T14:30:00+02:30", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00-00:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_a_time_with_its_offset_is_an_instant(text: str, instant: datetime) -> None:
    assert parse_date_time(text) == instant


@pytest.mark.parametrize(
    "value",
    [
        1, None, "", "2026-01-31", "2026-01-31T12:00:00", "2026-01-31 12:00:00Z", "2026-02-30T12:00:00Z", "2026-01-31T25:00:00Z",
        "2026-01-31T12:00:60Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-31T12:00Z", "２０２６-01-31T12:00:00Z",
        "2026-01-31T12:00:00.Z", "2026-01-31T12:00:00Z\n",
    ],
)  # fmt: skip
def test_anything_else_is_no_time(value: Any) -> None:
    with pytest.raises(BadUserInput):
        parse_date_time(value)


def test_times_print_in_utc_with_microseconds() -> None:
    noon_in_paris = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))

    assert print_date_time(noon_in_paris) == "2026-07-01T10:00:00.000000Z"


@pytest.mark.parametrize("value", ["eur", "E", "EUR ", "EURO€", "A" * 13, 1, None, "ＥＵＲ"])
def test_what_is_no_asset_code(value: Any) -> None:
    with pytest.raises(BadUserInput):
        parse_asset_code(value)


@pytest.mark.parametrize("value", [1, None, "", "-1", "+1", "01", "1.0", "9" * 19, "٣"])
def test_what_is_no_position(value: Any) -> None:
    with pytest.raises(BadUserInput):
        parse_position(value)


def test_an_id_has_one_spelling() -> None:
    account = uuid4()
    text = encode(Kind.ACCOUNT, account)

    assert decode(text) == (Kind.ACCOUNT, (account,))
    assert account_key(text) == account
    for other in (text + "=", text + "A", text[:-1], " " + text, text + "\n", text.swapcase(), str(account), "é"):
        assert account_key(other) in (NOWHERE, UUID(bytes=b"\x00" * 16)) or account_key(other) != account


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.ACCOUNT])
def test_another_types_id_with_the_same_key_is_no_account(kind: Kind) -> None:
    parts = (uuid4(), uuid4()) if kind is Kind.TRANSACTION else (uuid4(),)

    assert account_key(encode(kind, *parts)) == NOWHERE


@pytest.mark.parametrize("first", [0, -1, 201, 2**31 - 1])
def test_a_page_out_of_range_names_the_cap(first: int) -> None:
    with pytest.raises(BadUserInput, match="200"):
        page_size(first)


def test_a_cursor_is_of_one_list_and_has_one_spelling() -> None:
    cursor = cursor_of("account", 7)

    assert position_of("account", cursor) == 7
    for other in ("", "x", cursor + "=", cursor_of("audit", 7), "é", cursor_of("account", 10**18), "A" * 100):
        with pytest.raises(BadUserInput):
            position_of("account", other)
