"""The data directory: what `up` keeps between runs (servers' data, passwords, ports) and says about the one that runs.

postgres/  valkey/          the servers' own
sandbox/                    the sandbox's book
secrets/                    passwords and the master key, each readable by its owner only
logs/                       one file per process
clock.json                  how far the clock was moved ahead (moved_clock.py)
ports.json                  kept, so that addresses stay the same from run to run
running.json  children.json who runs now, and where
lock                        held by the one `up` that may run here
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import secrets
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from isthmus.runtime import processes
from isthmus.settings import LOOPBACK, SettingsError

LOG_BYTES_MAX = 10 * 2**20
#: Below the range that systems hand out to outgoing connections: one of those may take a port while its server restarts.
_PORTS = range(15_000, 32_000)
_LEFTOVER_PATIENCE_S = 3.0


class DataDirectory:
    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    def make(self) -> None:
        """Private from the start: what is in it opens the ledger."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in ("secrets", "logs"):
                (self.path / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"ISTHMUS_DATA_DIR: cannot write to {self.path} ({error.strerror})") from None

    @contextmanager
    def lock(self, patience_s: float = 1.0) -> Iterator[None]:
        """Held as long as this runs, and let go by the system however it ends."""
        path = self.path / "lock"
        with path.open("a+") as file:
            until = time.monotonic() + patience_s  # a command that looks whether someone runs holds it for an instant
            while not _try_lock(file.fileno(), fcntl.LOCK_EX):
                if time.monotonic() > until:
                    file.seek(0)
                    holder = file.read().strip()
                    told = f" (process {holder})" if holder else ""
                    raise SettingsError(
                        f"another `isthmus up`{told} runs on {self.path}: stop it first, or name another --data-dir"
                    )
                time.sleep(0.02)
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            yield

    def in_use(self) -> bool:
        """Whether an `up` runs here now."""
        try:
            with (self.path / "lock").open() as file:
                return not _try_lock(file.fileno(), fcntl.LOCK_SH)
        except OSError:
            return False

    def secret(self, name: str) -> str:
        """Made at first sight; safe in a URL as it is."""
        path = self.path / "secrets" / name
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            value = secrets.token_urlsafe(24)
            write_private(path, value + "\n")
            return value

    def secret_file(self, name: str) -> Path:
        self.secret(name)
        return self.path / "secrets" / name

    def log_file(self, name: str) -> Path:
        return self.path / "logs" / f"{name}.log"

    def open_log(self, name: str) -> int:
        """A descriptor to append to. The servers never rotate by themselves, so a long file steps aside at a start."""
        path = self.log_file(name)
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.replace(path.with_suffix(".log.1"))
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def port(self, name: str, host: str = LOOPBACK) -> int:
        """The port kept for `name`, or another if someone else has taken it."""
        kept = self._read("ports.json")
        number = kept.get(name)
        others = {port for key, port in kept.items() if key != name}
        if not isinstance(number, int) or number in others or not port_is_free(number, host):
            candidates = (port for port in random.sample(_PORTS, 500) if port not in others)
            number = next((port for port in candidates if port_is_free(port, host)), None)
            if number is None:
                raise SettingsError(f"no free port between {_PORTS.start} and {_PORTS.stop} on {host}")
            self._write("ports.json", {**kept, name: number})
        return number

    def running(self) -> dict[str, Any] | None:
        """What the `up` that runs here wrote down; None where none runs, whatever an earlier one left behind."""
        return (self._read("running.json") or None) if self.in_use() else None

    def write_running(self, facts: Mapping[str, Any]) -> None:
        self._write("running.json", facts)

    def remove_running(self) -> None:
        for name in ("running.json", "children.json"):
            (self.path / name).unlink(missing_ok=True)

    def remember_child(self, name: str, pid: int, number: signal.Signals) -> None:
        """For the next run, should this one be killed where children cannot notice."""
        born = processes.started_at(pid)
        self._write("children.json", {**self._read("children.json"), name: [pid, born, int(number)]})

    def end_leftovers(self) -> list[str]:
        """End what an `up` that was killed left running. Call it with the lock held."""
        ended = []
        for name, (pid, born, number) in self._read("children.json").items():
            if born is not None and processes.started_at(pid) == born:
                processes.end(pid, signal.Signals(number), _LEFTOVER_PATIENCE_S)
                ended.append(name)
        (self.path / "children.json").unlink(missing_ok=True)
        return ended

    def _read(self, name: str) -> dict[str, Any]:
        try:
            read = json.loads((self.path / name).read_text())
        except (OSError, ValueError):
            return {}
        return read if isinstance(read, dict) else {}

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        write_private(self.path / name, json.dumps(value, indent=1) + "\n")


def write_private(path: Path, text: str) -> None:
    """All of it or nothing, never readable by others, and on the disk when this returns."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the servers do: connections that are only waiting to be forgotten must not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise SettingsError(f"ISTHMUS_API__HOST: cannot listen on {host} ({error.strerror or error})") from None
    return True


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
