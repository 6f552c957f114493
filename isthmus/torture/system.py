"""A whole system of its own, in one directory, with a fault proxy in every wire: PostgreSQL, Valkey, Kafka, issuer, serves, works, and
a bank that never dies: banks forget nothing.

Whatever dies is started again after a moment, as a supervisor would. Its methods belong to the main thread (see `runtime.launch`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import asyncpg
from redis.asyncio import Redis

from isthmus.runtime.child import Child
from isthmus.runtime.data_directory import DataDirectory
from isthmus.runtime.endpoints import Endpoints, base_url
from isthmus.runtime.sandbox_keys import ensure_signing_key, register
from isthmus.runtime.sandbox_wiring import signing_key
from isthmus.runtime.servers import kafka, postgres, valkey
from isthmus.settings import LOOPBACK, Settings, load_settings
from isthmus.torture.apps import ISSUER, READY_S, SANDBOX, Apps
from isthmus.torture.last_words import LastWords
from isthmus.torture.proxy import FaultProxy
from isthmus.torture.sabotages import find

SERVERS = (postgres.NAME, valkey.NAME, kafka.NAME)
_POLL_S = 0.1
_RESTART_S = (0.1, 0.6)


@dataclass
class System:
    """`start` and `aclose` frame its life. `sabotage` names a known bug that its serves and works are started with."""

    root: Path
    chance: random.Random
    fsync: bool = True
    serves: tuple[str, ...] = ("serve-1", "serve-2")
    works: tuple[str, ...] = ("work-1", "work-2")
    sabotage: str | None = None
    on_death: Callable[[str], None] = lambda _: None
    """Told the name of whatever is started again."""
    favoured: str | None = None
    """The server that all clients go to, until it does not answer."""
    proxies: dict[str, FaultProxy] = field(default_factory=dict)
    """By wire: `serve-1>postgres`, `work-2>valkey`, `all>kafka`, `client>serve-1` …"""
    lives: dict[str, int] = field(default_factory=dict)
    """How often each was started."""
    _children: dict[str, Child] = field(default_factory=dict)
    _keepers: list[asyncio.Task[None]] = field(default_factory=list)
    _paused: set[int] = field(default_factory=set)
    _held: ExitStack = field(default_factory=ExitStack)

    async def start(self) -> None:
        """Returns once everything is ready. Raises ChildError, TimeoutError."""
        data = self.data = DataDirectory(self.root)
        data.make()
        self._held.enter_context(data.lock())
        ports = self._ports = {name: data.port(name) for name in (*SERVERS, ISSUER, SANDBOX, *self.serves, *self.works)}
        await self._proxy("all", kafka.NAME)
        await self._proxy("all", SANDBOX)
        self.settings: Settings = load_settings(data_dir=self.root, api={"mode": "development"})
        specs = (
            postgres.spec(data, ports[postgres.NAME], fsync=self.fsync),
            valkey.spec(data, ports[valkey.NAME]),
            kafka.spec(ports[kafka.NAME], advertised_port=self.proxies["all>kafka"].port),
        )
        for spec in specs:
            await self._spawn(Child(spec, data))
        await self._until(lambda: all(self._answers(name) for name in SERVERS), "the servers")
        await self._shape()
        for app in (*self.serves, *self.works):
            for server in (postgres.NAME, valkey.NAME):
                await self._proxy(app, server)
        for name in self.serves:
            await self._proxy("client", name)
        public_key = await self._signing_key()
        for spec in self._apps().specs():
            await self._spawn(Child(spec, data))
        self._keepers = [asyncio.create_task(self._keep(child)) for child in self._children.values()]
        await self.ready()
        await register(self.bank_url, public_key)

    async def aclose(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self.wake_all()
        for servers in (False, True):
            group = [child for name, child in self._children.items() if (name in SERVERS) is servers]
            for child in group:
                child.ask_to_stop()
            for child in group:
                await asyncio.to_thread(child.stop)
        for proxy in self.proxies.values():
            await proxy.aclose()
        self._held.close()

    # -- where things are --------------------------------------------------------------------------------------------

    @property
    def admin_url(self) -> str:
        return postgres.admin_url(self.data, self._ports[postgres.NAME])

    @property
    def kafka_address(self) -> str:
        return kafka.url(self._ports[kafka.NAME])

    @property
    def bank_url(self) -> str:
        """The bank itself, past the proxy."""
        return base_url(LOOPBACK, self._ports[SANDBOX])

    def serve_base(self, name: str) -> str:
        """The server itself, past the proxy."""
        return base_url(LOOPBACK, self._ports[name])

    def client_url(self, name: str) -> str:
        return f"http://{LOOPBACK}:{self.proxies[f'client>{name}'].port}/graphql"

    def wires(self, app_prefix: str, server: str) -> list[FaultProxy]:
        """The proxies between apps whose name begins so and a server."""
        return [p for name, p in self.proxies.items() if name.startswith(app_prefix) and name.endswith(f">{server}")]

    def redis(self) -> Redis:
        return Redis.from_url(valkey.url(self.data, self._ports[valkey.NAME]), socket_timeout=2.0)

    def pids(self, names: tuple[str, ...]) -> list[int]:
        return [pid for name in names if (pid := self._children[name].pid) is not None]

    # -- what is done to it ------------------------------------------------------------------------------------------

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> bool:
        """Whether it ran."""
        pid = self._children[name].pid
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    def kill_all(self) -> int:
        return sum(self.kill(name) for name in self._children if name != SANDBOX)

    async def kill_backend(self) -> bool:
        """One of PostgreSQL's own processes that serves us: the whole server then starts anew."""
        try:
            connection = await asyncpg.connect(self.admin_url, timeout=2)
            try:
                rows = await connection.fetch(
                    "select pid from pg_stat_activity where application_name like 'isthmus%' and pid <> pg_backend_pid()"
                )
            finally:
                connection.terminate()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        if not rows:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.chance.choice(rows)["pid"], signal.SIGKILL)
            return True
        return False

    async def die_at(self, name: str, points: Sequence[str], within_s: float) -> str | None:
        """It is killed, and started again to die at whichever of these fail points comes first. Returns that; None where none came. The
        life after that one is as any."""
        child = self._children[name]
        whole, before, said = child.spec, child.last_pid, LastWords(child.log_file, points)
        armed = ",".join((whole.environment.get("ISTHMUS_FAIL", ""), *(f"{point}:1:kill" for point in points)))
        child.spec = replace(whole, environment={**whole.environment, "ISTHMUS_FAIL": armed})
        self.kill(name)
        until, came, told = time.monotonic() + within_s, None, name not in self.serves
        try:
            while came is None and time.monotonic() < until:
                await asyncio.sleep(_POLL_S)
                if child.last_pid != before:
                    child.spec = whole
                    if not told and await asyncio.to_thread(self._answers, name):
                        self.favoured, told = name, True
                came = said.found()
        finally:
            child.spec = whole
            if came is None:
                self.kill(name)
        return came

    async def pause(self, name: str, seconds: float) -> bool:
        pid = self._children[name].pid
        if pid is None:
            return False
        os.kill(pid, signal.SIGSTOP)
        self._paused.add(pid)
        await asyncio.sleep(seconds)
        self._wake(pid)
        return True

    def wake_all(self) -> None:
        for pid in list(self._paused):
            self._wake(pid)

    def _wake(self, pid: int) -> None:
        self._paused.discard(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    async def heal(self) -> None:
        """All faults off. Returns once everything is ready. Raises TimeoutError naming what is not."""
        for proxy in self.proxies.values():
            proxy.heal()
        self.wake_all()
        await self.ready()

    async def some_serve_answers(self, within_s: float) -> None:
        """Or the time is over."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            if await asyncio.to_thread(lambda: any(self._answers(name) for name in self.serves)):
                return
            await asyncio.sleep(_POLL_S)

    async def ready(self) -> None:
        await self._until(lambda: all(self._answers(name) for name in self._children), "the processes")

    # -- how it is kept running --------------------------------------------------------------------------------------

    async def _spawn(self, child: Child) -> None:
        await asyncio.to_thread(child.spec.prepare)
        child.spawn()
        self._children[child.name] = child
        self.lives[child.name] = self.lives.get(child.name, 0) + 1

    async def _keep(self, child: Child) -> None:
        while True:
            await asyncio.sleep(_POLL_S)
            if child.exit_code is None:
                continue
            self.lives[child.name] += 1  # from its death on, not from its start: its clients are to know
            self.on_death(child.name)
            await asyncio.sleep(self.chance.uniform(*_RESTART_S))
            if child.name not in SERVERS:
                while not await asyncio.to_thread(lambda: all(self._answers(name) for name in SERVERS)):  # noqa: ASYNC110 - nobody tells when
                    await asyncio.sleep(_POLL_S)
            with contextlib.suppress(OSError):
                await asyncio.to_thread(child.spec.prepare)
                child.spawn()

    def _answers(self, name: str) -> bool:
        return self._children[name].answers()

    async def _until(self, holds: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + READY_S
        while not await asyncio.to_thread(holds):
            if time.monotonic() > until:
                silent = [name for name in self._children if not await asyncio.to_thread(self._answers, name)]
                raise TimeoutError(f"{what}: {', '.join(silent)} did not answer within {READY_S:.0f} s")
            await asyncio.sleep(_POLL_S)

    async def _shape(self) -> None:
        from isthmus.migrations import migrate

        await postgres.prepare_database(self.data, self._ports[postgres.NAME])
        await migrate(self.admin_url, app_role=postgres.APP_ROLE)
        if self.sabotage is not None and (sql := find(self.sabotage).sql):
            connection = await asyncpg.connect(self.admin_url)
            await connection.execute(sql)
            await connection.close()
        endpoints = Endpoints(
            database_url=postgres.app_url(self.data, self._ports[postgres.NAME]),
            admin_url=self.admin_url,
            redis_url=valkey.url(self.data, self._ports[valkey.NAME]),
            kafka_url=kafka.url(self.proxies["all>kafka"].port),
            kafka_embedded=True,
            issuer_url=base_url(LOOPBACK, self._ports[ISSUER]),
            api_url=self.serve_base(self.serves[0]),
            sandbox_url=self.bank_url,
        )
        self.endpoints = endpoints
        self.data.write_running({"pid": os.getpid(), "endpoints": asdict(endpoints)})

    async def _proxy(self, source: str, target: str) -> None:
        proxy = FaultProxy(LOOPBACK, self._ports[target])
        await proxy.start()
        self.proxies[f"{source}>{target}"] = proxy

    def _apps(self) -> Apps:
        return Apps(
            self.data,
            self.settings,
            self.endpoints,
            self._ports,
            self.proxies,
            self.serves,
            self.works,
            self.sabotage,
        )

    async def _signing_key(self) -> str:
        """The public half of what payments are signed with."""
        file = signing_key(self.settings, self.data)
        assert file is not None, "the banks are the sandbox's"
        return await ensure_signing_key(self.settings, self.endpoints.database_url, file)
