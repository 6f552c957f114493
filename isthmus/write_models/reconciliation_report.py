"""What a comparison of our book with a bank's found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from isthmus.domain.money import add, text_of
from isthmus.domain.reconciliation import Class, Pair, Sums


@dataclass(frozen=True)
class Report:
    """Of one account at a bank and one day. `pairs`: what differs. `opening`, `closing`: what our book says lay there. `balance`: what the
    bank says lies there now."""

    provider: str
    asset: str
    since: datetime
    until: datetime
    sums: Mapping[Class, Sums]
    differences: tuple[Pair, ...]
    opening: Decimal
    closing: Decimal
    balance: Decimal | None
    opened: int
    resolved: int

    @property
    def booked(self) -> Decimal:
        """What our book moved there in that time, by the sums of the classes."""
        moved = Decimal(0)
        for one in self.sums.values():
            moved = add(moved, one.ours)
        return moved

    @property
    def sound(self) -> bool:
        return not self.differences and add(self.opening, self.booked) == self.closing


def told_sums(sums: Mapping[Class, Sums]) -> dict[str, dict[str, object]]:
    """As JSON has it: amounts are texts."""
    return {
        found.value: {
            "ours": {"entries": one.ours_count, "amount": text_of(one.ours)},
            "theirs": {"entries": one.theirs_count, "amount": text_of(one.theirs)},
        }
        for found, one in sums.items()
    }
