"""`bench ledger`: durable transfers per second through the product's own write model, beside its two baselines in the same run.

(a) `naive.py`: a transaction a command and a round trip a statement. (b) `copying.py`: the same rows by binary COPY, as many a commit
as the product's mean batch. Product and (a) take turns at each number of clients, so that what the machine does meanwhile hits both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import uvloop
from prometheus_client import REGISTRY

from isthmus.bench import copying, naive
from isthmus.bench.book import REFERENCE, Book, done, make_book
from isthmus.bench.load import Measured, closed_loop
from isthmus.bench.naive import NaiveHandler
from isthmus.bench.place import create_database, database_named, embedded_servers, violations
from isthmus.bench.processor import spent
from isthmus.bench.report import Options, Report, table
from isthmus.domain.personal import Sealed
from isthmus.migrations import migrate
from isthmus.runtime.servers import EmbeddedServers
from isthmus.runtime.telemetry import configure_logging
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import Settings, load_settings

CLIENTS = (1, 8, 32, 128, 256)
_TEMPLATE, _PRODUCT, _NAIVE, _COPY = "bench_template", "bench_product", "bench_naive", "bench_copy"
#: More rows than this are not read for COPY: it will not get through them.
_COPY_RATE_MAX = 20_000
_RATE = "commands/s"


def run(options: Options, data_dir: Path) -> Report:
    settings = load_settings(data_dir=data_dir)
    # Each command's log line is written as in `serve`, whose standard error is a file as well.
    with embedded_servers(data_dir) as servers, open(data_dir / "bench.log", "w") as log, redirect_stderr(log):
        configure_logging(settings, "bench")
        return uvloop.run(_measure(options, settings, servers))


@dataclass
class _Bench:
    report: Report
    options: Options
    book: Book
    side: WriteSide
    baseline: NaiveHandler
    postmaster: int

    async def product(self, clients: int, shape: str) -> None:
        batches, before = _commits(), spent(self.postmaster)
        measured = await closed_loop(
            clients, self.options.seconds, lambda _: done(self.side.commands, *self.book.wish(hot=shape == "hot"))
        )
        commits, commands = (after - before for after, before in zip(_commits(), batches, strict=True))
        self._add(f"{shape}_{clients}", measured)
        took = spent(self.postmaster).since(before)
        self.report.add(f"{shape}_{clients}_batch", commands / commits, "commands/commit")
        self.report.add(f"{shape}_{clients}_python", took.here_s / commands * 1e6, "us/command")
        self.report.add(f"{shape}_{clients}_database", took.database_s / commands * 1e6, "us/command")

    async def naive(self, clients: int, shape: str) -> None:
        measured = await closed_loop(
            clients, self.options.seconds, lambda _: self.baseline.run(*self.book.wish(hot=shape == "hot"))
        )
        self._add(f"{_NAIVE_NAMES[shape]}_{clients}", measured)

    def _add(self, name: str, measured: Measured) -> None:
        self.report.add(name, measured.per_second, _RATE)
        self.report.add(f"{name}_p50", measured.p50_ms, "ms")
        self.report.add(f"{name}_p99", measured.p99_ms, "ms")
        self.options.say(f"{name}: {measured.per_second:,.0f} {_RATE}, p99 {measured.p99_ms:.1f} ms")


_NAIVE_NAMES = {"spread": "naive", "hot": "naive_hot"}


async def _measure(options: Options, settings: Settings, servers: EmbeddedServers) -> Report:
    report = Report("ledger")
    options.say("making accounts …")
    book, texts, made = await _make_template(settings, servers)
    for name in (_PRODUCT, _NAIVE, _COPY):
        await create_database(servers, name, _TEMPLATE)
    admin = {name: database_named(servers.admin_url, name) for name in (_PRODUCT, _NAIVE, _COPY)}
    await naive.prepare(admin[_NAIVE])
    async with (
        _product(settings, servers, _PRODUCT) as side,
        naive.naive_pool(database_named(servers.app_url, _NAIVE)) as pool,
    ):
        baseline = NaiveHandler(pool, texts, side.master_key.derive("idempotency"))
        postmaster = servers.pid("postgres")
        assert postmaster is not None, "it was started above"
        bench = _Bench(report, options, book, side, baseline, postmaster)
        for shape in ("spread", "hot"):
            for clients in CLIENTS:
                await bench.product(clients, shape)
                await bench.naive(clients, shape)
    await _copy(report, options, admin[_PRODUCT], admin[_COPY], made)
    for name, not_kept in ((_PRODUCT, ()), (_NAIVE, naive.NOT_KEPT), (_COPY, ())):
        options.say(f"verifying {name} …")
        report.violations += await violations(admin[name], name, without=not_kept)
    for clients, suffix in ((256, ""), (32, "_32")):
        report.ratio(f"spread_vs_naive{suffix}", f"spread_{clients}", f"naive_{clients}")
        report.ratio(f"hot_vs_naive{suffix}", f"hot_{clients}", f"naive_hot_{clients}")
    report.ratio("spread_vs_copy", "spread_256", "copy")
    report.tables.append(_table(report))
    return report


async def _make_template(settings: Settings, servers: EmbeddedServers) -> tuple[Book, dict[UUID, Sealed], int]:
    """A migrated database with the accounts: (the book, a sealed reference for each owner, the log's end)."""
    await create_database(servers, _TEMPLATE)
    await migrate(database_named(servers.admin_url, _TEMPLATE))
    async with _product(settings, servers, _TEMPLATE) as side:
        book = await make_book(side.commands)
        owners = [owner for owner, _ in book.accounts]
        async with side.pool.acquire() as connection:
            sealed = await side.texts.seal_many(connection, [(owner, REFERENCE) for owner in owners])
            made: int = await connection.fetchval("select position from log_head")
    return book, dict(zip(owners, sealed, strict=True)), made


@asynccontextmanager
async def _product(settings: Settings, servers: EmbeddedServers, database: str) -> AsyncIterator[WriteSide]:
    async with write_side(settings, database_named(servers.app_url, database)) as side:
        yield side


async def _copy(report: Report, options: Options, product_url: str, copy_url: str, made: int) -> None:
    size = max(round(report.value("spread_256_batch")), 1)
    options.say("reading what the product wrote, for COPY …")
    batches = await copying.read_batches(product_url, made, size, int(_COPY_RATE_MAX * options.seconds / size) + 1)
    copied, seconds = await copying.copy_batches(copy_url, batches, options.seconds)
    report.add("copy", copied / seconds, _RATE)
    options.say(f"copy: {copied / seconds:,.0f} {_RATE}, {size} a commit")


def _commits() -> tuple[float, float]:
    """(commits, commands) of this process so far."""
    name = "isthmus_commit_batch_commands"
    return REGISTRY.get_sample_value(f"{name}_count") or 0.0, REGISTRY.get_sample_value(f"{name}_sum") or 0.0


def _table(report: Report) -> str:
    rows = []
    for shape, baseline in _NAIVE_NAMES.items():
        for clients in CLIENTS:
            ours, theirs = f"{shape}_{clients}", f"{baseline}_{clients}"
            rows.append((
                f"{shape}, {clients} clients",
                *(f"{report.value(ours):,.0f}", f"{report.value(ours + '_batch'):.1f}"),
                *(f"{report.value(ours + part):,.0f}" for part in ("_python", "_database")),
                *(f"{report.value(ours + end):.1f}" for end in ("_p50", "_p99")),
                *(f"{report.value(theirs):,.0f}", f"{report.value(theirs + '_p99'):.1f}"),
                f"{report.value(ours) / report.value(theirs):.1f}x",
            ))  # fmt: skip
    rows.append(("copy", f"{report.value('copy'):,.0f}", *[""] * 8))
    return table(("", _RATE, "a commit", "python us", "db us", "p50 ms", "p99 ms", "naive", "p99 ms", "ratio"), rows)
