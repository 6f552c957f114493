"""`isthmus` as a process of its own that need not import for seconds first: forked from one that has imported it and started nothing.

How long a cold start takes, `tests/cli/test_help.py` looks at; it does not come here.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from runpy import run_module
from typing import Any, NoReturn

#: What commands import once they run. Another module that one needs is imported in the fork.
_MODULES = (
    "isthmus.app.wiring",
    "isthmus.cli.demo_data",
    "isthmus.cli.doctor_servers",
    "isthmus.graphql.publishing",
    "isthmus.auth.provider.asgi",
    "isthmus.graphql.http_protocol",
    "isthmus.graphql.ws_protocol",
    "isthmus.migrations",
    "isthmus.runtime.serving",
    "isthmus.runtime.wiring",
    "isthmus.runtime.work",
)
_PR_SET_CHILD_SUBREAPER = 36


class _Forks:
    def __init__(self) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
        root = Path(__file__).parents[1]
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.forked"], cwd=root, env=clean, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._one = threading.Lock()

    def run(self, arguments: Sequence[str], environment: Mapping[str, str], timeout: float) -> tuple[int, str, str]:
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

    def start(self, module: str, arguments: Sequence[str], environment: Mapping[str, str], files: Sequence[str]) -> int:
        """`python -m module` that goes on by itself, in a session of its own; a child of ours like any other. Its pid."""
        assert self._parent.stdin is not None
        wish = {"module": module, "arguments": arguments, "environment": dict(environment), "files": files}
        with self._one:
            # Whoever forks it ends, and orphans are given to us for that moment.
            _take_orphans(True)
            try:
                self._parent.stdin.write(json.dumps({**wish, "folder": os.getcwd()}).encode() + b"\n")
                self._parent.stdin.flush()
                return self._line(60)
            finally:
                _take_orphans(False)

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


def _take_orphans(whether: bool) -> None:
    assert ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(whether), 0, 0, 0) == 0


@cache
def forks() -> _Forks:
    return _Forks()


def isthmus(
    arguments: Sequence[str], environment: Mapping[str, str], timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """The command, run to its end with nothing but this environment. Raises subprocess.TimeoutExpired."""
    code, out, err = forks().run(arguments, environment, timeout)
    return subprocess.CompletedProcess(["isthmus", *arguments], code, out, err)


def _serve() -> None:
    from isthmus.cli import COMMANDS

    for name in (*(f"isthmus.cli.{command.module}" for command in COMMANDS.values()), *_MODULES):
        import_module(name)
    gc.collect()
    gc.freeze()  # or the first collection in a fork would copy everything
    for line in sys.stdin.buffer:
        wish = json.loads(line)
        if "module" in wish:
            print(_started(wish), flush=True)
        elif pid := os.fork():
            print(pid, flush=True)
            _, status = os.waitpid(pid, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
        else:
            _become({**wish, "module": "isthmus"}, _opened([os.devnull, *wish["files"]]))


def _started(wish: dict[str, Any]) -> int:
    """By one between, whose end makes it an orphan. Its files are open by the time that its pid is told."""
    opened = _opened(wish["files"])
    read, write = os.pipe()
    if between := os.fork():
        for file in (write, *opened):
            os.close(file)
        os.waitpid(between, 0)
        told = os.read(read, 20)
        os.close(read)
        return int(told)
    if pid := os.fork():
        os.write(write, str(pid).encode())
        os._exit(0)
    os.close(read)
    os.close(write)
    os.setsid()
    return _become(wish, opened)


def _opened(files: Sequence[str]) -> list[int]:
    return [os.open(file, os.O_WRONLY | os.O_APPEND if number else os.O_RDONLY) for number, file in enumerate(files)]


def _become(wish: dict[str, Any], opened: Sequence[int]) -> NoReturn:
    os.environ.clear()
    os.environ.update(wish["environment"])
    os.chdir(wish["folder"])
    for number, file in enumerate(opened):
        os.dup2(file, number)
        os.close(file)
    sys.argv = [wish["module"], *wish["arguments"]]
    os._exit(_ended(lambda: run_module(wish["module"], run_name="__main__", alter_sys=True)))


def _ended(main: Callable[[], object]) -> int:
    """The exit code, once all is written. Taking down what was imported would take longer than most commands."""
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


if __name__ == "__main__":
    _serve()
