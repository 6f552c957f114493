"""F50: a process that may have no more of something refuses, goes on with what it has, and takes on again once there is room."""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.product import Background
from tests.faults.system import System, funded, settle
from tests.faults.traffic import resident_mib
from tests.not_run import not_run

#: What a shell may give: fewer than the server has open before anybody comes.
FILES = 64
#: A call that blocks the loop for so long, when the first command is taken.
STANDS_S = 2.0
#: What comes in the flood, and what of it may be in memory: a body as long as it may be, for each.
HALF_REQUESTS, ENDLESS = 100, 10
_BODY_MAX, _PIECE, _PIECES = 100_000, b" " * 10_000, 3_000
_QUERY = "{ assets { code } }"


@dataclass
class _Serve:
    process: Background
    base: str

    @property
    def pid(self) -> int:
        return self.process.process.pid

    @property
    def files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def client(self, token: str | None, http: httpx.AsyncClient) -> Client:
        return Client(f"{self.base}/graphql", token, http)

    async def serves(self, token: str | None) -> bool:
        async with httpx.AsyncClient(timeout=5) as http:
            with suppress(httpx.HTTPError):
                return (await self.client(token, http).ask(_QUERY)).status == 200
        return False

    async def serves_again(self, token: str | None) -> None:
        async with asyncio.timeout(60):
            while not await self.serves(token):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def metric(self, name: str) -> float:
        async with httpx.AsyncClient(timeout=20) as http:
            found = re.search(rf"^{name} (\S+)$", (await http.get(f"{self.base}/metrics")).text, re.MULTILINE)
        assert found, name
        return float(found.group(1))


@pytest.fixture(scope="module")
def served(system: System) -> Iterator[_Serve]:
    """Started where few files may be open at first, and with a bug that shows once."""
    if sys.platform != "linux":
        not_run("limits of a running process are Linux's")
    with _few_files():
        process = system.run("serve", "--port", "0", wait=False, FAIL=f"committer.taken:1:sleep={STANDS_S:g}")
    ready = process.wait_for(re.compile(r"^ready (http://127\.0\.0\.1:\d+)"), 60)
    yield _Serve(process, ready.group(1))
    assert process.stop() == 0


