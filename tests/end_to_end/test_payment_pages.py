"""A person pays in a headless Chromium: by a device that signs and by the code that was sent; what is taken back, or tampered with."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from isthmus.auth.provider.users import DEMO_PASSWORD
from tests.conftest import NO_CHROMIUM
from tests.end_to_end.chromium import Watched, chromium, found
from tests.end_to_end.client import Client
from tests.end_to_end.product import Product, environment
from tests.end_to_end.test_bank_links import HARBOUR, Bank, catalogue_is_made, ended, link, until
from tests.end_to_end.test_payments import funded

pytestmark = [
    pytest.mark.skipif(found() is None, reason=NO_CHROMIUM),
    pytest.mark.timeout(240),
]
TAMPER = Path(__file__).parents[2] / "examples" / "tamper.py"
PATIENCE_MS = 30_000
#: A telephone that is unlocked whenever it asks.
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
}


@pytest.fixture(scope="module")
def account(product: Product, token_of: Callable[[str], str]) -> str:
    """Grace's, with 100 EUR in it."""

    async def opened() -> str:
        grace, olga = (Client(product.url, token_of(name)) for name in ("grace", "olga"))
        async with grace.http, olga.http:
            return await funded(grace, olga, "100.00")

    return asyncio.run(opened())


@pytest.fixture(scope="module")
def at_bank(product: Product, token_of: Callable[[str], str]) -> Iterator[str]:
    """Grace's account at Harbour Bank, linked."""
    query = "{ viewer { bankConsents(first: 20) { edges { node { id accounts { id name } } } } } }"

    async def linked() -> tuple[str, str]:
        grace, bank = Client(product.url, token_of("grace")), Bank(str(product.running["sandbox_url"]))
        async with grace.http, bank.http:
            await until(lambda: catalogue_is_made(grace), "the catalogue is made by `work`")
            consent = await link(grace, bank, HARBOUR)
            edges = (await grace.ask(query)).data["viewer"]["bankConsents"]["edges"]
        accounts = next(edge["node"]["accounts"] for edge in edges if edge["node"]["id"] == consent)
        return consent, next(one["id"] for one in accounts if one["name"] == "Current account")

    async def unlinked(consent: str) -> None:
        grace = Client(product.url, token_of("grace"))
        async with grace.http:
            await ended(grace, "deleteBankLink", consent)

    consent, account = asyncio.run(linked())
    yield account
    asyncio.run(unlinked(consent))


@pytest.fixture(scope="module")
def pages(product: Product) -> str:
    """What `up` says: a device knows this machine by its name alone."""
    return next(line.split()[1] for line in product.up.lines if line.startswith("payments "))


@pytest.fixture(scope="module")
def page(product: Product, account: str, at_bank: str, pages: str) -> Iterator[Page]:
    """Grace's, signed in on the way there, with a device enrolled. Whatever the browser complains of is a failure."""
    del account, at_bank  # they are opened before the browser's loop runs in this thread
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        hosts = (product.base, str(product.running["issuer_url"]), str(product.running["sandbox_url"]), pages)
        watched = Watched(page, tuple(urlsplit(host).netloc for host in hosts))
        session = page.context.new_cdp_session(page)
        session.send("WebAuthn.enable")
        session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
        page.goto(pages.replace("localhost", "127.0.0.1"))
        page.fill("#email", "grace@example.com")
        page.fill("#password", DEMO_PASSWORD)
        page.click("button:not(.quiet)")
        page.wait_for_url(pages)
        page.fill("#enrol input", "Grace's telephone")
        page.click("#enrol button")
        type_code(page, product, "#enrolling", "Grace's telephone")
        expect(page.locator("#devices li")).to_contain_text("Grace's telephone")
        yield page
        page.click("#devices button:text-is('Remove')")
        expect(page.locator("#devices li")).to_have_count(0)
        assert watched.complaints == []


def type_code(page: Page, product: Product, where: str, told: str) -> None:
    code = page.locator(f"{where} input")
    code.wait_for()
    code.fill(code_for(page, product, told))
    page.click(f"{where} button:text-is('Answer')")


def code_for(page: Page, product: Product, told: str) -> str:
    for _ in range(400):
        for message in reversed(httpx.get(f"{product.running['sandbox_url']}/sandbox/inbox").json()):
            if told in message["body"] and (code := re.search(r"code is (\d{6})", message["body"])):
                return code[1]
        page.wait_for_timeout(50)
    raise AssertionError(f"no code for {told}")


