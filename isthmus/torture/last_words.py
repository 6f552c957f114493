"""What a process said last: at which of its fail points it died."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class LastWords:
    """What a process says when it dies at one of the fail points, from now on."""

    file: Path
    points: Sequence[str]
    _read_to: int = field(init=False)

    def __post_init__(self) -> None:
        self._read_to = self.file.stat().st_size if self.file.exists() else 0

    def found(self) -> str | None:
        size = self.file.stat().st_size if self.file.exists() else 0
        with contextlib.suppress(OSError), self.file.open("rb") as log:
            log.seek(self._read_to if size >= self._read_to else 0)  # a long one steps aside at a start
            words = [line for line in log if b'"fail point"' in line]
            return next((one for one in self.points if any(f'"{one}"'.encode() in line for line in words)), None)
        return None