@contextmanager
def _few_files() -> Iterator[None]:
    """Who is started meanwhile inherits it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(FILES, len(list(Path("/proc/self/fd").iterdir())) + 8), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_f50_an_event_loop_that_a_bug_blocks_is_told_of_and_serves_on(
    served: _Serve, system: System, ada: Client, olga: Client
) -> None:
    account = await funded(ada, olga, "1")
    async with httpx.AsyncClient(timeout=60) as http:
        began = time.monotonic()
        blocking = asyncio.create_task(settle(served.client(olga.token, http), account, "2"))
        position = await blocking
        assert time.monotonic() - began >= STANDS_S, "the loop stood still"
        told = served.process.log()
        assert "the event loop is blocked" in told
        assert re.search(r"failpoints\.py:\d+ failpoint_async", told), "and where"
        assert await served.metric("isthmus_event_loop_blocked_total") >= 1
        async with asyncio.timeout(60):
            while not (balance := await _told(served.client(ada.token, http), account, position)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert balance["posted"]["amount"] == "3.00"


async def _told(client: Client, account: str, position: str) -> dict[str, Any]:
    """Empty where it is refused: what comes right after a stand of the loop is told to come again."""
    with suppress(AssertionError):
        return await client.balance(account, position)
    return {}


async def test_f50_a_process_without_a_free_file_turns_away_who_comes_and_goes_on_with_whom_it_has(
    served: _Serve, ada: Client, olga: Client
) -> None:
    account = await funded(ada, olga, "1")
    where = httpx.URL(served.base)
    async with httpx.AsyncClient(timeout=60) as http:
        kept = served.client(ada.token, http)
        assert (await kept.ask(_QUERY)).status == 200
        _, most = resource.prlimit(served.pid, resource.RLIMIT_NOFILE)
        allowed = resource.prlimit(served.pid, resource.RLIMIT_NOFILE)[0]
        assert allowed >= min(most, 4_096), "what the shell gave is not what it may have"
        resource.prlimit(served.pid, resource.RLIMIT_NOFILE, (served.files + 8, most))
        others: list[socket.socket] = []
        try:
            others += [socket.create_connection((where.host, where.port or 0), 30) for _ in range(FILES)]
            turned_away = await asyncio.to_thread(_closed, others)
            assert turned_away >= FILES - 8, "they are told at once, and do not wait for nothing"
            assert not await served.serves(ada.token), "nor is anybody else let in"
            for _ in range(20):
                answer = await kept.ask(_QUERY)
                assert answer.status == 200, answer.body
            assert (await kept.transfer(account, account, "1"))["errors"], (
                "refused by its rules, not for want of a file"
            )
            assert await _idle(served.pid), "it does not spin on what it cannot take"
        finally:
            for one in others:
                one.close()
            resource.prlimit(served.pid, resource.RLIMIT_NOFILE, (allowed, most))
    await served.serves_again(ada.token)


def _closed(others: list[socket.socket]) -> int:
    """How many the other side closed, as soon as that many are or there is no hope any more."""
    closed: set[socket.socket] = set()
    until = time.monotonic() + 30
    while len(closed) < FILES - 8 and time.monotonic() < until:
        for one in others:
            one.settimeout(0.01)
            with suppress(TimeoutError):
                try:
                    if not one.recv(1):
                        closed.add(one)
                except ConnectionError:
                    closed.add(one)
    return len(closed)


async def _idle(pid: int) -> bool:
    """Whether there is a second in which it has less than most of a processor."""

    def processor_s() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    for _ in range(5):
        before = processor_s()
        await asyncio.sleep(1)
        if processor_s() - before < 0.5:
            return True
    return False


async def test_f50_a_flood_of_bodies_is_held_to_what_each_may_have_in_memory(
    served: _Serve, ada: Client, olga: Client
) -> None:
    account = await funded(ada, olga, "1")
    where = httpx.URL(served.base)
    before_mib = resident_mib(served.pid)
    writers: list[asyncio.StreamWriter] = []

    def head(framing: bytes) -> bytes:
        said = f"host: {where.host}\r\nauthorization: Bearer {ada.token}\r\ncontent-type: application/json\r\n"
        return b"POST /graphql HTTP/1.1\r\n" + said.encode() + framing + b"\r\n\r\n"

    async def half_a_request() -> None:
        """All but the end of the longest body that is taken."""
        _, writer = await asyncio.open_connection(where.host, where.port)
        writers.append(writer)
        writer.write(head(b"content-length: %d" % _BODY_MAX) + b" " * (_BODY_MAX - 1_000))
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(writer.drain(), 5)

    async def endless() -> int:
        """The status that it is answered with, while it still sends; 0 where it is cut off without a word."""
        reader, writer = await asyncio.open_connection(where.host, where.port)
        writers.append(writer)

        async def send() -> None:
            writer.write(head(b"transfer-encoding: chunked"))
            with suppress(OSError):
                for _ in range(_PIECES):
                    writer.write(b"%x\r\n%b\r\n" % (len(_PIECE), _PIECE))
                    await writer.drain()

        sending = asyncio.create_task(send())
        try:
            line = await asyncio.wait_for(reader.readline(), 60)
        except ConnectionError:
            line = b""
        sending.cancel()
        return int(line.split()[1]) if line else 0

    try:
        await asyncio.gather(*(half_a_request() for _ in range(HALF_REQUESTS)))
        statuses = await asyncio.gather(*(endless() for _ in range(ENDLESS)))
        grown_mib = resident_mib(served.pid) - before_mib
    finally:
        for writer in writers:
            writer.transport.abort()
    print(f"{HALF_REQUESTS} half requests, {ENDLESS} without an end {statuses}: memory {grown_mib:+.1f} MiB")
    assert set(statuses) <= {413, 503}
    assert 413 in statuses
    assert grown_mib < 20 + 3 * HALF_REQUESTS * _BODY_MAX / 2**20
    await served.serves_again(ada.token)
    async with httpx.AsyncClient(timeout=60) as http:
        position = await settle(olga, account, "1")
        balance = await served.client(ada.token, http).balance(account, position)
    assert balance["posted"]["amount"] == "2.00"
