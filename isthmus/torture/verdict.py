"""What a judgement consists of: violations by the oracle's row (docs/faults.md), and how much was looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

_SHOWN_MAX = 50


@dataclass(frozen=True)
class Violation:
    """`row` is the oracle's: O1 to O12."""

    row: str
    what: str

    def __str__(self) -> str:
        return f"{self.row} {self.what}"


@dataclass
class Verdict:
    """`lost`: acknowledged and not in the store. `doubled`: done more than once."""

    violations: list[Violation] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    checked: Counter[str] = field(default_factory=Counter)

    @property
    def sound(self) -> bool:
        return not self.violations

    def violated(self, row: str, what: str) -> None:
        self.checked[f"{row} violated"] += 1
        if len(self.violations) < _SHOWN_MAX:
            self.violations.append(Violation(row, what))

    def take(self, violations: Iterable[Violation]) -> None:
        for one in violations:
            self.violated(one.row, one.what)

    def add(self, other: Verdict) -> None:
        self.violations += other.violations[: max(0, _SHOWN_MAX - len(self.violations))]
        self.lost += other.lost
        self.doubled += other.doubled
        self.checked += other.checked

    def rows(self) -> set[str]:
        return {one.row for one in self.violations}
