"""How long a consent lasts, how it is prolonged and how often a bank may be asked without its customer: data, per provider and law.

Sources: Regulation (EU) 2022/2360, 180 days from 2023-07-25; the FCA's SCA-RTS Art. 10A, reconfirmation every 90 days without the bank;
GoCardless' end-user agreements, 90 days; RTS 2018/389 Art. 36(5)(b), four times a day without the customer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

#: From here on a person is told that their consent comes to its end.
WARN_BEFORE = timedelta(days=7)


class Jurisdiction(StrEnum):
    EU = "EU"
    UK = "UK"
    US = "US"
    OTHER = "OTHER"


class Renewal(StrEnum):
    """SIGN_IN: at the bank, again. CONFIRM: with us is enough, the bank is not asked."""

    SIGN_IN = "SIGN_IN"
    CONFIRM = "CONFIRM"


@dataclass(frozen=True)
class ConsentPolicy:
    """`lasts` None: until somebody takes it back. `unattended_a_day`: per account; None where no law says."""

    lasts: timedelta | None
    renewal: Renewal
    unattended_a_day: int | None

    def ends_at(self, granted_at: datetime, provider_says: datetime | None) -> datetime | None:
        """The earlier of what the law and the provider give."""
        ends = [end for end in (provider_says, granted_at + self.lasts if self.lasts else None) if end is not None]
        return min(ends, default=None)


_EEA = frozenset(
    (
        "AT",
        "BE",
        "BG",
        "HR",
        "CY",
        "CZ",
        "DK",
        "EE",
        "FI",
        "FR",
        "DE",
        "GR",
        "HU",
        "IS",
        "IE",
        "IT",
        "LV",
        "LI",
        "LT",
        "LU",
        "MT",
        "NL",
        "NO",
        "PL",
        "PT",
        "RO",
        "SK",
        "SI",
        "ES",
        "SE",
    )
)

#: The strictest that is known stands for what is not.
_BY_JURISDICTION = {
    Jurisdiction.EU: ConsentPolicy(timedelta(days=180), Renewal.SIGN_IN, 4),
    Jurisdiction.UK: ConsentPolicy(timedelta(days=90), Renewal.CONFIRM, 4),
    Jurisdiction.US: ConsentPolicy(None, Renewal.SIGN_IN, None),
    Jurisdiction.OTHER: ConsentPolicy(timedelta(days=90), Renewal.SIGN_IN, 4),
}
_BY_PROVIDER = {
    ("gocardless", jurisdiction): ConsentPolicy(timedelta(days=90), Renewal.SIGN_IN, 4) for jurisdiction in Jurisdiction
}


def jurisdiction_of(country: str) -> Jurisdiction:
    """`country`: ISO 3166, two letters."""
    if country in _EEA:
        return Jurisdiction.EU
    return {"GB": Jurisdiction.UK, "US": Jurisdiction.US}.get(country, Jurisdiction.OTHER)


def policy_of(provider: str, jurisdiction: Jurisdiction) -> ConsentPolicy:
    return _BY_PROVIDER.get((provider, jurisdiction), _BY_JURISDICTION[jurisdiction])
