"""Exemptions from strong customer authentication (RTS 2018/389): when nobody is asked, by which rule and which version of the rules.

Whoever holds the account may leave the question out, and never must. Rules are data by jurisdiction; what is not in them is asked for. Of
Art. 16 the law wants one of two counters; here both hold, over everything that was not asked for since the person last proved who they
are: also what was cancelled later, and what another rule exempted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from isthmus.domain.money import add

TRUSTED_BENEFICIARY, OWN_ACCOUNT, LOW_VALUE = "trusted-beneficiary", "own-account", "low-value"


@dataclass(frozen=True)
class LowValue:
    """In one asset: `per_payment` at most, `in_total` with what went before. `in_a_row` counts over all assets."""

    per_payment: Decimal
    in_total: Decimal
    in_a_row: int


@dataclass(frozen=True)
class ExemptionRules:
    """Of one jurisdiction's profile. Low value: an asset without a row is not exempted. `transfer_above`: most that one transfer here moves
    to another person unasked, by asset; it is not counted, so that Art. 16 is no reason to have any."""

    version: str
    trusted_beneficiary: bool = False
    own_account: bool = False
    low_value: Mapping[str, LowValue] = field(default_factory=dict)
    transfer_above: Mapping[str, Decimal] = field(default_factory=dict)


#: Everything is asked for.
NO_EXEMPTIONS = ExemptionRules("none")


@dataclass(frozen=True)
class Standing:
    """What the payee is to the payer. `trusted`: put on their list of trusted payees, which was itself authorised (Art. 13).
    `own`: the payer's own account, at the same institution as the one that is paid from (Art. 15): that is here, and is not wished but
    read, where it is decided (`own_accounts.py`)."""

    trusted: bool = False
    own: bool = False


NOBODY_KNOWN = Standing()


@dataclass(frozen=True)
class Unproven:
    """What a person paid without being asked since they were last: how often, and how much of the asset in question."""

    in_a_row: int = 0
    in_total: Decimal = Decimal(0)


@dataclass(frozen=True)
class Exempt:
    """`rule`: its id; `version`: of the rules that it is one of."""

    rule: str
    version: str


def exempt(rules: ExemptionRules, standing: Standing, asset: str, amount: Decimal, before: Unproven) -> Exempt | None:
    """None: the person is to be asked."""
    if rules.own_account and standing.own:
        return Exempt(OWN_ACCOUNT, rules.version)
    if rules.trusted_beneficiary and standing.trusted:
        return Exempt(TRUSTED_BENEFICIARY, rules.version)
    low = rules.low_value.get(asset)
    if low is not None and _is_low(low, amount, before):
        return Exempt(LOW_VALUE, rules.version)
    return None


def _is_low(low: LowValue, amount: Decimal, before: Unproven) -> bool:
    fits = amount <= low.per_payment and add(before.in_total, amount) <= low.in_total
    return fits and before.in_a_row < low.in_a_row
