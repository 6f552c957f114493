"""A process of ours that goes on beside a test, forked instead of started cold (tests/forked.py), with what the tests use of `Popen`."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from tests import forked


class Process(Protocol):
    stdin: Any
    stdout: Any
    pid: int
    returncode: int | Any

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int, /) -> None: ...
    def kill(self) -> None: ...


class Forked:
    """`python -m module` in a session of its own, with files by their paths: input, output, errors."""

    def __init__(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], files: Sequence[str]
    ) -> None:
        self.returncode: int | None = None
        self._one = threading.Lock()
        self.pid = forked.forks().start(module, arguments, environment, files)

    def poll(self) -> int | None:
        return self._reap(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int:
        if (code := self.poll()) is not None:
            return code
        end = os.pidfd_open(self.pid)
        try:
            if not select.select([end], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        finally:
            os.close(end)
        code = self._reap(0)
        assert code is not None
        return code

    def _reap(self, options: int) -> int | None:
        with self._one:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, options)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkedProcess(Forked):
    """Its output is a pipe to us, its input too where it `reads`; its errors are added to `log`."""

    stdin: IO[bytes] | None = None

    def __init__(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path, *, reads: bool = False
    ) -> None:
        ours, out = os.pipe()
        self.stdout: IO[str] = os.fdopen(ours, encoding="utf-8")
        given, to = os.pipe()
        if reads:
            self.stdin = os.fdopen(to, "wb", buffering=0)
        else:
            os.close(to)
        log.touch()
        try:
            super().__init__(module, arguments, environment, [_path(given), _path(out), str(log)])
        finally:
            os.close(given)
            os.close(out)


def _path(file: int) -> str:
    return f"/proc/{os.getpid()}/fd/{file}"


def started(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path, *, reads: bool = False
) -> Process:
    """`python -m module`, forked where a fork's fork can be made ours."""
    start = ForkedProcess if sys.platform == "linux" else started_cold
    return start(module, arguments, environment, log, reads=reads)


def started_cold(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path, *, reads: bool = False
) -> Process:
    with log.open("a") as said:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=environment,
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,
        )


def child_of_ours(command: Sequence[str], *, stdout: int, env: Mapping[str, str], **rest: Any) -> Any:
    """In the place of `Popen` in isthmus/runtime/child.py: our own are forked there, too. They do not end with whoever started them."""
    if "-m" not in command:
        return subprocess.Popen(command, stdout=stdout, env=env, **rest)
    module, *arguments = command[command.index("-m") + 1 :]
    return Forked(module, arguments, env, [os.devnull, _path(stdout), _path(stdout)])


async def output_of(process: Process) -> asyncio.StreamReader:
    """What it says, for one that waits in a loop."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), process.stdout.buffer)
    return reader


async def input_of(process: Process) -> asyncio.WriteTransport:
    transport, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.BaseProtocol, process.stdin)
    return transport
