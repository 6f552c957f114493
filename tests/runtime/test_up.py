"""`isthmus up` where it must not start: one sentence on standard error, exit code 2, and nothing left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from isthmus.runtime.data_directory import DataDirectory


def _up(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "isthmus", "up", "--data-dir", str(path), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_a_second_up_on_the_same_data_directory_is_refused(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    data.make()
    with data.lock():
        refused = _up(tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"isthmus: another `isthmus up` (process {os.getpid()}) runs on {tmp_path}: "
        "stop it first, or name another --data-dir\n"
    )


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = _up(tmp_path, "--port", str(port))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"isthmus: --port (ISTHMUS_API__PORT): {port} is taken; name another, or 0 for a free one\n"
    )
    assert not DataDirectory(tmp_path).in_use()
    assert not (tmp_path / "postgres").exists()
