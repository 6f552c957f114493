"""The embedded servers on data directories of their own: they keep their state, ask for passwords, and never outlive their owner."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from isthmus.runtime import processes
from isthmus.runtime.servers import EmbeddedServers
from isthmus.settings import SettingsError

_OWNER = """
import sys, time
from pathlib import Path
from isthmus.runtime.servers import EmbeddedServers
servers = EmbeddedServers(Path(sys.argv[1]), fsync=False)
servers.start()
print(*(servers.pid(name) for name in ("postgres", "valkey", "kafka")), flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Longer than a unix socket's address may be, and with spaces in it."""
    return tmp_path_factory.mktemp("a data directory") / ("long " * 30).strip()


@pytest.fixture(scope="module")
def own(folder: Path) -> Iterator[EmbeddedServers]:
    running = EmbeddedServers(folder, fsync=False)
    running.start()
    yield running
    running.stop()


def _query(url: str, statement: str) -> object:
    async def run() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


def _all_gone(pids: list[int], within_s: float = 3.0) -> bool:
    until = time.monotonic() + within_s
    while any(processes.started_at(pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def test_everyone_who_signs_in_needs_a_password(own: EmbeddedServers) -> None:
    assert _query(own.app_url, "select current_user") == "isthmus_app"
    assert _query(own.admin_url, "select usesuper from pg_user where usename = current_user") is True
    assert _query(own.app_url, "select usesuper from pg_user where usename = current_user") is False
    for url in (own.admin_url, own.app_url):
        user, _, place = url.removeprefix("postgresql://").partition("@")
        with pytest.raises(asyncpg.InvalidPasswordError):
            _query(f"postgresql://{user.split(':')[0]}:wrong@{place}", "select 1")
    place = own.redis_url.rpartition("@")[2]
    with pytest.raises(AuthenticationError):
        Redis.from_url(f"redis://{place}").ping()
    assert Redis.from_url(own.redis_url).ping()


def test_nobody_else_can_read_the_passwords(own: EmbeddedServers, folder: Path) -> None:
    kept = [*(folder / "secrets").iterdir(), folder / "valkey" / "valkey.conf"]
    assert {path.stat().st_mode & 0o077 for path in (folder, folder / "secrets", folder / "postgres", *kept)} == {0}
    lines = subprocess.run(["/bin/ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not any(path.read_text().strip() in lines for path in (folder / "secrets").iterdir())


def test_a_killed_server_comes_back_at_its_address_with_its_data(own: EmbeddedServers, folder: Path) -> None:
    _query(own.admin_url, "create table kept as select 7 as n")
    Redis.from_url(own.redis_url).set("cached", "1")
    own.kill_server("postgres")
    own.kill_server("valkey")
    # The pid file names a process that lives but is not PostgreSQL: the pid has been given away since.
    pid_file = folder / "postgres" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n" + pid_file.read_text().split("\n", 1)[1])
    own.start_server("postgres")
    own.start_server("valkey")
    assert _query(own.admin_url, "select n from kept") == 7
    assert Redis.from_url(own.redis_url).get("cached") is None, "a cache starts empty"


def test_a_session_that_outlives_a_killed_server_is_ended_before_the_next_start(
    own: EmbeddedServers, folder: Path
) -> None:
    """It computes and does not look up: two generations would write into the same files."""

    async def run() -> list[int]:
        connection = await asyncpg.connect(own.admin_url)
        await connection.execute("set max_parallel_workers_per_gather = 0")
        busy = asyncio.create_task(connection.fetchval("select sum(sqrt(n)) from generate_series(1, 1000000000) as n"))
        await asyncio.sleep(0.2)
        own.kill_server("postgres")
        await asyncio.sleep(0.2)
        left = processes.working_in(folder / "postgres")
        connection.terminate()
        await asyncio.gather(busy, return_exceptions=True)
        return left

    left = asyncio.run(run())
    own.start_server("postgres")
    assert left
    assert not any(processes.started_at(pid) for pid in left)
    assert _query(own.app_url, "select 1") == 1


def test_a_second_owner_is_refused(own: EmbeddedServers, folder: Path) -> None:
    with pytest.raises(SettingsError, match=rf"process {os.getpid()}\) runs on .*: stop it first, or name another"):
        EmbeddedServers(folder, fsync=False).start()
    assert _query(own.app_url, "select 1") == 1, "the refused one touched nothing"


def test_servers_end_with_their_owner_and_start_again(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", _OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pids = [int(word) for word in owner.stdout.readline().split()]
    assert len(pids) == 3
    assert all(processes.started_at(pid) for pid in pids)
    owner.kill()
    assert _all_gone(pids), "orphans"
    owner.wait()

    again = EmbeddedServers(tmp_path, fsync=False)
    again.start()
    try:
        assert _query(again.app_url, "select 1") == 1
        pids = [again.pid(name) or 0 for name in ("postgres", "valkey", "kafka")]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert _all_gone(pids)
    finally:
        again.stop()


def test_a_port_that_is_taken_is_picked_anew(tmp_path: Path) -> None:
    from isthmus.runtime.data_directory import DataDirectory

    data = DataDirectory(tmp_path)
    data.make()
    first = data.port("kafka")
    assert data.port("kafka") == first, "kept"
    import socket

    with socket.create_server(("127.0.0.1", first)):
        assert data.port("kafka") != first
