"""F46: a migration that is interrupted is run again; one that waits for the product gives up before the product queues behind it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import asyncpg
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.engine import Engine

from isthmus.migrations import migrate
from isthmus.migrations.run import config
from isthmus.runtime.servers import EmbeddedServers
from isthmus.runtime.wiring import write_side
from isthmus.settings import Settings
from tests.conftest import Database, _execute, _with_name
from tests.write_models.driver import Driver, assert_sound

#: The suite interrupts after every so-manieth statement; FAULT_POINTS=all after each one.
STRIDE = 1 if os.environ.get("FAULT_POINTS") == "all" else 29
REVISIONS = [one.revision for one in reversed(list(ScriptDirectory.from_config(config("", None)).walk_revisions()))]
_EXISTS = """
select format('%s.%s %s %s', table_schema, table_name, column_name, data_type) as what from information_schema.columns
where table_schema not in ('pg_catalog', 'information_schema')
union all select format('%s(%s) %s', p.oid::regproc, pg_get_function_identity_arguments(p.oid), p.prorettype::regtype)
from pg_proc p where pronamespace in ('public'::regnamespace)
union all select format('%s %s on %s.%s', grantee, privilege_type, table_schema, table_name)
from information_schema.role_table_grants where grantee = 'isthmus_app'"""


@dataclass
class Interruption:
    """Ends the session that migrates, from another one, once it has run `after` statements. `ran` counts them."""

    admin_url: str
    after: int
    ran: int = 0
    revisions: list[str] = field(default_factory=list)

    def passed(self, connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.ran += 1
        if self.ran == self.after:
            pid = connection.connection.driver_connection.get_server_pid()
            ending = threading.Thread(target=asyncio.run, args=(self._end(pid),))
            ending.start()
            ending.join()

    async def _end(self, pid: int) -> None:
        connection = await asyncpg.connect(self.admin_url)
        await connection.fetchval("select pg_terminate_backend($1, 5000)", pid)
        await connection.close()


@contextmanager
def interrupted(admin_url: str, after: int) -> Iterator[Interruption]:
    one = Interruption(admin_url, after)
    event.listen(Engine, "after_cursor_execute", one.passed)
    try:
        yield one
    finally:
        event.remove(Engine, "after_cursor_execute", one.passed)


@asynccontextmanager
async def empty_database(servers: EmbeddedServers) -> AsyncIterator[Database]:
    name = f"migrated_{uuid4().hex[:12]}"
    await _execute(servers.admin_url, f"create database {name}")
    yield Database(_with_name(servers.app_url, name), _with_name(servers.admin_url, name))
    await _execute(servers.admin_url, f"drop database {name} with (force)")


async def _snapshot(admin_url: str) -> set[str]:
    connection = await asyncpg.connect(admin_url)
    found = {row["what"] for row in await connection.fetch(_EXISTS)}
    await connection.close()
    return found


async def _at(admin_url: str) -> str | None:
    connection = await asyncpg.connect(admin_url)
    try:
        if await connection.fetchval("select to_regclass('public.alembic_version')") is None:
            return None
        found: str | None = await connection.fetchval("select version_num from public.alembic_version")
        return found
    finally:
        await connection.close()


async def test_f46_a_migration_interrupted_after_any_statement_is_run_again_to_the_same_schema(
    servers: EmbeddedServers, template: str, settings: Settings
) -> None:
    """One database: whatever was interrupted left a whole revision, and the next attempt goes further."""
    whole = await _snapshot(_with_name(servers.admin_url, template))
    async with empty_database(servers) as database:
        cuts, after, seen = 0, 1, [await _at(database.admin_url)]
        while True:
            with interrupted(database.admin_url, after) as attempt:
                try:
                    await migrate(database.admin_url)
                    break
                except Exception:  # however the driver calls it, the session is gone
                    assert attempt.ran >= after
            cuts += 1
            now = await _at(database.admin_url)
            assert now is None or now in REVISIONS
            # A revision that came through is left behind: count from the next one's beginning.
            after = 1 if now != seen[-1] else after + STRIDE
            seen.append(now)
        print(f"interrupted {cuts} times over {len(REVISIONS)} revisions, left at {sorted({str(one) for one in seen})}")
        assert cuts >= 5
        assert await _at(database.admin_url) == REVISIONS[-1]
        assert await _snapshot(database.admin_url) == whole
        async with write_side(settings, database.url) as side:
            await Driver(side.commands).funded(uuid4(), "1")
            await assert_sound(side.pool)


async def test_f46_what_the_version_before_reads_and_writes_is_still_there_in_the_next(
    servers: EmbeddedServers,
) -> None:
    """Old and new serve together while a release is rolled out: a revision may add, and take nothing away."""
    from alembic import command

    async with empty_database(servers) as database:
        before: set[str] = set()
        for revision in REVISIONS:
            await asyncio.to_thread(command.upgrade, config(database.admin_url, "isthmus_app"), revision)
            now = await _snapshot(database.admin_url)
            assert before - now == set(), revision
            # 0004 widens a check, 0026 adds an index.
            assert now > before or revision in ("0004", "0026"), f"{revision} is seen to add something"
            before = now


async def test_f46_every_revision_has_short_limits(servers: EmbeddedServers) -> None:
    """Whatever a migration waits for, writers queue behind it: it gives up first, and is run again later."""
    limits: list[tuple[str, str]] = []

    def asked(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(("INSERT INTO alembic_version", "UPDATE alembic_version")):
            lock = connection.exec_driver_sql("show lock_timeout").scalar()
            limits.append((lock, connection.exec_driver_sql("show statement_timeout").scalar()))

    event.listen(Engine, "after_cursor_execute", asked)
    try:
        async with empty_database(servers) as database:
            await migrate(database.admin_url)
    finally:
        event.remove(Engine, "after_cursor_execute", asked)
    assert limits == [("4s", "1min")] * len(REVISIONS)
