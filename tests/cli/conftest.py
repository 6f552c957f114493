"""The command as scripts run it: a process of its own, with an environment that says nothing the test did not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest


class RunIsthmus(Protocol):
    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def isthmus(tmp_path: Path) -> RunIsthmus:
    """Runs `isthmus` on a data directory where nothing runs."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
        return subprocess.run(
            [sys.executable, "-m", "isthmus", *arguments],
            env={**clean, "ISTHMUS_DATA_DIR": str(tmp_path / "data"), "COLUMNS": "120", **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
