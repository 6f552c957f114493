"""`bench live`: the subscribers' program counts what a server sends, and sees a version that is left out."""

from __future__ import annotations

from isthmus.bench.live import QUERY
from isthmus.bench.live_clients import Wish
from isthmus.bench.live_processes import Clients, stock_strawberry


async def test_messages_of_a_real_server_are_counted_timed_and_checked() -> None:
    peer = await stock_strawberry()
    async with peer:
        variables = [{"ids": [account]} for account in peer.accounts[:2]]
        async with Clients(Wish("127.0.0.1", peer.port, QUERY, variables, 4, "")) as clients, peer.making("tick"):
            seen = await clients.measure(1.5, timed=True)

    assert seen.slowest >= 2
    assert seen.delivered >= 4 * seen.slowest
    assert seen.gaps == 0
    assert 0 < seen.p50_ms <= seen.p99_ms
