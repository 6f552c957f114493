"""What a bench hands back: figures with units, ratios of one run, and what its verification found."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil


@dataclass(frozen=True)
class Options:
    """`seconds` bounds each measurement. `say` gets a line of progress."""

    seconds: float
    say: Callable[[str], None]
    peers: bool = False


@dataclass(frozen=True)
class Result:
    name: str
    value: float
    unit: str


@dataclass
class Report:
    """`violations`: what the verification found, a sentence each; a fast run that wrote something wrong is a failed run."""

    bench: str
    ratios: dict[str, float] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)

    @property
    def verified(self) -> bool:
        return not self.violations

    def add(self, name: str, value: float, unit: str) -> None:
        self.results.append(Result(name, round(value, 3), unit))

    def value(self, name: str) -> float:
        return next(result.value for result in self.results if result.name == name)

    def ratio(self, name: str, of: str, to: str) -> None:
        """`name` = result `of` over result `to`; 0 where `to` did nothing."""
        base = self.value(to)
        self.ratios[name] = round(self.value(of) / base, 2) if base else 0.0

    def as_json(self) -> str:
        return json.dumps(
            {
                "bench": self.bench,
                "verified": self.verified,
                "ratios": self.ratios,
                "results": [vars(result) for result in self.results],
            }
        )

    def as_text(self) -> str:
        ratios = table(("ratio", ""), [(name, f"{ratio:.2f}x") for name, ratio in self.ratios.items()])
        verdict = "verified: nothing found" if self.verified else "VERIFICATION FAILED\n" + "\n".join(self.violations)
        return "\n\n".join((*self.tables, ratios, verdict))


def percentile(samples: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: a value that was measured. 0 without samples."""
    if not samples:
        return 0.0
    ordered = sorted(samples)
    return ordered[max(ceil(percent / 100 * len(ordered)), 1) - 1]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of one width each; the first is text, the rest are figures."""
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    )
