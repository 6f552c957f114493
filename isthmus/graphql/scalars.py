"""Custom scalars. Strict on the way in, so that nothing passes through a float and nothing is guessed; canonical on the way out."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NewType

import strawberry
from strawberry.types.scalar import ScalarDefinition

from isthmus.graphql.errors import BadUserInput

AssetCode = NewType("AssetCode", str)
CountryCode = NewType("CountryCode", str)
Position = NewType("Position", int)

DECIMAL_LENGTH_MAX = 100
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_ZERO = re.compile(r"-[0.]+")
_ASSET_CODE = re.compile(r"[A-Z0-9]{2,12}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_COUNTRY = re.compile(r"[A-Z]{2}")
_POSITION = re.compile(r"(?:0|[1-9][0-9]{0,18})")
POSITION_MAX = 2**63 - 1


def parse_decimal(value: Any) -> Decimal:
    if not isinstance(value, str):
        raise BadUserInput("Decimal: give the amount as a string of decimal digits.")
    if len(value) > DECIMAL_LENGTH_MAX or not _DECIMAL.fullmatch(value) or _ZERO.fullmatch(value):
        raise BadUserInput('Decimal: only plain digits with an optional point, as in "12.50".')
    return Decimal(value)


def print_decimal(value: Any) -> str:
    assert isinstance(value, Decimal), "amounts are exact decimals"
    return format(value, "f")


def parse_date_time(value: Any) -> datetime:
    if not isinstance(value, str) or len(value) > 40 or not _DATE_TIME.fullmatch(value):
        raise BadUserInput('DateTime: give an RFC 3339 time with its offset, as in "2026-01-31T12:00:00Z".')
    try:
        # Digits after the microsecond are dropped: the ledger's own stamps have none, so no answer changes.
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadUserInput("DateTime: there is no such time.") from None


def print_date_time(value: Any) -> str:
    assert isinstance(value, datetime)
    assert value.tzinfo is not None, "time is UTC"
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_date(value: Any) -> date:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise BadUserInput('Date: give a day, as in "2026-01-31".')
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise BadUserInput("Date: there is no such day.") from None


def parse_asset_code(value: Any) -> AssetCode:
    if not isinstance(value, str) or not _ASSET_CODE.fullmatch(value):
        raise BadUserInput('AssetCode: give an ISO 4217 code or a crypto symbol, as in "EUR" or "ETH".')
    return AssetCode(value)


def parse_country(value: Any) -> CountryCode:
    if not isinstance(value, str) or not _COUNTRY.fullmatch(value):
        raise BadUserInput('CountryCode: give two capital letters, as in "GB" or "DE".')
    return CountryCode(value)


def parse_position(value: Any) -> Position:
    if not isinstance(value, str) or not _POSITION.fullmatch(value) or int(value) > POSITION_MAX:
        raise BadUserInput("Position: give back the digits that a mutation answered, as a string.")
    return Position(int(value))


SCALARS: dict[object, ScalarDefinition] = {
    Decimal: strawberry.scalar(
        name="Decimal",
        description="An exact decimal number as a JSON string of plain digits, never a float. Printed with the asset's own scale.",
        serialize=print_decimal,
        parse_value=parse_decimal,
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description="A time in RFC 3339 with its offset; always printed in UTC, with microseconds and Z.",
        specified_by_url="https://scalars.graphql.org/andimarek/date-time.html",
        serialize=print_date_time,
        parse_value=parse_date_time,
    ),
    AssetCode: strawberry.scalar(
        name="AssetCode",
        description="An ISO 4217 currency code or a crypto symbol from the `assets` registry.",
        serialize=str,
        parse_value=parse_asset_code,
    ),
    date: strawberry.scalar(
        name="Date",
        description="A day, as in 2026-01-31.",
        specified_by_url="https://scalars.graphql.org/andimarek/local-date.html",
        serialize=date.isoformat,
        parse_value=parse_date,
    ),
    CountryCode: strawberry.scalar(
        name="CountryCode",
        description="A country, as ISO 3166-1 has it in two capital letters.",
        serialize=str,
        parse_value=parse_country,
    ),
    Position: strawberry.scalar(
        name="Position",
        description="A place in the log, as digits in a string: to be passed back, not calculated with.",
        serialize=str,
        parse_value=parse_position,
    ),
}
