"""Splits our SQL files into statements: the driver takes one at a time. A line that is only `--;` ends a statement."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"


def statements(name: str) -> Iterator[str]:
    text = (_FOLDER / name).read_text(encoding="utf-8")
    for part in text.split("\n--;\n"):
        if part.strip():
            yield part.strip()
