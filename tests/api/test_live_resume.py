"""Coming back to a subscription: `after`, `lagged`, and positions that are none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.api.conftest import Person, Served, deposit
from tests.api.socket_client import connected

RESUMED = """subscription($ids: [ID!], $after: Position) { balanceChanged(accountIds: $ids, after: $after) {
    version position account { id } balance { posted { amount } } cause { eventType } lagged { fromPosition toPosition } } }"""


async def test_after_a_position_what_was_missed_comes_first_and_then_what_happens(
    served: Served, ada: Person, olga: Person
) -> None:
    account = ada.open()
    position = deposit(olga, account, "10.00")["position"]
    for _ in range(3):
        deposit(olga, account, "1.00")
    async with connected(served) as client:
        await client.sign_in(ada.token)
        await client.subscribe(RESUMED, {"after": position})
        messages = [(await client.next())["data"]["balanceChanged"] for _ in range(3)]
        await asyncio.to_thread(deposit, olga, account, "1.00")
        messages.append((await client.next())["data"]["balanceChanged"])

        assert [message["version"] for message in messages] == [2, 3, 4, 5]
        assert {message["lagged"] for message in messages} == {None}
        assert all(message["cause"] for message in messages)
        await client.subscribe(RESUMED, {"after": messages[-1]["position"]}, id="up to date")
        await client.subscribe("{ viewer { id } }", id="2")
        assert (await client.receive())["id"] == "2", "nothing missed is nothing said"


async def test_too_much_missed_is_the_current_balance_that_says_what_was_left_out(
    served: Served, ada: Person, olga: Person
) -> None:
    account = ada.open()
    position = deposit(olga, account, "10.00")["position"]
    newest = [deposit(olga, account, "1.00")["position"] for _ in range(served.replay_max + 1)][-1]
    async with connected(served) as client:
        await client.sign_in(ada.token)
        await client.subscribe(RESUMED, {"ids": [account], "after": position})
        message = (await client.next())["data"]["balanceChanged"]

    assert message["lagged"] == {"fromPosition": position, "toPosition": newest}
    assert (message["cause"], message["version"]) == (None, served.replay_max + 2)
    assert message["balance"]["posted"]["amount"] == f"{10 + served.replay_max + 1}.00"


@pytest.mark.parametrize("after", ["-1", "x", 5, "01", "9" * 19, "", [], "1e3"])
async def test_what_is_no_position_is_refused(served: Served, ada: Person, after: Any) -> None:
    async with connected(served) as client:
        await client.sign_in(ada.token)
        await client.subscribe(RESUMED, {"after": after})
        message = await client.receive()

    assert message["type"] == "error"
    assert message["payload"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_position_that_the_log_does_not_have_is_refused_and_one_that_is_on_its_way_waited_for(
    served: Served, ada: Person, olga: Person
) -> None:
    account = ada.open()
    async with connected(served) as client:
        await client.sign_in(ada.token)
        await client.subscribe(RESUMED, {"after": "999999999"})
        future = await client.receive()
        assert (future["type"], future["payload"][0]["extensions"]["code"]) == ("error", "BAD_USER_INPUT")
        served.hold_projection(True)
        try:
            position = await asyncio.to_thread(lambda: deposit(olga, account, "1.00")["position"])
            await client.subscribe(RESUMED, {"after": position}, id="late")
            late = await client.receive()
            await client.subscribe(RESUMED, {"after": position}, id="in time")
        finally:
            await asyncio.to_thread(served.hold_projection, False)
        await asyncio.to_thread(deposit, olga, account, "1.00")
        message = await client.receive()

    assert late["payload"][0]["extensions"]["code"] == "NOT_YET_VISIBLE"
    assert message["id"] == "in time"
    assert message["payload"]["data"]["balanceChanged"]["version"] == 2


async def test_more_accounts_than_may_be_named_are_refused(served: Served, ada: Person) -> None:
    async with connected(served) as client:
        await client.sign_in(ada.token)
        await client.subscribe(RESUMED, {"ids": [str(n) for n in range(201)]})
        message = await client.receive()

    assert message["payload"][0]["extensions"]["code"] == "BAD_USER_INPUT"
