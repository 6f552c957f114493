"""How many attacks were tried and how many were refused, by row of the matrix; printed at the end of the run.

The counts travel in each test's report, so that they are the same with and without processes beside each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

#: The rows whose parts exist. A row without a test fails the suite (test_rows.py).
ROWS = (
    *(f"A{n}" for n in range(1, 20)),
    *(f"B{n}" for n in (1, 2, 3, 4, 5, 6, 7, 9, 10)),
    *(f"C{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12)),
    *(f"D{n}" for n in (3, 4, 5, 8, 9)),
    *(f"G{n}" for n in (9, 10, 11, 12)),
)
_PROPERTY = "attack"
_NAME = re.compile(r"test_([a-g])([0-9]+)_")


def row_of(test: str) -> str | None:
    """`test_a2_…` belongs to row A2."""
    found = _NAME.match(test)
    return f"{found[1].upper()}{found[2]}" if found else None


@dataclass
class Row:
    """The row that a test is named after, and its cases so far."""

    counts: list[Any]  # [row, tried, refused]: mutable, because the report takes it when the test has ended

    @contextmanager
    def case(self, name: object) -> Iterator[None]:
        """One attack: what is asserted inside says that it was refused."""
        self.counts[1] += 1
        try:
            yield
        except BaseException as error:
            error.add_note(f"{self.counts[0]}, case {name!r}"[:500])
            raise
        self.counts[2] += 1


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Iterator[Row]:
    name = row_of(request.node.name)
    assert name in ROWS, "a test of an attack is named after its row"
    made = Row([name, 0, 0])
    request.node.user_properties.append((_PROPERTY, made.counts))
    yield made
    assert made.counts[1], "a test that tries nothing proves nothing"


class Counter:
    """`@pytest.mark.attack("C1")` counts a test elsewhere as one case of that row."""

    def pytest_configure(self, config: pytest.Config) -> None:
        config.addinivalue_line("markers", "attack(row): one case of a row of the attack matrix")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            for mark in item.iter_markers("attack"):
                item.user_properties.append((_PROPERTY, [mark.args[0], 1, 1]))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        tried: dict[str, int] = {}
        refused: dict[str, int] = {}
        for outcome, reports in terminalreporter.stats.items():
            for report in reports:
                if getattr(report, "when", "") != "call":
                    continue
                for name, value in report.user_properties:
                    if name == _PROPERTY:
                        row, all_of_them, held = value
                        tried[row] = tried.get(row, 0) + all_of_them
                        counted = held if outcome == "passed" or all_of_them != held else all_of_them - 1
                        refused[row] = refused.get(row, 0) + counted
        if tried:
            total, held = sum(tried.values()), sum(refused.values())
            rows = ", ".join(f"{row} {tried[row]:,}" for row in sorted(tried, key=lambda r: (r[0], int(r[1:]))))
            terminalreporter.write_line(f"attacks: {total:,} cases tried, {held:,} refused ({rows})")
