"""Where the files of tests lie: in memory, where the machine has plenty of it.

Databases come and go by the hundred, of six hundred files each, and disks are slow at finding room for files where others were just
deleted: making one takes ten times the processor there. What a test proves about a disk, it proves on one of its own.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")  # a folder of our own is made in it
#: A whole run takes less than a quarter of it; tests that failed leave theirs for the next.
_ENOUGH = 4 * 2**30


def keep_files_in_memory() -> None:
    """For this process and those that it starts. A folder that somebody has named stays."""
    if "TMPDIR" in os.environ or not _plenty():
        return
    os.environ["TMPDIR"] = str(_MEMORY)
    tempfile.tempdir = None  # it may have been asked for already


def _plenty() -> bool:
    try:
        place = os.statvfs(_MEMORY)
        free = {name: int(rest.split()[0]) * 1024 for name, _, rest in _lines("/proc/meminfo")}["MemAvailable"]
    except (OSError, KeyError, ValueError):
        return False
    return not place.f_flag & os.ST_NOEXEC and min(place.f_bavail * place.f_frsize, free) >= _ENOUGH


def _lines(path: str) -> list[tuple[str, str, str]]:
    return [line.partition(":") for line in Path(path).read_text().splitlines()]
