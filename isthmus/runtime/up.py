"""`isthmus up`: everything on one machine, started in order, kept running, and ended together.

Servers first (side by side), then the database's shape, the demo users, and our own processes; the demo's movements last.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from isthmus.runtime.child import Child, Spec
from isthmus.runtime.data_directory import DataDirectory
from isthmus.runtime.device_wiring import runs_in_development
from isthmus.runtime.endpoints import without_password
from isthmus.runtime.moved_clock import refuse_moved
from isthmus.runtime.plan import Plan, is_app, make_plan
from isthmus.runtime.servers import kafka, postgres
from isthmus.runtime.steps import Steps
from isthmus.runtime.supervisor import Supervisor
from isthmus.settings import Settings

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CAUGHT_UP_S = 30.0
_POLL_S = 0.02
#: Read while the servers start, which leaves a processor idle.
_NEEDED_SOON = (
    "isthmus.migrations",
    "isthmus.auth.provider.users",
    "isthmus.cli.demo_data",
    "isthmus.read_models.positions",
)

Say = Callable[[str], None]


async def up(settings: Settings, *, demo: bool, steps: Steps, say: Say) -> None:
    """Returns after SIGINT, SIGTERM or SIGHUP, with nothing left running. `say` gets the lines for standard output.

    Raises SettingsError where it must not start, ChildError where something cannot be kept running.
    """
    data = DataDirectory(settings.data_dir)
    data.make()
    if not runs_in_development(settings):
        refuse_moved(data.path)
    with data.lock():
        if ended := data.end_leftovers():
            steps.say(f"ended what an earlier run left behind: {', '.join(ended)}")
        plan = make_plan(settings, data)
        await _Run(plan, steps, say, demo=demo).until_stopped()


class _Run:
    def __init__(self, plan: Plan, steps: Steps, say: Say, *, demo: bool) -> None:
        self._plan = plan
        self._steps = steps
        self._say = say
        self._demo = demo
        self._supervisor = Supervisor(plan.data, steps.say)
        self._stop, self._stop_at_once = asyncio.Event(), asyncio.Event()
        self._public_key: str | None = None
        self._why = "something failed, which is told at the end"

    async def until_stopped(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)
        facts = {
            "pid": os.getpid(),
            "started_at": time.time(),
            "development": runs_in_development(self._plan.settings),
            "endpoints": asdict(self._plan.endpoints),
        }
        self._plan.data.write_running(facts)
        starting = asyncio.create_task(self._start())
        stopped = asyncio.create_task(self._stop.wait())
        ends: set[asyncio.Future[Any]] = {stopped, self._supervisor.failed}
        try:
            await asyncio.wait({starting, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and not self._stop.is_set():
                starting.result()
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._supervisor.failed.done():
                self._supervisor.failed.result()
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise RuntimeError("starting was cancelled from within") from None
        finally:
            starting.cancel()
            stopped.cancel()
            await asyncio.gather(starting, stopped, return_exceptions=True)
            await self._end()

    async def _start(self) -> None:
        began = time.monotonic()
        plan = self._plan
        async with asyncio.TaskGroup() as beside:
            if plan.sandbox is not None:  # it waits for nobody, and nobody for it
                beside.create_task(self._start_child(plan.sandbox))
            await self._start_product()
        if self._public_key is not None:
            from isthmus.runtime.sandbox_keys import register

            await register(plan.endpoints.sandbox_url, self._public_key)
        self._steps.close()
        self._steps.say(f"ready after {time.monotonic() - began:.1f} s; logs are in {plan.data.path / 'logs'}")
        for line in self._lines():
            self._say(line)

    async def _start_product(self) -> None:
        plan, steps = self._plan, self._steps
        soon = asyncio.create_task(asyncio.to_thread(_import_soon))
        async with asyncio.TaskGroup() as servers:
            for spec in plan.servers:
                servers.create_task(self._start_child(spec))
        with steps.step("database"):
            await soon
            await self._shape_database()
        if plan.signing_key is not None:
            from isthmus.runtime.sandbox_keys import ensure_signing_key

            database_url = plan.endpoints.database_url
            self._public_key = await ensure_signing_key(plan.settings, database_url, plan.signing_key)
        if plan.issuer_is_ours:
            with steps.step("demo users"):
                from isthmus.auth.provider.users import ensure_demo_users

                await ensure_demo_users(plan.settings, plan.endpoints)
                await self._register_playground()
        async with asyncio.TaskGroup() as group:
            for spec in plan.apps:
                group.create_task(self._start_child(spec))
            if self._demo:
                group.create_task(self._seed())

    async def _register_playground(self) -> None:
        from isthmus.auth.provider.clients import register_playground

        plan = self._plan
        await register_playground(plan.endpoints.database_url, plan.settings.playground.client_id, *plan.page_urls)

    async def _start_child(self, spec: Spec) -> None:
        with self._steps.step(spec.name):
            child = await self._supervisor.start(spec)
        if spec.name == kafka.NAME:
            self._supervisor.bound_memory(child, self._plan.settings.kafka.embedded_memory_mib)

    async def _shape_database(self) -> None:
        from isthmus.migrations import migrate

        plan = self._plan
        if plan.database_port is not None:
            await postgres.prepare_database(plan.data, plan.database_port)
        await migrate(
            plan.endpoints.admin_url, app_role=app_role(plan.endpoints.database_url, plan.endpoints.admin_url)
        )

    async def _seed(self) -> None:
        """Also waits until queries show it: `ready` says that they do."""
        if not self._plan.issuer_is_ours:
            self._steps.say("no demo users or data: the issuer is not ours (ISTHMUS_ISSUER__URL)")
            return
        from isthmus.cli.demo_data import seed

        with self._steps.step("demo data"):
            position = await seed(self._plan.settings, self._plan.endpoints)
            await caught_up(self._plan.endpoints.database_url, position)

    def _lines(self) -> list[str]:
        endpoints = self._plan.endpoints
        ours = self._plan.database_port is not None
        lines = [
            f"database   {endpoints.admin_url if ours else without_password(endpoints.database_url)}",
            f"issuer     {endpoints.issuer_url}",
        ]
        if self._plan.issuer_is_ours:
            from isthmus.auth.provider.users import DEMO_PASSWORD, DEMO_USERS

            width = max(len(user.email) for user in DEMO_USERS)
            for user in DEMO_USERS:
                roles = ", ".join(role.value for role in user.roles)
                lines.append(f"demo user  {user.email:<{width}}  password {DEMO_PASSWORD}  {roles}")
        if endpoints.sandbox_url:
            lines.append(f"sandbox    {endpoints.sandbox_url}")
        if self._plan.playground_url is not None:
            lines.append(f"playground {self._plan.playground_url}")
            lines.append(f"banks      {self._plan.playground_url.removesuffix('playground')}bank-links")
            lines.append(f"payments   {self._plan.page_urls[-1]}/payments")
        return [*lines, f"ready {endpoints.api_url}/graphql"]

    def _signalled(self, number: signal.Signals) -> None:
        self._why = number.name
        if self._stop.is_set():
            self._stop_at_once.set()  # someone is in a hurry
        self._stop.set()

    async def _end(self) -> None:
        """Ours first, while their servers still answer; then the servers."""
        self._steps.close()
        self._steps.say(f"stopping: {self._why}")
        began = time.monotonic()
        groups: tuple[Callable[[Child], bool], ...] = (lambda c: is_app(c.name), lambda c: not is_app(c.name))
        await self._supervisor.stop(groups, at_once=self._stop_at_once)
        self._plan.data.remove_running()
        self._steps.say(f"stopped after {time.monotonic() - began:.1f} s; nothing is left running")


def app_role(database_url: str, admin_url: str) -> str | None:
    """The role to grant to: none where the owner of the tables is the one who signs in."""
    user = urlsplit(database_url).username
    return None if user is None or user == urlsplit(admin_url).username else user


async def caught_up(database_url: str, position: int) -> None:
    """Wait until every projection has `position`."""
    import asyncpg

    from isthmus.read_models.positions import stored_positions

    connection = await asyncpg.connect(database_url)
    try:
        async with asyncio.timeout(_CAUGHT_UP_S):
            while min((await stored_positions(connection)).values()) < position:  # noqa: ASYNC110  # in another process
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise TimeoutError(f"queries do not show the demo data after {_CAUGHT_UP_S:.0f} s: see work's log") from None
    finally:
        await connection.close()


def _import_soon() -> None:
    for name in _NEEDED_SOON:
        import_module(name)
