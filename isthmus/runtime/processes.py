"""What the system says about a process, by /proc where there is one and by `ps` elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc/self/stat").exists()


def started_at(pid: int) -> str | None:
    """When it began, in the system's own words: with the pid it names one process for ever. None once it is gone or a zombie.

    A zombie counts as gone: where pid 1 of a container reaps nobody, killed processes stay that for ever.
    """
    if not _PROC:
        state, _, start = _ps(pid, "state=,lstart=").partition(" ")
        return None if not state or state.startswith("Z") else start.strip()
    try:
        # The command's name stands in parentheses and may hold anything, so count from the last one.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def command_line(pid: int) -> str:
    if not _PROC:
        return _ps(pid, "command=")
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def working_in(folder: Path) -> list[int]:
    """Whose current folder it is: PostgreSQL's processes all stay in their cluster's. Nobody where there is no /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*") if _PROC else ():
        with suppress(OSError):  # gone by now, or somebody else's
            if (entry / "cwd").samefile(folder):
                found.append(int(entry.name))
    return found


def resident_mib(pid: int) -> float:
    if not _PROC:
        return int(_ps(pid, "rss=") or 0) / 1024
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def end(pid: int, first: signal.Signals, patience_s: float) -> None:
    """Ask with `first`, then kill. Returns once it is gone (or after a second more, where it cannot die)."""
    born = started_at(pid)
    for number, wait_s in ((first, patience_s), (signal.SIGKILL, 1.0)):
        if born is None or started_at(pid) != born:
            return
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        until = time.monotonic() + wait_s
        while time.monotonic() < until and started_at(pid) == born:
            time.sleep(0.01)


def _ps(pid: int, columns: str) -> str:
    found = subprocess.run(["/bin/ps", "-o", columns, "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603
    return found.stdout.strip()
