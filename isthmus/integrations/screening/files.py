"""Reads sanctions lists, limits and exemptions: data files with a version, our own unless the settings name others. A file that cannot be
read stops the start: nobody is paid unscreened.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import msgspec

from isthmus.domain.compliance import Limits, LimitTable, SanctionsList
from isthmus.domain.exemptions import ExemptionRules, LowValue
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


class _LowValue(msgspec.Struct, forbid_unknown_fields=True):
    per_payment: Decimal
    in_total: Decimal
    in_a_row: int


class _Exemptions(msgspec.Struct, forbid_unknown_fields=True):
    trusted_beneficiary: bool = False
    own_account: bool = False
    low_value: dict[str, _LowValue] = {}
    transfer_above: dict[str, Decimal] = {}


class _ExemptionFile(msgspec.Struct):
    version: str
    profiles: dict[str, _Exemptions]


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


def exemption_rules(path: Path | None, profile: str) -> ExemptionRules:
    """Raises SettingsError. A profile that is not in the file exempts nothing."""
    read = _read(path, "exemptions.json", _ExemptionFile, "EXEMPTIONS")
    told = read.profiles.get(profile, _Exemptions())
    low = {asset: LowValue(one.per_payment, one.in_total, one.in_a_row) for asset, one in told.low_value.items()}
    return ExemptionRules(read.version, told.trusted_beneficiary, told.own_account, low, told.transfer_above)


def _read(path: Path | None, ours: str, form: type[File], setting: str) -> File:
    try:
        text = path.read_bytes() if path is not None else _LISTS.joinpath(ours).read_bytes()
        return msgspec.json.decode(text, type=form)
    except (OSError, msgspec.MsgspecError) as error:
        raise SettingsError(f"ISTHMUS_COMPLIANCE__{setting}: cannot be used: {error}") from None
