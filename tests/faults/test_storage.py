"""The disk below the database: full, broken, and copied elsewhere."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from isthmus.auth.provider.users import DEMO_PASSWORD
from isthmus.auth.sign_in import sign_in
from isthmus.runtime.servers import postgres
from tests.end_to_end.client import Client
from tests.end_to_end.product import Product, isthmus
from tests.faults.system import OUTAGE_S, System, funded
from tests.faults.traffic import RETRYABLE, Traffic
from tests.not_run import not_run, tool

_MIB = 2**20


@asynccontextmanager
async def _busy(traffic: Traffic) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(traffic.write(stop, clients=2, pause_s=0.05))
    try:
        yield
    finally:
        stop.set()
        await task


async def _refused(traffic: Traffic) -> None:
    """Waits until commands are, which says that the trouble has come."""
    async with asyncio.timeout(60):
        while not traffic.unknown:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _relieved(system: System, traffic: Traffic) -> None:
    """PostgreSQL is started again where it has ended, or hangs in a recovery that the trouble cut off, as any supervisor would;
    everything of ours goes on by itself."""
    if not await _answers(system):
        system.servers.stop_server("postgres")
        system.servers.start_server("postgres")
    known = len(traffic.acknowledged)
    async with asyncio.timeout(60):
        while len(traffic.acknowledged) < known + 5:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _answers(system: System) -> bool:
    """Within a few seconds: it may be about to recover."""
    for _ in range(20):
        if system.servers.pid("postgres") is None:
            break
        with suppress(OSError, TimeoutError, asyncpg.PostgresError):
            await (await asyncpg.connect(system.endpoints.admin_url, timeout=2)).close()
            return True
        await asyncio.sleep(0.1)
    return False


def _judge(system: System, traffic: Traffic) -> None:
    refused = [told for told in traffic.commands if told.code is not None]
    assert refused
    assert {told.code for told in refused} <= RETRYABLE
    for process in (system.serve, system.work):
        assert process.process.poll() is None, process.log()


@pytest.fixture
def on_small_disk(small_disk: Path) -> Iterator[System]:
    """Everything of it is on that disk, its logs too."""
    system = System(small_disk / "data")
    try:
        system.start()
        yield system
    finally:
        system.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        not_run("only root mounts a small disk")
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        [tool("mount"), "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode != 0:
        not_run("this machine mounts nothing")
    try:
        yield place
    finally:
        subprocess.run([tool("umount"), "-l", str(place)], check=True)


async def test_f8_a_full_disk_stops_writing_and_once_there_is_room_nothing_is_lost(
    on_small_disk: System, small_disk: Path
) -> None:
    system, ballast = on_small_disk, small_disk / "ballast"
    ada, olga = await system.client("ada"), await system.client("olga")
    traffic = await Traffic.on(ada, await funded(ada, olga, "1000"), await funded(ada, olga, "1"))
    async with _busy(traffic):
        await asyncio.sleep(0.5)
        _fill(ballast)
        await _next_segments(system)
        await _refused(traffic)
        _fill(ballast)
        await asyncio.sleep(OUTAGE_S)
        ballast.unlink()
        await _relieved(system, traffic)
    _judge(system, traffic)
    await traffic.settled()
    system.verify()
    for client in (ada, olga):
        await client.http.aclose()


def _fill(ballast: Path) -> None:
    """Until not a byte more goes on it."""
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(_MIB))
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(512))


async def _next_segments(system: System) -> None:
    """The log is written in pieces of 16 MiB that are made beforehand: ask for new ones until there is no room."""
    with suppress(asyncpg.PostgresError, OSError, asyncpg.InterfaceError):
        connection = await asyncpg.connect(system.endpoints.admin_url)
        for _ in range(30):
            await connection.execute("select pg_logical_emit_message(false, 'full', repeat('x', 100000))")
            await connection.fetchval("select pg_switch_wal()")
            await asyncio.sleep(0.05)


_SHIM = """
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <errno.h>
    #include <stdio.h>
    #include <string.h>
    #include <unistd.h>

    static int broken(int fd) {
        char link[64], path[4096];
        if (access(FLAG, F_OK) != 0) return 0;
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t size = readlink(link, path, sizeof path - 1);
        if (size < 0) return 0;
        path[size] = 0;
        return strstr(path, "/pg_wal/") != NULL;
    }
    int fsync(int fd) {
        if (broken(fd)) { errno = EIO; return -1; }
        return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
    }
    int fdatasync(int fd) {
        if (broken(fd)) { errno = EIO; return -1; }
        return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
    }
