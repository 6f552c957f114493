"""Institutions: one id of ours for each, whichever providers speak for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anyascii import anyascii

_ID = re.compile(r"[a-z0-9-]{1,80}")


@dataclass(frozen=True)
class Institution:
    """`providers`: provider -> its own name for the institution."""

    institution_id: str
    name: str
    countries: tuple[str, ...]
    providers: Mapping[str, str]
    logo_url: str | None = None
    capabilities: tuple[str, ...] = ()


def plain_name(name: str) -> str:
    """How a name is compared: in ASCII letters, lower case, single spaces."""
    return " ".join("".join(one if one.isalnum() else " " for one in anyascii(name).lower()).split())


def institution_id(name: str, country: str) -> str:
    """One and the same for whoever calls it that in that country."""
    return f"{'-'.join(plain_name(name).split())[:70] or 'bank'}-{country.lower()}"


def is_institution_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True)
class Routing:
    """Which provider serves an institution: the one named for it, else the first in the order that speaks for it."""

    order: Sequence[str]
    by_institution: Mapping[str, str]

    def provider_of(self, institution: Institution) -> str | None:
        named = self.by_institution.get(institution.institution_id)
        if named is not None and named in institution.providers and named in self.order:
            return named
        return next((provider for provider in self.order if provider in institution.providers), None)
