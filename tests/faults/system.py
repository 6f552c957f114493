"""A system in its parts: every server and process by itself, so that a test can take one away and say for how long.

`up` would start again what a test has killed, within a tenth of a second.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from isthmus.auth.provider.users import DEMO_PASSWORD, ensure_demo_users
from isthmus.auth.sign_in import sign_in
from isthmus.migrations import migrate
from isthmus.runtime.endpoints import Endpoints, base_url
from isthmus.runtime.servers import EmbeddedServers
from isthmus.settings import LOOPBACK, ApiSettings, load_settings
from tests.end_to_end.client import Client
from tests.end_to_end.product import Background, isthmus

#: How long a part stays away. The suite takes a little; FAULT_SECONDS=30 takes what the row says.
OUTAGE_S = float(os.environ.get("FAULT_SECONDS", "2"))
_READY = re.compile(r"^ready (http://127\.0\.0\.1:\d+)")
_DEVELOPMENT = {"ISTHMUS_API__MODE": "development"} if "mode" in ApiSettings.model_fields else {}


@dataclass
class System:
    data_dir: Path
    servers: EmbeddedServers = field(init=False)
    processes: list[Background] = field(default_factory=list)

    def start(self) -> None:
        self.servers = EmbeddedServers(self.data_dir)
        self.servers.start()
        data = self.servers.data
        self.endpoints = Endpoints(
            database_url=self.servers.app_url,
            admin_url=self.servers.admin_url,
            redis_url=self.servers.redis_url,
            kafka_url=self.servers.kafka_url,
            kafka_embedded=True,
            issuer_url=base_url(LOOPBACK, data.port("issuer")),
            api_url=base_url(LOOPBACK, data.port("api")),
        )
        asyncio.run(self._shape())
        data.write_running({"endpoints": vars(self.endpoints)})
        issuer = self.run("issuer", wait=False)
        self.work = self.run("work", wait=False)
        self.serve = self.run("serve", "--port", str(data.port("api")), wait=False)
        for process in (issuer, self.serve):
            process.wait_for(_READY, 60)

    async def _shape(self) -> None:
        await migrate(self.endpoints.admin_url)
        await ensure_demo_users(load_settings(data_dir=self.data_dir), self.endpoints)

    def run(self, *arguments: str, wait: bool = True, **settings: str) -> Background:
        """A process of the product. `settings` are given as ISTHMUS_<name>."""
        named = {f"ISTHMUS_{name}": value for name, value in settings.items()}
        process = Background(self.data_dir, arguments, settings={**_DEVELOPMENT, **named}, cold=False)
        process.start()
        self.processes.append(process)
        if wait and arguments[0] != "work":
            process.wait_for(_READY, 60)
        return process

    def another_serve(self, **settings: str) -> tuple[Background, str]:
        """One more, and its address."""
        process = self.run("serve", "--port", "0", wait=False, **settings)
        return process, process.wait_for(_READY, 60).group(1)

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """One server is killed, and is there again at the same address at the end."""
        self.servers.kill_server(name)
        try:
            yield
        finally:
            self.servers.start_server(name)

    @contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """One server takes connections and says nothing."""
        pid = self.servers.pid(name)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def verify(self) -> str:
        done = isthmus(self.data_dir, "verify", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    async def client(self, name: str, base: str | None = None) -> Client:
        signed_in = await sign_in(self.endpoints.api_url, f"{name}@example.com", DEMO_PASSWORD)
        return Client(f"{base or self.endpoints.api_url}/graphql", signed_in.access_token)

    def stop(self) -> None:
        for process in self.processes:
            if process.process.poll() is None:
                process.process.kill()
                process.process.wait(10)
        self.servers.stop()


async def settle(operator: Client, account: str, amount: str, asset: str = "EUR") -> str:
    """Money from outside. Returns the position."""
    document = (
        "mutation($input: SettleDepositInput!) { settleDeposit(input: $input) { position errors { code message } } }"
    )
    wish = {"accountId": account, "amount": {"amount": amount, "asset": asset}, "reference": str(uuid4())}
    payload = (await operator.ask(document, {"input": wish})).data["settleDeposit"]
    assert payload["errors"] == []
    return str(payload["position"])


async def funded(owner: Client, operator: Client, amount: str) -> str:
    """An account that its owner sees with `amount` in it."""
    account = str((await owner.open())["account"]["id"])
    position = await settle(operator, account, amount)
    document = "query($id: ID!) { node(id: $id) { ... on Account { balance { version } } } }"
    async with asyncio.timeout(60):
        while True:
            answer = await owner.ask(document, {"id": account}, headers={"x-isthmus-position": position})
            if not answer.body.get("errors"):
                return account
            assert answer.code in ("NOT_YET_VISIBLE", "UNAVAILABLE"), answer.body
            await asyncio.sleep(0.1)
