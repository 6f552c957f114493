"""Orderly stops, and kill -9 of one of each: what is left goes on, the next `up` continues. Row F4 kills everything."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import httpx

from isthmus.auth.provider.users import DEMO_PASSWORD
from isthmus.auth.sign_in import sign_in
from tests.end_to_end.client import Client
from tests.end_to_end.product import Background, Product, isthmus
from tests.faults.system import settle

_SERVING = re.compile(r"^ready (http://127\.0\.0\.1:\d+)/graphql$")


async def _ada(product: Product) -> Client:
    tokens = await sign_in(product.base, "ada@example.com", DEMO_PASSWORD)
    return Client(product.url, tokens.access_token)


def _verify(product: Product) -> dict[str, object]:
    done = isthmus(product.data_dir, "verify", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


async def test_up_continues_after_a_stop_and_killed_alone_takes_its_children_with_it(tmp_path: Path) -> None:
    product = Product(tmp_path / "a directory with spaces", options=["--no-demo"])
    try:
        product.start()
        ada = await _ada(product)
        before = await ada.ask("{ viewer { accounts { totalCount } } }")
        assert before.data["viewer"]["accounts"]["totalCount"] == 0  # --no-demo leaves the people, not their accounts
        opened = await ada.open(name="Kept")
        assert product.stop() == 0
        assert product.family() == []

        product.start()
        ada = await _ada(product)
        assert (await ada.balance(opened["account"]["id"], opened["position"]))["version"] == 0
        _verify(product)

        os.kill(product.up.process.pid, signal.SIGKILL)
        product.up.process.wait(10)
        async with asyncio.timeout(60):
            while product.family():  # noqa: ASYNC110 - processes that nobody is left to wait for
                await asyncio.sleep(0.1)
    finally:
        product.kill_everything()


async def test_two_of_each_of_which_one_each_is_killed_midway_lose_nothing(
    product: Product, ada: Client, olga: Client
) -> None:
    """The two that die run beside the `up` that all these tests share, whose own two go on."""
    development = {"ISTHMUS_API__MODE": "development"}
    serve = Background(product.data_dir, ["serve", "--port", "0"], settings=development, cold=False)
    work = Background(product.data_dir, ["work"], cold=False)
    try:
        serve.start()
        work.start()
        second = serve.wait_for(_SERVING, 60).group(1)
        product.wait_until_ready(second)
        clients = [ada, Client(f"{second}/graphql", ada.token)]
        accounts = [(await ada.open())["account"]["id"] for _ in range(4)]
        for account in accounts:
            await settle(olga, account, "100")

        wishes = [(str(uuid4()), n) for n in range(60)]

        async def until_definite(key: str, n: int) -> str:
            """As a client does: an unknown outcome is asked again with the same key, at whichever server answers."""
            for attempt in range(60):
                client = clients[(n + attempt) % 2] if attempt else clients[n % 2]
                try:
                    payload = await client.transfer(accounts[n % 4], accounts[(n + 1) % 4], "1.00", key=key)
                except (httpx.HTTPError, AssertionError):  # cut off, or answered with a retryable error
                    await asyncio.sleep(0.2)
                    continue
                assert payload["errors"] == []
                return str(payload["journal"]["id"])
            raise AssertionError("no definite answer")

        async def kill_midway() -> None:
            await asyncio.sleep(0.3)
            serve.process.kill()
            work.process.kill()

        journals, _ = await asyncio.gather(
            asyncio.gather(*[until_definite(key, n) for key, n in wishes]), kill_midway()
        )
        assert len(set(journals)) == len(wishes)
        position = (await clients[0].transfer(accounts[0], accounts[1], "1.00"))["position"]
        total = Decimal(0)
        for account in accounts:
            async with asyncio.timeout(60):
                while True:
                    answer = await clients[0].ask(
                        "query($id: ID!) { node(id: $id) { ... on Account { balance { posted { amount } } } } }",
                        {"id": account},
                        headers={"x-isthmus-position": position},
                    )
                    if "errors" not in answer.body:
                        break
                    assert (
                        answer.code == "NOT_YET_VISIBLE"
                    )  # the dead worker's partitions are on their way to the other
                    await asyncio.sleep(0.2)
            total += Decimal(answer.data["node"]["balance"]["posted"]["amount"])
        assert total == 400
        _verify(product)
    finally:
        for extra in (serve, work):
            extra.process.kill()
            extra.process.wait(10)
