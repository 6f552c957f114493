"""What every dialect's mapping needs: JSON of a known form, texts that can be stored and shown, names of accounts, instants."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from isthmus.domain.bank_transactions import MalformedTransaction

_TEXT_MAX = 1_000
_IDENTIFIER_MAX = 256
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
#: They turn the direction of what is written after them, so that a name can look like another.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

Shape = TypeVar("Shape")


def decoded(decoder: msgspec.json.Decoder[Shape], raw: bytes | msgspec.Raw, whose: str) -> Shape:
    """Raises MalformedTransaction, and nothing else. `whose`: as in "OBIE's"."""
    try:
        return decoder.decode(raw)
    except (ValueError, RecursionError):  # msgspec's own are ValueErrors, as is what is no UTF-8
        raise MalformedTransaction(f"what was told is not of {whose} form") from None


def written(told: str | None) -> str | None:
    """What somebody wrote: on one line, without characters that nothing can store, of bounded length. None where nothing is left."""
    if not told:
        return None
    if not told.isprintable():
        told = " ".join("".join(map(_harmless, told)).split())
    return told.strip()[:_TEXT_MAX] or None


def _harmless(character: str) -> str:
    if character in _TURNING:
        return ""
    return " " if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") else character


def identifier(told: str | None) -> str | None:
    """A provider's name for a transaction. None where it gives none. Raises MalformedTransaction."""
    if told is None or not told.strip():
        return None
    if len(told) > _IDENTIFIER_MAX or not told.isprintable():
        raise MalformedTransaction("a transaction's id is none")
    return told


def required(told: str) -> str:
    """An `identifier` that its dialect always gives. Raises MalformedTransaction."""
    found = identifier(told)
    if found is None:
        raise MalformedTransaction("a transaction's id is none")
    return found


def iban(told: str | None) -> str | None:
    """In capitals and without spaces; None where it cannot be one."""
    compact = "".join((told or "").split()).upper()
    return compact if _IBAN.fullmatch(compact) else None


def number_of_account(*parts: str | None) -> str | None:
    """Sort code and number, or what a country has instead, without what separates them."""
    compact = "".join(one for part in parts for one in part or "" if one.isascii() and one.isalnum()).upper()
    return compact[:34] or None


def instant(told: datetime | None) -> datetime | None:
    """In UTC. None where it was told without an offset: then it is a day and a time of day somewhere."""
    if told is None or told.tzinfo is None:
        return None
    try:
        return told.astimezone(UTC)
    except OverflowError:
        raise MalformedTransaction("a transaction's day cannot be one") from None
