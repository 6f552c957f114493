"""`bench api`: the mutation `transferInternally` through HTTP, against the processes that `isthmus up` starts (development mode).

Beside it, in turns: the naive handler behind stock Strawberry (`api_baseline.py`), on the same PostgreSQL. The clients are a process
of their own. While the product is measured, `work` relays and projects what is written, on the same processors.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

import asyncpg

from isthmus.auth.provider.users import DEMO_PASSWORD, DEMO_USERS
from isthmus.auth.sign_in import sign_in
from isthmus.bench import api_baseline, api_clients, naive
from isthmus.bench.book import REFERENCE, Book, make_book
from isthmus.bench.place import database_named, violations
from isthmus.bench.report import Options, Report, table
from isthmus.domain.identifiers import person_id
from isthmus.graphql.ids import Kind, encode
from isthmus.migrations import migrate
from isthmus.runtime.data_directory import DataDirectory
from isthmus.runtime.endpoints import Endpoints, resolve
from isthmus.runtime.probes import http_status
from isthmus.runtime.telemetry import configure_logging
from isthmus.runtime.wiring import write_side
from isthmus.settings import LOOPBACK, Settings, load_settings

CLIENTS = (1, 8, 32, 128, 256)
_ACCOUNTS = 200
_OWNERS = DEMO_USERS[:2]
_NAIVE = "bench_naive"
_READY = re.compile(r"ready (http://\S+)/graphql")
_START_S = 90.0
_RATE = "commands/s"


@dataclass(frozen=True)
class _Target:
    name: str
    url: str
    accounts: list[tuple[str, str]]


def run(options: Options, data_dir: Path) -> Report:
    report = Report("api")
    options.say("starting the product …")
    with up(data_dir) as base:
        settings = load_settings(data_dir=data_dir / "data")
        configure_logging(
            settings.model_copy(update={"log": settings.log.model_copy(update={"level": "ERROR"})}), "bench"
        )
        endpoints = resolve(settings)
        naive_url = database_named(endpoints.admin_url, _NAIVE)
        options.say("making accounts …")
        product, baseline = asyncio.run(_prepare(settings, endpoints, base, naive_url))
        port = DataDirectory(settings.data_dir).port("bench")
        plan = api_baseline.Plan(database_named(endpoints.database_url, _NAIVE), port, baseline.texts)
        with _baseline(plan):
            targets = (
                _Target("api", f"{base}/graphql", product),
                _Target("api_naive", f"http://{LOOPBACK}:{port}/", baseline.accounts),
            )
            for clients in CLIENTS:
                for target in targets:
                    _load(report, options, target, clients)
        for url, where, without in ((endpoints.admin_url, "product", ()), (naive_url, "naive", naive.NOT_KEPT)):
            options.say(f"verifying {where} …")
            report.violations += asyncio.run(violations(url, where, without=without))
    for clients, suffix in ((256, ""), (32, "_32")):
        report.ratio(f"api_vs_naive{suffix}", f"api_{clients}", f"api_naive_{clients}")
    report.tables.append(_table(report))
    return report


@dataclass(frozen=True)
class _Baseline:
    accounts: list[tuple[str, str]]
    texts: dict[str, str]


async def _prepare(
    settings: Settings, endpoints: Endpoints, base: str, naive_url: str
) -> tuple[list[tuple[str, str]], _Baseline]:
    """Accounts of two demo users in both databases: (token or payer, global account id)."""
    owners = [person_id(settings.issuer.name, user.subject) for user in _OWNERS]
    tokens = {
        owner: (await sign_in(base, user.email, DEMO_PASSWORD)).access_token
        for owner, user in zip(owners, _OWNERS, strict=True)
    }
    connection = await asyncpg.connect(endpoints.admin_url)
    await connection.execute(f"create database {_NAIVE}")
    await connection.close()
    await migrate(naive_url)
    ours, _ = await make_accounts(settings, endpoints.database_url, owners)
    theirs, texts = await make_accounts(settings, database_named(endpoints.database_url, _NAIVE), owners)
    await naive.prepare(naive_url)
    accounts = [(str(owner), encode(Kind.ACCOUNT, account)) for owner, account in theirs.accounts]
    return (
        [(tokens[owner], encode(Kind.ACCOUNT, account)) for owner, account in ours.accounts],
        _Baseline(accounts, texts),
    )


async def make_accounts(settings: Settings, url: str, owners: Sequence[UUID]) -> tuple[Book, dict[str, str]]:
    async with write_side(settings, url) as side:
        book = await make_book(side.commands, [owners[n % len(owners)] for n in range(_ACCOUNTS)])
        async with side.pool.acquire() as connection:
            sealed = await side.texts.seal_many(connection, [(owner, REFERENCE) for owner in owners])
    return book, {str(owner): text for owner, text in zip(owners, sealed, strict=True)}


def _load(report: Report, options: Options, target: _Target, clients: int) -> None:
    answered = api_clients.answered(api_clients.Plan(target.url, clients, options.seconds, target.accounts))
    name = f"{target.name}_{clients}"
    report.add(name, answered.per_second, _RATE)
    report.add(f"{name}_p50", answered.p50_ms, "ms")
    report.add(f"{name}_p99", answered.p99_ms, "ms")
    report.add(f"{name}_refused", answered.refused, "requests")
    options.say(f"{name}: {answered.per_second:,.0f} {_RATE}, p99 {answered.p99_ms:.1f} ms")


def product_environment() -> dict[str, str]:
    """Ours without settings: what runs here is as it comes, but for people who pay one another without being asked."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
    return {**clean, "ISTHMUS_SCA__TRANSFER_ABOVE": '{"EUR": "1000000"}'}


@contextmanager
def up(data_dir: Path, more: Mapping[str, str] | None = None) -> Iterator[str]:
    """`isthmus up` on a folder of its own, with `more` in its environment; yields the API's base address."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "isthmus",
        "up",
        "--no-demo",
        "--port",
        "0",
        "--data-dir",
        str(data_dir / "data"),
    ]
    with open(data_dir / "up.log", "w") as log:
        environment = {**product_environment(), **(more or {})}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)  # noqa: S603
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if ready := _READY.match(line):
                    yield ready[1]
                    break
            else:
                raise RuntimeError(f"`isthmus up` did not start: {(data_dir / 'up.log').read_text()[-2_000:]}")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@contextmanager
def _baseline(plan: api_baseline.Plan) -> Iterator[None]:
    command = [sys.executable, "-P", "-m", "isthmus.bench.api_baseline"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)  # noqa: S603
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(plan)))
        process.stdin.close()
        deadline = time.monotonic() + _START_S
        while not http_status(f"http://{LOOPBACK}:{plan.port}/"):  # it answers, whatever it says
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the baseline's server did not start")
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _table(report: Report) -> str:
    rows = []
    for clients in CLIENTS:
        ours, theirs = f"api_{clients}", f"api_naive_{clients}"
        figures = [
            f"{report.value(name + end):,.{places}f}"
            for name in (ours, theirs)
            for end, places in (("", 0), ("_p50", 1), ("_p99", 1))
        ]
        rows.append((f"{clients} clients", *figures, f"{report.value(ours) / report.value(theirs):.1f}x"))
    return table(("", _RATE, "p50 ms", "p99 ms", "naive", "p50 ms", "p99 ms", "ratio"), rows)
