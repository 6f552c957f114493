"""Real servers, started once per run; every test that writes gets a database of its own, copied from a migrated template.

The append-only tables refuse to be cleaned, so nothing is cleaned up: databases are thrown away whole.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import hypothesis
import pytest

from isthmus.domain.clock import SettableClock
from isthmus.migrations import migrate
from isthmus.runtime.servers import EmbeddedServers
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import Settings, load_settings
from tests.attacks.count import Counter
from tests.in_memory import keep_files_in_memory
from tests.not_run import NotRun
from tests.shared_systems import SharedSystems

#: As many as a test asks for, and counted all the same.
CODES = {"codes_per_ten_minutes": 100_000, "codes_per_day": 100_000}
#: Most that people here pay one another without being asked, where that is not what is tried.
UNASKED = {"transfer_above": dict.fromkeys(("EUR", "GBP", "USD", "JPY", "BTC", "ETH"), 10**12)}
for _name in [name for name in os.environ if name.startswith("ISTHMUS_")]:
    del os.environ[_name]  # a developer's own settings are not the tests'

keep_files_in_memory()

# No test speaks TLS. Every HTTP client reads the certificates that it would trust, the product's too: one instead of the world's
# saves 30 ms to 100 ms each time.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("no_authority.pem"))

# How long an example takes says what else the machine does, and nothing of what it tries.
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("suite")

_numbers = itertools.count(1)

#: Why a test in a browser was not run; told at the end as a count of its own.
NO_CHROMIUM = "no Chromium"


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Counter(), "attacks")
    config.pluginmanager.register(SharedSystems(), "shared systems")
    config.pluginmanager.register(NotRun(), "not run")


@dataclass(frozen=True)
class Database:
    """`url` signs in as the product does, `admin_url` as the superuser that owns the tables."""

    url: str
    admin_url: str


def _with_name(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    """PostgreSQL (fsync off: tests only), Valkey and a Kafka broker, for the whole run."""
    running = EmbeddedServers(tmp_path_factory.mktemp("servers"), fsync=False)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def template(servers: EmbeddedServers) -> str:
    """The name of a migrated, empty database that nobody connects to."""

    async def make() -> None:
        connection = await asyncpg.connect(servers.admin_url)
        await connection.execute("create database isthmus_template")
        await connection.close()
        await migrate(_with_name(servers.admin_url, "isthmus_template"))

    asyncio.run(make())
    return "isthmus_template"


@asynccontextmanager
async def fresh_database(servers: EmbeddedServers, template: str) -> AsyncIterator[Database]:
    name = f"test_{os.getpid()}_{next(_numbers)}"
    await _execute(servers.admin_url, f"create database {name} template {template} strategy file_copy")
    yield Database(_with_name(servers.app_url, name), _with_name(servers.admin_url, name))
    await _execute(servers.admin_url, f"drop database {name} with (force)")


async def _execute(url: str, statement: str) -> None:
    """On a connection of its own: the server may be another by the time that a test ends."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def database(servers: EmbeddedServers, template: str) -> AsyncIterator[Database]:
    async with fresh_database(servers, template) as made:
        yield made


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.admin_url)
    yield connection
    await connection.close()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(datetime(2026, 11, 23, 12, tzinfo=UTC))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path, sca=CODES)


@pytest.fixture
async def side(settings: Settings, database: Database, clock: SettableClock) -> AsyncIterator[WriteSide]:
    """The write side on a database of its own, with a clock that stands still until the test moves it."""
    async with write_side(settings, database.url, clock) as parts:
        yield parts


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    not_run = [report for report in terminalreporter.getreports("skipped") if NO_CHROMIUM in str(report.longrepr)]
    if not_run:
        terminalreporter.write_line(f"{len(not_run)} browser tests not run: no Chromium on this machine's PATH")
