"""One child process: how it is started, known to answer, and ended. Who starts it again when it dies is another matter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.runtime import launch
from isthmus.runtime.data_directory import DataDirectory

_POLL_S, _POLL_MAX_S = 0.01, 0.1
#: The servers get nothing of our environment: some read settings from it that would win over ours.
BARE_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


class ChildError(RuntimeError):
    """A child does not start or does not stay; the message says which and where its log is."""


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Spec:
    """What a child is. `prepare` runs before every start, and may block; `answers` asks it in its own protocol."""

    name: str
    command: tuple[str, ...]
    answers: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=lambda: BARE_ENVIRONMENT)
    prepare: Callable[[], None] = _nothing
    stop_signal: signal.Signals = signal.SIGTERM
    unprivileged: bool = False
    start_s: float = 20.0
    stop_s: float = 3.0


def launcher(stop_signal: signal.Signals, unprivileged: bool) -> tuple[str, ...]:
    return (
        sys.executable,
        "-I",
        "-S",
        str(Path(launch.__file__)),
        str(os.getpid()),
        str(int(stop_signal)),
        "1" if unprivileged else "0",
    )


class Child:
    def __init__(self, spec: Spec, data: DataDirectory) -> None:
        self.spec = spec
        self._data = data
        self._process: subprocess.Popen[bytes] | None = None
        self._spawned_at = 0.0
        self._asked = False

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def log_file(self) -> Path:
        return self._data.log_file(self.spec.name)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self.exit_code is None else None

    @property
    def last_pid(self) -> int | None:
        """That of its latest start, whether or not it still runs."""
        return self._process.pid if self._process is not None else None

    @property
    def exit_code(self) -> int | None:
        """None while it runs (and before it ever did)."""
        return self._process.poll() if self._process is not None else None

    def spawn(self) -> None:
        """Start it, from the main thread (see `launch`). In a session of its own, so that Ctrl-C reaches it through us only."""
        output = self._data.open_log(self.spec.name)
        try:
            self._process = subprocess.Popen(  # noqa: S603
                [*launcher(self.spec.stop_signal, self.spec.unprivileged), *self.spec.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(self.spec.environment),
                start_new_session=True,
            )
        finally:
            os.close(output)
        self._asked, self._spawned_at = False, time.monotonic()
        self._data.remember_child(self.spec.name, self._process.pid, self.spec.stop_signal)

    def answers(self) -> bool:
        """It does, and it is ours that does: a stranger on its port may answer too."""
        return self.pid is not None and self.spec.answers() and self.pid is not None

    def ask_to_stop(self) -> None:
        """Once: being asked a second time makes some of them drop what they were finishing."""
        if not self._asked:
            self._asked = True
            self._signal(self.spec.stop_signal)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    @property
    def pause_s(self) -> float:
        """Until it is asked again whether it answers: at first at once, and less often where that takes its time."""
        return min(_POLL_MAX_S, max(_POLL_S, (time.monotonic() - self._spawned_at) / 20))

    # For owners without an event loop; the supervisor does the same with sleeps of its own.

    def wait_until_it_answers(self) -> None:
        until = time.monotonic() + self.spec.start_s
        while not self.answers():
            if self.exit_code is not None or time.monotonic() > until:
                raise self.failure()
            time.sleep(self.pause_s)

    def stop(self) -> None:
        if self._process is None:
            return
        self.ask_to_stop()
        try:
            self._process.wait(self.spec.stop_s)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait(2.0)

    @property
    def ending(self) -> str:
        code = self.exit_code
        return "does not answer" if code is None else f"ended with {_exit(code)}"

    def failure(self) -> ChildError:
        return ChildError(f"{self.name} {self.ending}; its last words in {self.log_file}: {self._last_words()}")

    def _last_words(self) -> str:
        try:
            lines = self.log_file.read_text(errors="replace")[-4_000:].split("\n")
        except OSError:
            return "(none)"
        said = [line.strip() for line in lines if line.strip()]
        return " | ".join(said[-3:])[-600:] or "(none)"


def _exit(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
