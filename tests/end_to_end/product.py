"""The running product, as a person starts it: `isthmus up` in a process of its own."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests import forked
from tests.forked_process import started, started_cold

READY = re.compile(r"^ready (http://127\.0\.0\.1:\d+/graphql)$")


#: Here people pay one another without being asked, unless that is what is tried.
UNASKED = '{"EUR": "1000000"}'


def environment(data_dir: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
    return {**clean, "ISTHMUS_DATA_DIR": str(data_dir), "ISTHMUS_SCA__TRANSFER_ABOVE": UNASKED, "NO_COLOR": "1"}


def isthmus(data_dir: Path, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """A command of the CLI, run to its end."""
    return forked.isthmus(arguments, environment(data_dir), timeout)


@dataclass
class Background:
    """A process of the product that runs until it is ended: `up`, or one more `serve` or `work`."""

    data_dir: Path
    arguments: Sequence[str]
    lines: list[str] = field(default_factory=list)
    settings: Mapping[str, str] = field(default_factory=dict)
    cold: bool = True
    """Started as a person starts it, importing everything; else forked from one that has."""

    def start(self) -> None:
        self._log = self.data_dir.parent / f"{self.arguments[0]}-{time.monotonic_ns()}.log"
        start = started_cold if self.cold else started
        self.process = start("isthmus", self.arguments, {**environment(self.data_dir), **self.settings}, self._log)
        self._queue: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def wait_for(self, pattern: re.Pattern[str], timeout: float) -> re.Match[str]:
        deadline = time.monotonic() + timeout
        while True:
            line = self._queue.get(timeout=max(0.01, deadline - time.monotonic()))
            assert line is not None, f"{self.arguments[0]} ended: {self.log()}"
            self.lines.append(line)
            if match := pattern.match(line):
                return match

    def log(self) -> str:
        return self._log.read_text()[-4_000:]

    def stop(self, how: signal.Signals = signal.SIGINT, timeout: float = 40) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(timeout)


@dataclass
class Product:
    data_dir: Path
    options: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    cold: bool = True

    def start(self, timeout: float = 100) -> float:
        """Returns the seconds it took until `ready`."""
        began = time.monotonic()
        self.up = Background(
            self.data_dir,
            ["up", "--data-dir", str(self.data_dir), *self.options],
            settings=self.settings,
            cold=self.cold,
        )
        self.up.start()
        self.url = self.up.wait_for(READY, timeout).group(1)
        return time.monotonic() - began

    @property
    def base(self) -> str:
        return self.url.removesuffix("/graphql")

    @property
    def database_url(self) -> str:
        return next(word for line in self.up.lines for word in line.split() if word.startswith("postgresql://"))

    @property
    def running(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.data_dir / "running.json").read_text())["endpoints"]
        return found

    def stop(self) -> int:
        return self.up.stop()

    def family(self) -> list[int]:
        """Every process that belongs to this data directory, `up` included."""
        mark = str(self.data_dir).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    about = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                    dead = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
                except OSError:
                    continue
                if mark in about and not dead:
                    found.append(int(entry.name))
        return found

    def kill_everything(self) -> None:
        """As a power cut would: no process of the product gets to say anything."""
        for _ in range(50):
            family = self.family()
            if not family:
                break
            for pid in family:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.1)
        self.up.process.wait(10)

    def wait_until_ready(self, base: str, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{base}/readyz", timeout=2).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"{base} is not ready")
