"""Where a bench runs: a temporary folder, with servers of its own that are durable (fsync on). Nothing is left behind."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from isthmus.runtime.servers import EmbeddedServers
from isthmus.write_models.verifier import verify


@contextmanager
def temporary_place() -> Iterator[Path]:
    """An empty folder, removed in the end; SIGTERM ends the bench in order. For the main thread."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as folder:
            yield Path(folder)
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise SystemExit(128 + number)


@contextmanager
def embedded_servers(data_dir: Path) -> Iterator[EmbeddedServers]:
    """PostgreSQL, Valkey and a Kafka broker below `data_dir`. For the main thread, outside an event loop."""
    servers = EmbeddedServers(data_dir)
    servers.start()
    try:
        yield servers
    finally:
        servers.stop()


def database_named(url: str, name: str) -> str:
    """The same server, signed in the same way, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def create_database(servers: EmbeddedServers, name: str, template: str | None = None) -> None:
    """Empty, or a copy of `template`, to which nobody may be connected."""
    connection = await asyncpg.connect(servers.admin_url)
    try:
        copied = f" template {template} strategy file_copy" if template else ""
        await connection.execute(f"create database {name}{copied}", timeout=300)
    finally:
        await connection.close()


async def violations(url: str, where: str, *, without: tuple[str, ...] = ()) -> list[str]:
    """What `isthmus verify` finds in a database; `without` names checks that cannot hold there by design."""
    connection = await asyncpg.connect(url)
    try:
        report = await verify(connection)
    finally:
        await connection.close()
    return [
        f"{where}: {finding.check.name}: {violation}"
        for finding in report.findings
        if finding.check.name not in without
        for violation in finding.violations
    ]
