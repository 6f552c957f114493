"""A child that dies is started again, one that cannot stay ends everything, and one that outgrew its memory is no death."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from isthmus.runtime import processes, supervisor
from isthmus.runtime.child import Child, ChildError, Spec
from isthmus.runtime.data_directory import DataDirectory
from isthmus.runtime.supervisor import Supervisor

_STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
)
_LARGE = "kept = b'x' * 40_000_000; import time; time.sleep(60)"


class _Run:
    def __init__(self, path: Path) -> None:
        self.data = DataDirectory(path)
        self.data.make()
        self.said: list[str] = []
        self.supervisor = Supervisor(self.data, self.said.append)

    def spec(self, name: str, *command: str) -> Spec:
        return Spec(name, command, answers=lambda: True, stop_s=0.3)

    async def stop(self) -> None:
        await self.supervisor.stop([lambda _: True], at_once=asyncio.Event())


@pytest.fixture
async def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[_Run]:
    monkeypatch.setattr(supervisor, "_PAUSES_S", (0.01,))
    monkeypatch.setattr(supervisor, "_WATCH_S", 0.01)
    monkeypatch.setattr(supervisor, "_MEMORY_POLL_S", 0.01)
    run = _Run(tmp_path)
    yield run
    await run.stop()


async def _new_pid(child: Child, old: int | None) -> int:
    async with asyncio.timeout(30):
        while child.pid in (None, old):  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.01)
    assert child.pid is not None
    return child.pid


async def test_a_child_that_dies_is_started_again(run: _Run) -> None:
    child = await run.supervisor.start(run.spec("sleeper", "/bin/sleep", "60"))
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert await _new_pid(child, first) != first
    assert run.said == [f"sleeper ended with signal SIGKILL; starting it again in 0.01 s (log: {child.log_file})"]


async def test_a_child_that_cannot_stay_ends_it_all(run: _Run) -> None:
    await run.supervisor.start(run.spec("sleeper", "/bin/sleep", "60"))
    with pytest.raises(ChildError, match=r"^hasty ended with code 3; its last words in .*hasty\.log: no luck"):
        async with asyncio.timeout(10):
            await run.supervisor.start(
                run.spec("hasty", sys.executable, "-Sc", "print('no luck'); raise SystemExit(3)")
            )
            await run.supervisor.failed


async def test_a_child_that_never_answers_is_given_up_sooner(run: _Run) -> None:
    mute = Spec("mute", (sys.executable, "-Sc", "raise SystemExit(2)"), answers=lambda: False)
    with pytest.raises(ChildError, match=r"^mute ended with code 2"):
        async with asyncio.timeout(10):
            await run.supervisor.start(mute)
    assert len(run.said) == 2, "two starts after the first"


async def test_what_cannot_even_be_tried_again_ends_it_all_and_says_why(run: _Run) -> None:
    prepared: list[str] = []

    def prepare() -> None:
        if prepared:
            raise KeyError("a bug")
        prepared.append("once")

    child = await run.supervisor.start(Spec("sleeper", ("/bin/sleep", "60"), answers=lambda: True, prepare=prepare))
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(KeyError, match="a bug"):
        async with asyncio.timeout(20):
            await run.supervisor.failed


async def test_outgrown_memory_is_no_death(run: _Run) -> None:
    """However often: a broker under load outgrows a small bound every few seconds, and must not end everything."""
    child = await run.supervisor.start(run.spec("large", sys.executable, "-Sc", _LARGE))
    run.supervisor.bound_memory(child, 32)
    pid = None
    for _ in range(7):
        pid = await _new_pid(child, pid)
    assert not run.supervisor.failed.done()
    assert all(sentence.startswith("large holds ") for sentence in run.said)


async def test_who_does_not_listen_is_killed(run: _Run) -> None:
    child = await run.supervisor.start(run.spec("stubborn", sys.executable, "-Suc", _STUBBORN))
    async with asyncio.timeout(30):
        while "up" not in child.log_file.read_text():  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.01)
    pid = child.pid
    await run.stop()
    assert pid is not None
    assert processes.started_at(pid) is None
    assert "was killed" in run.said[-1]


def test_a_log_steps_aside_when_it_is_long(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    data.make()
    data.log_file("serve").write_bytes(b"x" * (10 * 2**20 + 1))
    os.close(data.open_log("serve"))
    assert data.log_file("serve").stat().st_size == 0
    assert (tmp_path / "logs" / "serve.log.1").stat().st_size > 10 * 2**20
