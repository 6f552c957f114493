"""The examples run as they are, against the running product."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.end_to_end.client import Client
from tests.end_to_end.product import Background, Product, environment
from tests.end_to_end.test_contract import credit

EXAMPLES = Path(__file__).parents[2] / "examples"
_SERVING = re.compile(r"^ready (http://127\.0\.0\.1:\d+)/graphql$")


@asynccontextmanager
async def example(product: Product, name: str, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """Its standard output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / name),
        *arguments,
        env=environment(product.data_dir),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 20) == 130


def a_serve(product: Product, port: str = "0") -> tuple[Background, str]:
    serve = Background(product.data_dir, ["serve", "--port", port], settings={"ISTHMUS_API__MODE": "development"})
    serve.start()
    return serve, serve.wait_for(_SERVING, 60).group(1)


async def test_live_balances_misses_nothing_while_its_server_is_away(product: Product, ada: Client) -> None:
    account, target = [(await ada.open(name=name))["account"]["id"] for name in ("Watched", "Aside")]
    credit(product, account, "10.00")
    serve, base = a_serve(product)
    versions: list[int] = []

    async def until(version: int, told: asyncio.StreamReader) -> None:
        async with asyncio.timeout(60):
            while not versions or versions[-1] < version:
                line = (await told.readline()).decode()
                if found := re.match(r"Watched +\S+ EUR  version (\d+)  (.+)$", line):
                    versions.append(int(found[1]))

    try:
        async with example(product, "live_balances.py", base, "ada@example.com") as told:
            await until(1, told)
            await ada.transfer(account, target, "1.00")
            await until(2, told)
            serve.process.kill()
            serve.process.wait(10)
            for _ in range(3):
                await ada.transfer(account, target, "1.00")
            serve, _ = a_serve(product, str(urlsplit(base).port))
            await ada.transfer(account, target, "1.00")
            await until(6, told)
    finally:
        serve.process.kill()
        serve.process.wait(10)
    assert versions == [1, 2, 3, 4, 5, 6], "each change once, those included that it was not there for"
