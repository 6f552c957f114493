"""`bench overhead`: what it costs to be seen at night: tracing, and the verifier that runs all the time.

The mutation of `bench api` at 32 clients, in turns: `plain` (no tracing, no verifier), `verified` (the verifier runs), `traced_some`
(1 % of the requests) and `traced_all`, each a `serve` of its own on the same servers. Processor time a command says what it costs, and
whom: it moves less with the machine's other work than commands per second do.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

import asyncpg
import httpx
import psutil

from isthmus.auth.provider.users import DEMO_PASSWORD, DEMO_USERS
from isthmus.auth.sign_in import sign_in
from isthmus.bench import api_clients
from isthmus.bench.api import make_accounts, product_environment, up
from isthmus.bench.place import violations
from isthmus.bench.processor import family_s
from isthmus.bench.report import Options, Report, table
from isthmus.domain.identifiers import person_id
from isthmus.graphql.ids import Kind, encode
from isthmus.read_models.positions import stored_positions
from isthmus.runtime.endpoints import Endpoints, resolve
from isthmus.runtime.telemetry import configure_logging
from isthmus.runtime.work import VERIFIER
from isthmus.settings import LOOPBACK, Settings, load_settings

CLIENTS, ROUNDS = 32, 3
#: (name, share of the requests that is traced, whether the verifier runs)
VARIANTS = (("plain", None, False), ("verified", None, True), ("traced_some", 0.01, False), ("traced_all", 1.0, False))
_COSTS = ("serve", "work", "database")
_READY = re.compile(r"ready (http://\S+)/graphql")
_DONE = re.compile(r'^isthmus_commands_total\{command="TransferInternally",outcome="done"\} (\S+)$', re.MULTILINE)
_HOLD = "update leases set holder = gen_random_uuid(), epoch = epoch + 1, expires_at = now() + interval '1 day' where name = $1"
_FREE = "update leases set expires_at = now() where name = $1"
_CAUGHT_UP_S = 60.0


@dataclass(frozen=True)
class _Served:
    base: str
    process: psutil.Process


@dataclass(frozen=True)
class _Measured:
    """Commands per second, and seconds of processor time a command, by who spent them."""

    per_second: float
    costs_s: Mapping[str, float]


def run(options: Options, data_dir: Path) -> Report:
    report, figures = Report("overhead"), dict[str, list[_Measured]]({name: [] for name, _, _ in VARIANTS})
    options.say("starting the product …")
    with up(data_dir) as base, _collector() as collector, ExitStack() as stack:
        settings = load_settings(data_dir=data_dir / "data")
        configure_logging(
            settings.model_copy(update={"log": settings.log.model_copy(update={"level": "ERROR"})}), "bench"
        )
        endpoints = resolve(settings)
        accounts = asyncio.run(_accounts(settings, endpoints, base))
        parts = _parts(settings)
        serves = {name: stack.enter_context(_serve(data_dir, name, collector, share)) for name, share, _ in VARIANTS}
        for _ in range(ROUNDS):
            for name, _share, verified in VARIANTS:
                asyncio.run(_verifier(endpoints, runs=verified))
                measured = _measure(options, endpoints, serves[name], parts, accounts)
                figures[name].append(measured)
                options.say(f"{name}: {measured.per_second:,.0f} commands/s")
        options.say("verifying …")
        report.violations += asyncio.run(violations(endpoints.admin_url, "product"))
    for name, some in figures.items():
        report.add(name, median(one.per_second for one in some), "commands/s")
        for part in _COSTS:
            report.add(f"{name}_{part}", median(one.costs_s[part] for one in some) * 1e6, "us/command")
    for name in ("verified", "traced_some", "traced_all"):
        report.ratio(f"{name}_vs_plain", name, "plain")
    rows = [
        (name, f"{report.value(name):,.0f}", *(f"{report.value(f'{name}_{part}'):,.0f}" for part in _COSTS))
        for name in figures
    ]
    report.tables.append(table(("", "commands/s", *(f"{part} us" for part in _COSTS)), rows))
    return report


async def _accounts(settings: Settings, endpoints: Endpoints, base: str) -> list[tuple[str, str]]:
    """(token of the owner, global id)."""
    owners = [person_id(settings.issuer.name, user.subject) for user in DEMO_USERS[:2]]
    tokens = {
        owner: (await sign_in(base, user.email, DEMO_PASSWORD)).access_token
        for owner, user in zip(owners, DEMO_USERS, strict=False)
    }
    book, _ = await make_accounts(settings, endpoints.database_url, owners)
    return [(tokens[owner], encode(Kind.ACCOUNT, account)) for owner, account in book.accounts]


def _parts(settings: Settings) -> dict[str, psutil.Process]:
    """The processes that `up` started, by what they are called here."""
    running = json.loads((settings.data_dir / "running.json").read_text())
    found = {}
    for child in psutil.Process(running["pid"]).children():
        command = child.cmdline()
        if command[-1:] == ["work"]:
            found["work"] = child
        elif Path(command[0]).name == "postgres":
            found["database"] = child
    return found


@contextmanager
def _serve(data_dir: Path, name: str, collector: str, share: float | None) -> Iterator[_Served]:
    environment = {
        **product_environment(),
        "ISTHMUS_DATA_DIR": str(data_dir / "data"),
        "ISTHMUS_API__MODE": "development",
    }
    if share is not None:
        environment |= {"ISTHMUS_TELEMETRY__OTLP_ENDPOINT": collector, "ISTHMUS_TELEMETRY__SAMPLE_RATIO": str(share)}
    command = [sys.executable, "-P", "-m", "isthmus", "serve", "--port", "0"]
    with open(data_dir / f"{name}.log", "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)  # noqa: S603
        try:
            assert process.stdout is not None
            ready = _READY.match(process.stdout.readline())
            if ready is None:
                raise RuntimeError(f"`isthmus serve` did not start: {(data_dir / f'{name}.log').read_text()[-2_000:]}")
            yield _Served(ready[1], psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait(60)


async def _verifier(endpoints: Endpoints, *, runs: bool) -> None:
    """Let it run, until it has seen all there is; or take its lease away."""
    connection = await asyncpg.connect(endpoints.admin_url)
    try:
        await connection.execute(_FREE if runs else _HOLD, VERIFIER)
        if not runs:
            await asyncio.sleep(2)  # it notices when it renews, every second
            return
        async with asyncio.timeout(_CAUGHT_UP_S):
            while await connection.fetchval("select h.position - v.checked from log_head h, verifier_state v"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    finally:
        await connection.close()


def _measure(
    options: Options,
    endpoints: Endpoints,
    served: _Served,
    parts: Mapping[str, psutil.Process],
    accounts: list[tuple[str, str]],
) -> _Measured:
    processes = {"serve": served.process, **parts}
    before, done = {name: family_s(process.pid) for name, process in processes.items()}, _done(served)
    plan = api_clients.Plan(f"{served.base}/graphql", CLIENTS, options.seconds, accounts)
    answered = api_clients.answered(plan)
    asyncio.run(_until_projected(endpoints))  # that belongs to these commands too
    commands = _done(served) - done
    costs_s = {name: (family_s(process.pid) - before[name]) / commands for name, process in processes.items()}
    return _Measured(answered.per_second, costs_s)


async def _until_projected(endpoints: Endpoints) -> None:
    connection = await asyncpg.connect(endpoints.database_url)
    try:
        head: int = await connection.fetchval("select position from log_head")
        async with asyncio.timeout(_CAUGHT_UP_S):
            while min((await stored_positions(connection)).values()) < head:  # noqa: ASYNC110  # in another process
                await asyncio.sleep(0.05)
    finally:
        await connection.close()


def _done(served: _Served) -> float:
    """Transfers so far."""
    found = _DONE.search(httpx.get(f"{served.base}/metrics", timeout=10).text)
    return float(found[1]) if found else 0.0


@contextmanager
def _collector() -> Iterator[str]:
    """Takes traces and looks at none of them."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
