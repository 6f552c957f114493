"""Tests that need a tool that is not part of the product say that they were not run, and are counted as such, never as passed."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import Any, NoReturn

import pytest

_MARK = "not run here: "


def tool(name: str) -> str:
    """Its path. Where it is not installed, the test that asks is not run."""
    path = shutil.which(name)
    if path is None:
        not_run(f"{name} is missing")
    return path


def not_run(reason: str) -> NoReturn:
    """For what the machine does not let a test do."""
    pytest.skip(f"{_MARK}{reason}")


class NotRun:
    """Registered as a plugin: pytest looks only at functions that are named like its hooks, and conftest.py has one of this name."""

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        reasons: Counter[str] = Counter()
        for report in terminalreporter.getreports("skipped"):
            _, found, reason = str(report.longrepr[-1] if report.longrepr else "").partition(_MARK)
            if found:
                reasons[reason] += 1
        if reasons:
            told = "; ".join(f"{count} ({reason})" for reason, count in sorted(reasons.items()))
            terminalreporter.write_line(f"not run here: {told}", yellow=True)
