"""One id for all that one request causes: taken from it where it gives a decent one, else drawn."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from isthmus.domain.identifiers import uuid7_source

HEADER = "x-correlation-id"
_WELL_FORMED = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_draw = uuid7_source(lambda: datetime.now(UTC))


def well_formed(given: object) -> str | None:
    return given if isinstance(given, str) and _WELL_FORMED.fullmatch(given) else None


def drawn() -> str:
    return str(_draw())
