"""Writes the JSON Schemas of the events' current versions: `python -m isthmus.cli.event_schemas`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import isthmus.domain
from isthmus.domain.event_schemas import current, incompatibilities

FOLDER = Path(isthmus.domain.__path__[0]) / "schemas"


def write(folder: Path = FOLDER) -> list[str]:
    """Returns what may not be written: changes that old readers would stumble over need a new schema version."""
    folder.mkdir(exist_ok=True)
    refused = []
    for name, text in current().items():
        path = folder / name
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        faults = incompatibilities(before, json.loads(text)) if before else []
        if faults:
            refused += [f"{name}: {fault}" for fault in faults]
        else:
            path.write_text(text, encoding="utf-8")
    return refused


if __name__ == "__main__":
    found = write()
    for line in found:
        print(line, file=sys.stderr)
    sys.exit(1 if found else 0)
