"""`isthmus` as a process of its own that need not import for seconds first: forked from one that has imported it and started nothing.

How long a cold start takes, `tests/cli/test_help.py` looks at; it does not come here.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

#: What commands import once they run. Another module that one needs is imported in the fork.
_MODULES = (
    "isthmus.app",
    "isthmus.cli.demo_data",
    "isthmus.cli.doctor_servers",
    "isthmus.graphql.publishing",
    "isthmus.migrations",
    "isthmus.runtime.wiring",
)


class _Forks:
    def __init__(self) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
        root = Path(__file__).parents[1]
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.forked"], cwd=root, env=clean, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._one = threading.Lock()

    def run(self, arguments: tuple[str, ...], environment: Mapping[str, str], timeout: float) -> tuple[int, str, str]:
        assert self._parent.stdin is not None
        with self._one, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            files = [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (out, err)]
            wish = {"arguments": arguments, "environment": dict(environment), "files": files, "folder": os.getcwd()}
            self._parent.stdin.write(json.dumps(wish).encode() + b"\n")
            self._parent.stdin.flush()
            pid = self._line(60)
            try:
                code = self._line(timeout)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                self._line(10)
                raise subprocess.TimeoutExpired(arguments, timeout) from None
            out.seek(0)
            err.seek(0)
            return code, out.read().decode(), err.read().decode()

    def _line(self, timeout: float) -> int:
        """The next number that the parent tells; it writes each whole."""
        assert self._parent.stdout is not None
        told = b""
        while not told.endswith(b"\n"):
            if not select.select([self._parent.stdout], [], [], timeout)[0]:
                raise TimeoutError
            part = os.read(self._parent.stdout.fileno(), 1)
            assert part, "the process that forks has ended"
            told += part
        return int(told)


@cache
def _forks() -> _Forks:
    return _Forks()


def isthmus(
    arguments: tuple[str, ...], environment: Mapping[str, str], timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """The command, run to its end with nothing but this environment. Raises subprocess.TimeoutExpired."""
    code, out, err = _forks().run(arguments, environment, timeout)
    return subprocess.CompletedProcess(["isthmus", *arguments], code, out, err)


def _serve() -> None:
    from isthmus.cli import COMMANDS, main

    for name in (*(f"isthmus.cli.{command.module}" for command in COMMANDS.values()), *_MODULES):
        import_module(name)
    gc.collect()
    gc.freeze()  # or the first collection in a fork would copy everything
    for line in sys.stdin.buffer:
        wish = json.loads(line)
        if pid := os.fork():
            print(pid, flush=True)
            _, status = os.waitpid(pid, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        os.environ.clear()
        os.environ.update(wish["environment"])
        os.chdir(wish["folder"])
        for number, file in ((0, os.devnull), (1, wish["files"][0]), (2, wish["files"][1])):
            opened = os.open(file, os.O_RDWR)
            os.dup2(opened, number)
            os.close(opened)
        sys.argv = ["isthmus", *wish["arguments"]]
        os._exit(_ended(main))


def _ended(main: Callable[[], None]) -> int:
    """The command's exit code, once all is written. Taking down what was imported would take longer than the command."""
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


if __name__ == "__main__":
    _serve()
