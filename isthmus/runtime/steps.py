"""What `up` is doing, on standard error: a live display on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


class Steps:
    """Several may be under way at once. `close` takes the display away; lines said after it are plain."""

    def __init__(self) -> None:
        self._display: Progress | None = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (SpinnerColumn(finished_text="[green]✓"), TextColumn("{task.description}"), TimeElapsedColumn())
            self._display = Progress(*columns, console=Console(stderr=True))
            self._display.start()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        began = time.monotonic()
        if self._display is not None:
            task = self._display.add_task(title, total=1)
            yield
            self._display.update(task, completed=1)
            return
        yield
        self.say(f"{title}: {time.monotonic() - began:.1f} s")

    def say(self, line: str) -> None:
        if self._display is not None and self._display.live.is_started:
            self._display.console.print(line, markup=False, highlight=False)
        else:
            with suppress(OSError):  # nobody reads any more, which is no reason to end what runs
                sys.stderr.write(line + "\n")
                sys.stderr.flush()

    def close(self) -> None:
        if self._display is not None:
            self._display.stop()
