"""Live balances: every change once and in order, accounts opened later included, and an end with the token."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
import redis.asyncio as redis
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.client import PROTOCOL, Client
from tests.end_to_end.product import Product
from tests.end_to_end.test_contract import credit

_ALL = "subscription { balanceChanged { account { id } balance { posted { amount } version } position cause { correlationId } } }"
_SOME = "subscription($ids: [ID!]) { balanceChanged(accountIds: $ids) { account { id } balance { posted { amount } version } } }"


async def test_no_ids_means_all_of_mine_those_opened_later_too(ada: Client) -> None:
    count = (await ada.ask("{ viewer { accounts(filter: {kinds: [LEDGER]}) { totalCount } } }")).data["viewer"][
        "accounts"
    ]["totalCount"]
    async with ada.socket() as socket:
        operation = await socket.subscribe(_ALL)
        first = [(await socket.next(operation))["balanceChanged"] for _ in range(count)]
        assert len({message["account"]["id"] for message in first}) == count
        assert all(message["cause"] is None for message in first)
        opened = (await ada.open())["account"]["id"]
        message = (await socket.next(operation))["balanceChanged"]
        assert (message["account"]["id"], message["balance"]["version"]) == (opened, 0)


async def test_a_burst_is_delivered_whole_although_redis_drops_its_subscribers(product: Product, ada: Client) -> None:
    one, two = (await ada.open())["account"]["id"], (await ada.open())["account"]["id"]
    await asyncio.to_thread(credit, product, one, "100.00")
    cache = redis.from_url(str(product.running["redis_url"]))
    async with ada.socket() as socket:
        operation = await socket.subscribe(_SOME, {"ids": [one]})
        assert (await socket.next(operation))["balanceChanged"]["balance"]["version"] == 1

        async def disturb() -> None:
            for _ in range(5):
                await cache.client_kill_filter(_type="pubsub")
                await asyncio.sleep(0.2)
            await cache.flushall()

        moves = asyncio.gather(*[ada.transfer(one, two, "1.00") for _ in range(60)])
        await asyncio.gather(moves, disturb())
        versions = [(await socket.next(operation, 20))["balanceChanged"]["balance"]["version"] for _ in range(60)]
        assert versions == list(range(2, 62))
    await cache.aclose()
    position = (await ada.transfer(one, two, "1.00"))["position"]
    assert (await ada.balance(one, position))["posted"]["amount"] == "39.00"


async def test_foreign_missing_and_malformed_ids_are_silent_alike(product: Product, ada: Client, grace: Client) -> None:
    foreign = (await grace.open())["account"]["id"]
    own = (await ada.open())["account"]["id"]
    async with ada.socket() as socket:
        operations = [await socket.subscribe(_SOME, {"ids": ids}) for ids in ([foreign], ["malformed"], [foreign, own])]
        assert (await socket.next(operations[2]))["balanceChanged"]["account"]["id"] == own
        await asyncio.to_thread(credit, product, foreign, "1.00", "grace@example.com")
        await asyncio.to_thread(credit, product, own, "1.00")
        # Of all three only the own account's change arrives.
        assert (await socket.next(operations[2]))["balanceChanged"]["account"]["id"] == own
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=0.5)


async def test_a_bad_token_closes_with_4403_and_none_with_4401(ada: Client) -> None:
    url = ada.url.replace("http", "ws", 1)

    async def close_code(*messages: dict[str, Any]) -> int:
        async with connect(url, subprotocols=[PROTOCOL]) as socket:
            for message in messages:
                await socket.send(json.dumps(message))
            with pytest.raises(ConnectionClosed):
                while True:
                    await asyncio.wait_for(socket.recv(), 5)
            assert socket.close_code is not None
            return socket.close_code

    assert await close_code({"type": "connection_init", "payload": {"Authorization": "Bearer forged"}}) == 4403
    assert await close_code({"type": "connection_init"}) == 4403
    assert await close_code({"type": "subscribe", "id": "1", "payload": {"query": _ALL}}) == 4401


async def test_a_query_over_the_socket_waits_for_its_position(product: Product, ada: Client) -> None:
    account, other = (await ada.open())["account"]["id"], (await ada.open())["account"]["id"]
    await asyncio.to_thread(credit, product, account, "5.00")
    position = (await ada.transfer(account, other, "2.00"))["position"]
    document = "query($id: ID!) { node(id: $id) { ... on Account { balance { posted { amount } } } } }"
    async with ada.socket() as socket:
        operation = await socket.subscribe(document, {"id": account}, extensions={"position": position})
        assert (await socket.next(operation))["node"]["balance"]["posted"]["amount"] == "3.00"


async def test_a_position_that_is_not_there_yet_is_a_retryable_error(ada: Client) -> None:
    answer = await ada.ask("{ viewer { id } }", headers={"x-isthmus-position": str(10**12)})
    assert answer.code == "NOT_YET_VISIBLE"
    assert answer.body["errors"][0]["extensions"]["retryable"] is True
    assert (await ada.ask("{ viewer { id } }", headers={"x-isthmus-position": f"x{uuid4()}"})).code == "BAD_USER_INPUT"
