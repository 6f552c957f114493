"""Compliance: what every movement of money out of the platform passes before it is authorised, whatever rail it takes.

One port, `Compliance.decide`. The rules are functions over data: lists and limits have versions, and every decision is recorded with the
rule's id and the version that it was made by. Whoever is refused learns that it cannot be made, in the same words whatever the rule:
what is screened for is told to nobody (no tipping off). Limits are the exception, since a person may know their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from isthmus.domain.money import Money, add
from isthmus.domain.names import Likeness, hides, likeness, readings, runs
from isthmus.domain.refusals import LimitExceeded

#: The code of a payment that was refused here.
REFUSED = "COMPLIANCE"
_AMOUNT = ("input", "amount")
#: Of what is decided by no list.
NO_LIST = "none"


class Movement(StrEnum):
    PAYMENT = "PAYMENT"


class Ruling(StrEnum):
    ALLOW = "ALLOW"
    REFUSE = "REFUSE"
    REVIEW = "REVIEW"


@dataclass(frozen=True)
class Intent:
    """What is about to be done. `names`: of everyone who would receive."""

    movement: Movement
    subject_id: UUID
    owner: UUID
    asset: str
    amount: Decimal
    names: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class Verdict:
    """`rule`: the id of the rule that decided; `list_version`: of the data that it decided by."""

    ruling: Ruling
    rule: str
    list_version: str


class Compliance(Protocol):
    async def decide(self, intent: Intent) -> Verdict: ...

    def limits(self, asset: str) -> Limits:
        """What one person may pay in that asset."""
        ...


# -- sanctioned names ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SanctionsList:
    """`names`: the words of each name that is listed, aliases too. As published, with its version and the day that it was as of."""

    version: str
    as_of: date
    names: frozenset[tuple[str, ...]]


def sanctions(listed: SanctionsList, intent: Intent) -> Verdict:
    """A listed name is refused, one that is close to it is for a person to judge."""
    found = [reading for name in intent.names for reading in readings(name)]
    if any(reading in listed.names for reading in found):
        return Verdict(Ruling.REFUSE, "sanctions-name-exact", listed.version)
    # Every listed name is looked at: a list of tens of thousands wants an index of letters.
    if any(likeness(reading, name) is Likeness.CLOSE for reading in found for name in listed.names):
        return Verdict(Ruling.REVIEW, "sanctions-name-close", listed.version)
    hidden = [run for name in intent.names for run in runs(name)]
    if any(hides(run, name) for run in hidden for name in listed.names):
        return Verdict(Ruling.REVIEW, "sanctions-name-close", listed.version)
    return Verdict(Ruling.ALLOW, "sanctions-name-clear", listed.version)


# -- frozen accounts -------------------------------------------------------------------------------------------------------


def frozen_account(frozen: bool) -> Verdict:
    """One that was frozen after the money was reserved: nothing leaves it without an operator. (Before, the ledger reserves nothing.)"""
    return Verdict(Ruling.REVIEW if frozen else Ruling.ALLOW, "account-frozen", NO_LIST)


# -- limits ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """Of one person, in one asset. A day is one of UTC."""

    per_payment: Decimal
    per_day: Decimal


@dataclass(frozen=True)
class LimitTable:
    """Of one jurisdiction's profile. What has no row cannot be paid with."""

    version: str
    by_asset: Mapping[str, Limits]

    def of(self, asset: str) -> Limits:
        return self.by_asset.get(asset, Limits(Decimal(0), Decimal(0)))


def day_began(now: datetime) -> datetime:
    return datetime.combine(now.astimezone(UTC).date(), time(0), UTC)


def limit_fault(limits: Limits, asset: str, amount: Decimal, used: Decimal, now: datetime) -> LimitExceeded | None:
    """`used`: what the person paid today already, and what waits for them to answer for it."""
    if amount > limits.per_payment:
        most = Money(limits.per_payment, asset)
        return LimitExceeded("That is more than one payment may be.", _AMOUNT, most, Money(Decimal(0), asset))
    if add(used, amount) > limits.per_day:
        return LimitExceeded(
            "That is more than may be paid in a day.",
            _AMOUNT,
            Money(limits.per_day, asset),
            Money(used, asset),
            day_began(now) + timedelta(days=1),
        )
    return None
