"""`bench live`: messages delivered a second, and how long a commit takes to its subscribers, beside other servers in the same run.

One client program (`live_clients.py`, a process of its own) subscribes to each server with one document. Latency: five deposits a second,
committed through the product's API, from the commit's own stamp to the client. Throughput: changes as the product's projector tells
them, put on its Redis channel as fast as subscribers take them, so that what is measured is `serve` from the feed to the socket,
and not the ledger beside it (`bench ledger`). The peers make their changes inside their own process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from isthmus.bench.live_clients import Seen, Wish
from isthmus.bench.live_processes import Clients, Peer, graphql_ws, stock_strawberry
from isthmus.bench.live_product import BALANCES, Product, running_product
from isthmus.bench.place import violations
from isthmus.bench.processor import processor_s
from isthmus.bench.report import Options, Report, table

QUERY = """subscription BalanceChanged($ids: [ID!]!) { balanceChanged(accountIds: $ids) {
  account { id }
  balance { available { amount asset } posted { amount asset } pending { amount asset } version asOf }
  position cause { eventId eventType correlationId } } }"""
#: Sockets, and how many balances they share.
SHAPES = ((200, 1), (200, BALANCES), (1_000, 1), (1_000, BALANCES))
_SETTLE_S = 0.5


def run(options: Options, data_dir: Path) -> Report:
    return uvloop.run(_measure(options, data_dir))


@dataclass
class _Bench:
    report: Report
    options: Options

    async def delivered(
        self, name: str, server: int, sockets: int, balances: int, clients: Clients, suffix: str = ""
    ) -> Seen:
        """`server`: the id of the process that delivers."""
        before = processor_s(server), processor_s(clients.pid)
        seen = await clients.measure(self.options.seconds)
        spent = processor_s(server) - before[0], processor_s(clients.pid) - before[1]
        rate = seen.delivered / seen.seconds
        shape = f"{sockets}_{balances}{suffix}"
        self.report.add(f"{name}_delivered_{shape}", rate, "messages/s")
        for who, seconds in zip(("server", "clients"), spent, strict=True):
            self.report.add(f"{name}_{who}_{shape}", seconds / max(seen.delivered, 1) * 1e6, "us/message")
        self.options.say(f"{name}: {sockets} sockets, {balances} balances{suffix}: {rate:,.0f} messages/s")
        return seen

    def latency(self, name: str, sockets: int, seen: Seen, suffix: str = "") -> None:
        self.report.add(f"{name}_p50_{sockets}{suffix}", seen.p50_ms, "ms")
        self.report.add(f"{name}_p99_{sockets}{suffix}", seen.p99_ms, "ms")
        self.options.say(f"{name}: {sockets} sockets{suffix}: p50 {seen.p50_ms:.1f}, p99 {seen.p99_ms:.1f} ms")


async def _measure(options: Options, data_dir: Path) -> Report:
    bench = _Bench(Report("live"), options)
    report = bench.report
    options.say("starting the product …")
    async with running_product(data_dir / "data") as product:
        report.violations += await _product(bench, product)
        options.say("verifying …")
        report.violations += await violations(product.admin_url, "product")
    peers = [await stock_strawberry()]
    if options.peers:
        peers.append(await graphql_ws(data_dir))
    for peer in peers:
        async with peer:
            report.violations += await _peer(bench, peer)
    for peer in peers:
        for balances, suffix in ((1, ""), (BALANCES, "_10")):
            of, to = f"product_delivered_200_{balances}", f"{peer.name}_delivered_200_{balances}"
            report.ratio(f"delivered_vs_{peer.name}{suffix}", of, to)
            spent = f"server_200_{balances}"
            report.ratio(f"processor_vs_{peer.name}{suffix}", f"{peer.name}_{spent}", f"product_{spent}")
    report.ratio("delivered_with_a_stopped_reader", "product_delivered_200_1_stopped", "product_delivered_200_1")
    report.tables.append(_table(report, ["product", *(peer.name for peer in peers)]))
    return report


async def _product(bench: _Bench, product: Product) -> list[str]:
    """Latency first: throughput tells the feed of positions that the log does not have."""
    seconds, wrong = bench.options.seconds, []
    for sockets in (200, 1_000):
        for stopped, suffix in ((0, ""), (1, "_stopped")) if sockets == 200 else ((0, ""),):
            async with Clients(_wish(product, sockets, 1, stopped)) as clients, product.changing():
                await asyncio.sleep(_SETTLE_S)
                seen = await clients.measure(max(seconds, 2), timed=True)
            bench.latency("product", sockets, seen, suffix)
            wrong += _wrong(f"product, {sockets} sockets, five a second", seen)
    for sockets, balances in SHAPES:
        for stopped, suffix in ((0, ""), (1, "_stopped")) if (sockets, balances) == (200, 1) else ((0, ""),):
            async with (
                Clients(_wish(product, sockets, balances, stopped)) as clients,
                product.flooding(QUERY, balances),
            ):
                await asyncio.sleep(_SETTLE_S)
                seen = await bench.delivered("product", product.pid, sockets, balances, clients, suffix)
            wrong += _wrong(f"product, {sockets} sockets, {balances} balances{suffix}", seen)
    return wrong


async def _peer(bench: _Bench, peer: Peer) -> list[str]:
    wrong = []
    for sockets in (200, 1_000):
        async with Clients(_wish(peer, sockets, 1)) as clients, peer.making("tick"):
            await asyncio.sleep(_SETTLE_S)
            bench.latency(peer.name, sockets, await clients.measure(max(bench.options.seconds, 2), timed=True))
    for sockets, balances in SHAPES:
        async with Clients(_wish(peer, sockets, balances)) as clients, peer.making("flood"):
            await asyncio.sleep(_SETTLE_S)
            seen = await bench.delivered(peer.name, peer.pid, sockets, balances, clients)
        wrong += _wrong(f"{peer.name}, {sockets} sockets, {balances} balances", seen)
    return wrong


def _wish(server: Product | Peer, sockets: int, balances: int, stopped: int = 0) -> Wish:
    variables = [{"ids": [account]} for account in server.accounts[:balances]]
    return Wish("127.0.0.1", server.port, QUERY, variables, sockets + stopped, server.token, stopped)


def _wrong(where: str, seen: Seen) -> list[str]:
    found = []
    if seen.gaps:
        found.append(f"{where}: {seen.gaps} versions did not follow the one before")
    if not seen.slowest:
        found.append(f"{where}: a socket got nothing")
    return found


def _table(report: Report, names: Sequence[str]) -> str:
    rows = []
    for result in report.results:
        server, _, what = result.name.partition("_")
        if server == "product":
            cells = [next((r.value for r in report.results if r.name == f"{name}_{what}"), None) for name in names]
            rows.append([f"{what} ({result.unit})", *("" if cell is None else f"{cell:,.1f}" for cell in cells)])
    return table(("", *names), rows)