def pay(page: Page, product: Product, account: str, amount: str, method: str) -> None:
    some = httpx.get(f"{product.running['sandbox_url']}/sandbox/accounts").json()
    maria = next(one["iban"] for one in some if (one["bank"], one["username"]) == ("nordlicht", "maria"))
    page.select_option("#pay select[name=from]", account)
    page.fill("#pay input[name=amount]", amount)
    page.fill("#pay input[name=name]", "Maria")
    page.fill("#pay input[name=iban]", maria)
    page.select_option("#pay select[name=method]", method)
    page.click("#pay button")
    expect(page.locator("#what")).to_have_text(f"{amount} EUR to Maria: AWAITING_SCA")
    expect(page.locator("#answer")).to_contain_text(f"For {amount} EUR to Maria, DE")


def test_a_device_that_was_enrolled_in_the_page_signs_a_payment(page: Page, product: Product, account: str) -> None:
    pay(page, product, account, "5.61", "")
    page.click("#answer button:text-is('Answer with your device')")

    expect(page.locator("#what")).to_have_text("5.61 EUR to Maria: EXECUTED")
    expect(page.locator("#history li")).to_have_text(
        [re.compile(state) for state in ("AWAITING_SCA", "AUTHORISED", "SUBMITTED", "EXECUTED")]
    )
    assert page.locator("#answer *").count() == 0


def test_a_code_pays_what_it_was_sent_for_and_a_wrong_one_nothing(page: Page, product: Product, account: str) -> None:
    pay(page, product, account, "5.62", "ONE_TIME_CODE")
    page.fill("#answer input", "none")
    page.click("#answer button:text-is('Answer')")
    expect(page.locator("#said")).to_have_text("The answer is not accepted. 4 answers are left.")
    type_code(page, product, "#answer", "Pay 5.62 EUR to Maria")

    expect(page.locator("#what")).to_have_text(re.compile("5.62 EUR to Maria: (AUTHORISED|SUBMITTED|EXECUTED)"))
    expect(page.locator("#answer *")).to_have_count(0)


def test_a_bank_asks_its_customer_on_its_own_page_and_sends_them_back(page: Page, pages: str, at_bank: str) -> None:
    page.select_option("#pay select[name=from]", at_bank)
    page.fill("#pay input[name=amount]", "5.65")
    page.fill("#pay input[name=name]", "Bob")
    page.fill("#pay input[name=iban]", "")
    page.fill("#pay input[name=sortCode]", "112233")
    page.fill("#pay input[name=accountNumber]", "12345678")
    page.select_option("#pay select[name=method]", "")
    page.click("#pay button")
    page.click("#answer a")
    page.fill("input[name=username]", "jo")
    page.fill("input[name=password]", "sandbox")
    page.click("button[value=approve]")
    page.wait_for_url(pages)

    expect(page.locator("#what")).to_have_text("5.65 GBP to Bob: EXECUTED")
    assert page.locator("#said").inner_text() == ""
    assert page.evaluate("sessionStorage.length") == 0, "taken once"


def test_what_is_taken_back_is_not_paid_and_the_page_that_opens_anew_shows_it(
    page: Page, product: Product, pages: str, account: str
) -> None:
    pay(page, product, account, "5.63", "DEVICE")
    page.click("#answer button:text-is('Cancel')")
    expect(page.locator("#what")).to_have_text("5.63 EUR to Maria: CANCELLED")

    page.goto(f"{pages}/callback?payment_id=somebody-elses")

    expect(page.locator("#what")).to_have_text("5.63 EUR to Maria: CANCELLED")
    expect(page.locator("#devices li")).to_have_count(1)
    assert (page.url, page.locator("#said").inner_text()) == (pages, "")


def test_what_is_changed_in_the_database_meanwhile_is_not_sent(page: Page, product: Product, account: str) -> None:
    pay(page, product, account, "5.64", "ONE_TIME_CODE")
    code = code_for(page, product, "Pay 5.64 EUR to Maria")
    subprocess.run(
        [sys.executable, TAMPER, product.database_url, "99"], env=environment(product.data_dir), check=True, timeout=60
    )
    page.fill("#answer input", code)
    page.click("#answer button:text-is('Answer')")

    expect(page.locator("#what")).to_contain_text("REJECTED")
    expect(page.locator("#failure")).to_contain_text("CHANGED_AFTER_SCA")
