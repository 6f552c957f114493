"""What a bank says that lies in an account of ours and moved there, behind one port."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol


@dataclass(frozen=True)
class StatementEntry:
    """`amount`: plus is money in. `entry_id`: the bank's own name for it; `names`: others that it goes by, as that of the payout.
    `pay_in`: money that somebody sent us by themselves, with what they wrote as its `reference`."""

    entry_id: str
    at: datetime
    amount: Decimal
    asset: str
    names: frozenset[str] = frozenset()
    pay_in: bool = False
    reference: str = field(default="", repr=False)


@dataclass(frozen=True)
class Statement:
    """`balance`: what lies there at this moment, by the bank's word; None where it does not say."""

    entries: tuple[StatementEntry, ...]
    balance: Decimal | None = None


class Statements(Protocol):
    """Every call has a deadline and raises banking.ProviderFault only. `assets`: what we have an account for there."""

    name: str

    @property
    def assets(self) -> frozenset[str]: ...

    async def entries(self, asset: str, since: datetime, until: datetime) -> Statement:
        """All of it that is booked from `since` on and before `until`."""
        ...
