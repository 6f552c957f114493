"""F38: `work` is killed again and again while payments are on their way. Each is at the bank once, and four books agree in the end.

The books: the payer's account, what is on its way (clearing), the bank's statement of our account there, and the payee's account at
their bank.

F24, on the same product: its clock is moved while it runs.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from isthmus.auth.provider.users import DEMO_PASSWORD
from isthmus.auth.sign_in import sign_in
from isthmus.domain.identifiers import house_account_id
from isthmus.domain.payment_events import clearing_code
from isthmus.graphql.ids import account_key, payment_key
from isthmus.runtime.endpoints import resolve
from isthmus.settings import load_settings
from tests.end_to_end.client import Client
from tests.end_to_end.product import Product, isthmus
from tests.end_to_end.test_payments import Bank, answer, figures, funded, initiate, states_of

#: How many payments, and how often `work` is killed meanwhile.
PAYMENTS = int(os.environ.get("FAULT_PAYMENTS", "12"))
KILLS = int(os.environ.get("FAULT_KILLS", "2"))


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    made = Product(tmp_path_factory.mktemp("killed") / "data", options=["--no-demo"])
    made.start()
    yield made
    made.kill_everything()


@pytest.mark.timeout(300)
async def test_f38_work_killed_while_payments_are_on_their_way_pays_each_once(product: Product) -> None:
    ada, olga = [Client(product.url, await _token(product, name)) for name in ("ada", "olga")]
    bank = Bank(str(product.running["sandbox_url"]))
    account, theirs = await funded(ada, olga, "100.00"), await bank.account("nordlicht", "maria")
    amounts = [f"1.{n:02d}" for n in range(PAYMENTS)]
    made = [await initiate(ada, account, amount, theirs["iban"]) for amount in amounts]
    codes = [await bank.code_for(f"Pay {amount} EUR") for amount in amounts]
    await bank.tell("misbehaviour", route="POST /truelayer/api/v3/payouts", kind="error_after", times=3, status=502)

    async def killing() -> None:
        for _ in range(KILLS):
            await asyncio.sleep(1.0)
            _kill_work(product)

    async def answering() -> None:
        for payment, code in zip(made, codes, strict=True):
            assert (await answer(ada, payment["challenge"]["id"], code))["errors"] == []
            await asyncio.sleep(0.1)

    await asyncio.gather(killing(), answering())

    keys = [payment_key(payment["id"]) for payment in made]
    connection = await asyncpg.connect(resolve(load_settings(data_dir=product.data_dir)).admin_url)
    try:
        async with asyncio.timeout(120):
            while (states := await _states(connection, keys)) != ["EXECUTED"] * PAYMENTS:  # noqa: ASYNC110
                await asyncio.sleep(0.5)
        total = sum((Decimal(amount) for amount in amounts), Decimal(0))
        payer = await connection.fetchrow(
            "select posted, pending_out from account_balances where account_id = $1", account_key(account)
        )
        clearing = await connection.fetchval(
            "select posted from account_balances where account_id = $1",
            house_account_id(clearing_code("truelayer", "EUR")),
        )
        assert payer is not None
        assert (payer["posted"], payer["pending_out"], clearing) == (100 - total, 0, -total)
    finally:
        await connection.close()
    statement = await _statement(bank)
    assert sorted(Decimal(one["amount_in_minor"]) / 100 for one in statement) == sorted(map(Decimal, amounts))
    now = await bank.account("nordlicht", "maria")
    assert Decimal(now["transferred"]) - Decimal(theirs["transferred"]) == total
    assert states
    verified = await asyncio.to_thread(isthmus, product.data_dir, "verify", "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.timeout(120)
async def test_f24_the_clock_of_a_running_product_is_moved_and_what_is_over_then_ends(product: Product) -> None:
    """The README's way: nothing is started again, and whoever signs in again goes on as before, at the bank as well."""
    ada, olga = [Client(product.url, await _token(product, name)) for name in ("ada", "olga")]
    bank = Bank(str(product.running["sandbox_url"]))
    account, theirs = await funded(ada, olga, "50.00"), await bank.account("nordlicht", "maria")
    late = await initiate(ada, account, "5.01", theirs["iban"])
    assert await figures(ada, account, late["id"]) == ("50.00", "44.99")

    moved = await asyncio.to_thread(isthmus, product.data_dir, "clock", "advance", "6m")

    assert (moved.returncode, moved.stderr) == (0, "")
    assert moved.stdout.endswith("Z  0:06:00 ahead\n")
    assert (await ada.ask("{ viewer { id } }")).code == "UNAUTHENTICATED", "nobody did anything for five minutes"
    ada = Client(product.url, await _token(product, "ada"))
    assert await states_of(ada, late["id"], "EXPIRED") == ["AWAITING_SCA", "EXPIRED"]
    assert await figures(ada, account, late["id"]) == ("50.00", "50.00")

    before = len(await _hooks(bank))
    paid = await initiate(ada, account, "5.02", theirs["iban"])
    assert (await answer(ada, paid["challenge"]["id"], await bank.code_for("Pay 5.02 EUR")))["errors"] == []
    await states_of(ada, paid["id"], "EXECUTED")
    assert await figures(ada, account, paid["id"]) == ("44.98", "44.98")
    statuses = {status for hook in (await _hooks(bank))[before:] for status in hook["statuses"]}
    assert statuses <= {202}, "none is too old, or from the future"


async def _hooks(bank: Bank) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await bank.http.get(f"{bank.url}/sandbox/webhooks")).json()
    return found


async def _token(product: Product, name: str) -> str:
    token: str = (await sign_in(product.base, f"{name}@example.com", DEMO_PASSWORD)).access_token
    return token


async def _states(connection: Any, keys: list[Any]) -> list[str]:
    return [row["state"] for row in await connection.fetch("select state from payments where id = any($1)", keys)]


def _kill_work(product: Product) -> None:
    """Whichever process is `work` now; `up` starts another one."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        for pid in product.family():
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"work" in words:
                os.kill(pid, signal.SIGKILL)
                return
        time.sleep(0.1)
    raise AssertionError("no work runs")


async def _statement(bank: Bank) -> list[dict[str, Any]]:
    """What the bank says that moved in our account there."""
    wish = {
        "grant_type": "client_credentials",
        "scope": "payments",
        "client_id": "sandbox-truelayer",
        "client_secret": "sandbox-truelayer-secret",
    }
    async with httpx.AsyncClient(base_url=bank.url, timeout=20) as http:
        token = (await http.post("/truelayer/auth/connect/token", data=wish)).json()["access_token"]
        now = datetime.now(UTC)
        span = {"from": (now - timedelta(days=1)).isoformat(), "to": (now + timedelta(days=1)).isoformat()}
        answer = await http.get(
            "/truelayer/api/v3/merchant-accounts/sandbox-merchant-eur/transactions",
            params=span,
            headers={"Authorization": f"Bearer {token}"},
        )
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items