"""


def _shim(folder: Path, flag: Path) -> Path:
    """A library that fails the flushing of the write-ahead log while the flag is there."""
    source, library = folder / "broken_disk.c", folder / "broken_disk.so"
    source.write_text(textwrap.dedent(_SHIM).strip() + "\n")
    command = [tool("cc"), "-shared", "-fPIC", f'-DFLAG="{flag}"', "-o", str(library), str(source), "-ldl"]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        not_run("cc makes no libraries")
    return library


@contextmanager
def _started_with(system: System, library: Path) -> Iterator[None]:
    child = system.servers._children["postgres"]
    kept = child.spec

    def restart() -> None:
        system.servers.stop_server("postgres")
        system.servers.start_server("postgres")

    child.spec = replace(kept, environment={**kept.environment, "LD_PRELOAD": str(library)})
    restart()
    try:
        yield
    finally:
        child.spec = kept
        restart()


async def test_f8_a_log_that_cannot_be_flushed_stops_writing_and_nothing_that_was_acknowledged_is_lost(
    system: System, ada: Client, olga: Client, tmp_path: Path
) -> None:
    flag = tmp_path / "broken"
    traffic = await Traffic.on(ada, await funded(ada, olga, "1000"), await funded(ada, olga, "1"))
    with _started_with(system, _shim(tmp_path, flag)):
        async with _busy(traffic):
            await asyncio.sleep(0.5)
            flag.touch()
            await _refused(traffic)
            await asyncio.sleep(OUTAGE_S)
            stopped = len(traffic.acknowledged)
            await asyncio.sleep(0.5)
            assert len(traffic.acknowledged) == stopped, "nothing is acknowledged that is not on the disk"
            flag.unlink()
            await _relieved(system, traffic)
    _judge(system, traffic)
    await traffic.settled()
    system.verify()


#: What the ledger is up to a position: the chain's link there, and each account's events and entries (posted by then).
_BOOKS = """
with upto as (select hash, committed_at from event_store where position = $1)
select (select encode(hash, 'hex') from upto),
    (select md5(string_agg(encode(hash, 'hex'), '' order by position)) from event_store where position <= $1),
    (select md5(string_agg(e::text, '|' order by account_id, account_version, id)) from entries e, upto
        where posted_at <= committed_at),
    (select md5(string_agg(o::text, '|' order by id)) from (
        select id, aggregatetype, aggregateid from outbox where position <= $1) o)
"""


async def _asked(url: str, query: str, *arguments: object) -> asyncpg.Record:
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetchrow(query, *arguments)
        assert found is not None
        return found
    finally:
        await connection.close()


def _back_up(system: System, copy: Path) -> None:
    """As docs/operating.md says: a base backup of PostgreSQL, and the secrets apart from it."""
    copy.mkdir(mode=0o700)
    where = urlsplit(system.endpoints.admin_url)
    command = [
        str(postgres.binary("pg_basebackup")),
        "-h",
        str(where.hostname),
        "-p",
        str(where.port),
        "-U",
        str(where.username),
    ]
    command += ["-D", str(copy / "postgres"), "-X", "stream", "-c", "fast", "--no-password"]
    environment = {**os.environ, "PGPASSWORD": where.password or ""}
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=120)
    shutil.copytree(system.data_dir / "secrets", copy / "secrets")


async def test_f49_a_backup_taken_under_load_is_sound_elsewhere_and_serves(
    system: System, ada: Client, olga: Client, tmp_path: Path
) -> None:
    traffic = await Traffic.on(ada, await funded(ada, olga, "1000"), await funded(ada, olga, "1"))
    copy = tmp_path / "restored"
    async with _busy(traffic):
        async with asyncio.timeout(60):
            while not traffic.acknowledged:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        key, journal = next(iter(traffic.acknowledged.items()))
        before = await _asked(system.endpoints.admin_url, "select position from log_head")
        await asyncio.to_thread(_back_up, system, copy)
    product = Product(copy, options=["--no-demo"], cold=False)
    try:
        await asyncio.to_thread(product.start, 120)
        restored = await _asked(product.database_url, "select position from log_head")
        assert restored["position"] >= before["position"], "what was committed before the backup is in it"
        verified = await asyncio.to_thread(isthmus, copy, "verify", "--json")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        both = [
            await _asked(url, _BOOKS, restored["position"])
            for url in (product.database_url, system.endpoints.admin_url)
        ]
        assert both[0] == both[1]
        assert all(both[0])

        there = Client(product.url, (await sign_in(product.base, "ada@example.com", DEMO_PASSWORD)).access_token)
        again = Traffic(there, traffic.source, traffic.target, traffic.start, traffic.version)
        replayed = await again._ask_transfer(key)
        assert (replayed["journal"]["id"], replayed["replayed"]) == (journal, True)
        done = await again._ask_transfer("after the restore")
        balance = await there.balance(traffic.source, str(done["position"]))
        again.judge(balance["posted"]["amount"], int(balance["version"]))
        assert again.wrong == []
        await there.http.aclose()
    finally:
        assert await asyncio.to_thread(product.stop) == 0
