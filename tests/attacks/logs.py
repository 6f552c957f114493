"""What the product logs, as a process of it would: every line of every library, at DEBUG."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from isthmus.runtime.telemetry import configure_logging
from isthmus.settings import load_settings


class Logged:
    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Raises ValueError where a line is not one JSON object."""
        return [json.loads(line) for line in self.text.split("\n")[:-1]]


@contextmanager
def logging_everything(data_dir: Path) -> Iterator[Logged]:
    root, before = logging.getLogger(), sys.stderr
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in root.manager.loggerDict}
    logged = Logged()
    configure_logging(load_settings(data_dir=data_dir, log={"level": "DEBUG"}), "serve")
    sys.stderr = logged.stream
    try:
        yield logged
    finally:
        sys.stderr = before
        structlog.reset_defaults()
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, kept in levels.items():
            logging.getLogger(name).setLevel(kept)
