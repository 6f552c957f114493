"""The command as scripts run it: a process of its own, with an environment that says nothing the test did not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

from tests import forked


class RunIsthmus(Protocol):
    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]: ...


def _environment(data_dir: Path, more: dict[str, str]) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
    return {**clean, "ISTHMUS_DATA_DIR": str(data_dir), "COLUMNS": "120", **more}


@pytest.fixture
def isthmus(tmp_path: Path) -> RunIsthmus:
    """Runs `isthmus` on a data directory where nothing runs."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return forked.isthmus(arguments, _environment(tmp_path / "data", environment))

    return run


@pytest.fixture
def cold_isthmus(tmp_path: Path) -> RunIsthmus:
    """The same from a cold start, for what that is about."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "isthmus", *arguments],
            env=_environment(tmp_path / "data", environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
