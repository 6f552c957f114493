"""Reads sanctions lists and limits: data files with a version, our own unless the settings name others. A file that cannot be read
stops the start: nobody is paid unscreened.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import msgspec

from isthmus.domain.compliance import Limits, LimitTable, SanctionsList
from isthmus.domain.names import words
from isthmus.settings import SettingsError

_LISTS = files("isthmus.integrations.screening").joinpath("lists")
File = TypeVar("File")


class _Entry(msgspec.Struct):
    id: str
    name: str
    aliases: list[str] = []


class _Sanctions(msgspec.Struct):
    version: str
    as_of: date
    entries: list[_Entry]


class _Limits(msgspec.Struct):
    per_payment: Decimal
    per_day: Decimal


class _LimitFile(msgspec.Struct):
    version: str
    profiles: dict[str, dict[str, _Limits]]


def sanctions_list(path: Path | None) -> SanctionsList:
    """Raises SettingsError."""
    read = _read(path, "sanctions.json", _Sanctions, "SANCTIONS_LIST")
    names = frozenset(words(name) for entry in read.entries for name in (entry.name, *entry.aliases))
    return SanctionsList(read.version, read.as_of, names - {()})


def limit_table(path: Path | None, profile: str) -> LimitTable:
    """Raises SettingsError."""
    read = _read(path, "limits.json", _LimitFile, "LIMITS")
    if profile not in read.profiles:
        raise SettingsError(
            f"ISTHMUS_COMPLIANCE__PROFILE: there are limits for {', '.join(sorted(read.profiles))} only"
        )
    told = read.profiles[profile]
    return LimitTable(read.version, {asset: Limits(one.per_payment, one.per_day) for asset, one in told.items()})


def _read(path: Path | None, ours: str, form: type[File], setting: str) -> File:
    try:
        text = path.read_bytes() if path is not None else _LISTS.joinpath(ours).read_bytes()
        return msgspec.json.decode(text, type=form)
    except (OSError, msgspec.MsgspecError) as error:
        raise SettingsError(f"ISTHMUS_COMPLIANCE__{setting}: cannot be used: {error}") from None
