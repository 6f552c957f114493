"""The examples run as they are, against the running product."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.end_to_end.client import Client
from tests.end_to_end.product import Background, Product, environment
from tests.end_to_end.test_bank_links import Bank, catalogue_is_made, ended, until
from tests.end_to_end.test_contract import credit
from tests.end_to_end.test_payments import Bank as Payers
from tests.end_to_end.test_payments import funded

EXAMPLES = Path(__file__).parents[2] / "examples"
_SERVING = re.compile(r"^ready (http://127\.0\.0\.1:\d+)/graphql$")


@asynccontextmanager
async def example(
    product: Product, name: str, *arguments: str, ends_with: int = 130
) -> AsyncIterator[asyncio.StreamReader]:
    """Its standard output. It is ended by Ctrl-C, unless it ends by itself with another status."""
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
        if process.returncode is None and ends_with == 130:
            process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 20) == ends_with


def a_serve(product: Product, port: str = "0") -> tuple[Background, str]:
    development = {"ISTHMUS_API__MODE": "development"}
    serve = Background(product.data_dir, ["serve", "--port", port], settings=development, cold=False)
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


async def test_link_bank_shows_what_the_bank_tells_until_its_consent_is_over(product: Product, grace: Client) -> None:
    bank = Bank(str(product.running["sandbox_url"]))
    await until(lambda: catalogue_is_made(grace), "the catalogue is made by `work`")
    seen: list[str] = []

    async with example(
        product, "link_bank.py", product.base, "grace@example.com", "US", "prairie", ends_with=0
    ) as told:

        async def line(pattern: str) -> re.Match[str]:
            async with asyncio.timeout(40):
                while True:
                    seen.append((await told.readline()).decode())
                    assert seen[-1], seen
                    if found := re.match(pattern, seen[-1]):
                        return found

        consent = (await line(r"First Prairie, by PLAID: consent (\S+)$"))[1]
        await line(r"jo approves at http://127\.0\.0\.1:\d+/bank/")
        await line(r"Current account +-?\d+\.\d\d USD  [1-9]\d* transactions$")
        await line(r"consent AUTHORISED, days left: None$")
        current = next(one for one in await bank.accounts("prairie") if one["name"] == "Current account")
        await bank.tell("movements", account=current["id"], amount=-1234, name="Corner shop")
        await line(r"  \d{4}-\d\d-\d\d +-12\.34 USD  POSTED   Corner shop$")
        await ended(grace, "revokeBankConsent", consent)
        await line(r"consent REVOKED")
    await ended(grace, "deleteBankLink", consent)


async def test_pay_asks_for_the_code_and_shows_every_state(product: Product, grace: Client, olga: Client) -> None:
    bank = Payers(str(product.running["sandbox_url"]))
    await funded(grace, olga, "100.00")
    maria = await bank.account("nordlicht", "maria")
    arguments = (product.base, "grace@example.com", "Maria", maria["iban"], "4.56")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLES / "pay.py"), *arguments, env=environment(product.data_dir), stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    code = await bank.code_for("Pay 4.56 EUR to Maria")
    process.stdin.write(f"{(int(code) + 1) % 1_000_000:06d}\n{code}\n".encode())
    told, _ = await asyncio.wait_for(process.communicate(), 60)

    lines = told.decode().splitlines()
    assert re.fullmatch(rf"from .+: 4\.56 EUR to Maria, {maria['iban']}", lines[0]), lines
    assert lines[1].startswith("The account is not held in this name.")
    assert "The answer is not accepted. 4 answers are left." in lines[2]
    assert lines[-1] == "EXECUTED"
