"""A person links a bank in a headless Chromium: signs in, searches, goes to the bank, comes back, and sees what is there."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from isthmus.auth.provider.users import DEMO_PASSWORD
from tests.conftest import NO_CHROMIUM
from tests.end_to_end.chromium import Watched, chromium, found
from tests.end_to_end.product import Product

pytestmark = [
    pytest.mark.skipif(found() is None, reason=NO_CHROMIUM),
    pytest.mark.timeout(240),
]
PATIENCE_MS = 30_000
#: As the page itself asks.
ASK = """const ask = async (query, variables) => (await (await fetch('/graphql', { method: 'POST',
    headers: { 'content-type': 'application/json', 'x-isthmus-csrf': '1' }, body: JSON.stringify({ query, variables }) })).json()).data;"""
KNOWN = f"""async () => {{ {ASK}
  const {{ institutions }} = await ask('{{ institutions(country: "US", search: "prairie") {{ edges {{ node {{ providers }} }} }} }}');
  return institutions.edges[0]?.node.providers.length ?? 0; }}"""
CLEARED = (
    f"async () => {{ {ASK}"
    + """
  const { viewer } = await ask('{ viewer { bankConsents(first: 50) { edges { node { id } } } } }');
  for (const { node } of viewer.bankConsents.edges) {
    await ask('mutation($input: DeleteBankLinkInput!) { deleteBankLink(input: $input) { errors { code } } }',
      { input: { consentId: node.id, idempotencyKey: node.id } });
  }
}"""
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def watched(browser: Browser, product: Product) -> Iterator[Watched]:
    """Grace, signed in on the way to the page that she asked for."""
    hosts = (product.base, str(product.running["issuer_url"]), str(product.running["sandbox_url"]))
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    made = Watched(page, tuple(urlsplit(host).netloc for host in hosts))
    page.goto(f"{product.base}/bank-links")
    page.fill("#email", "grace@example.com")
    page.fill("#password", DEMO_PASSWORD)
    page.click("button:not(.quiet)")
    page.wait_for_url(f"{product.base}/bank-links")
    for _ in range(60):
        if page.evaluate(KNOWN) == 3:
            break
        page.wait_for_timeout(
            500
        )  # `work` makes the catalogue in the first seconds, of what one provider tells after the other
    yield made
    page.close()


@pytest.fixture
def page(watched: Watched, product: Product) -> Iterator[Page]:
    """The banks' page, with nothing linked; whatever a browser complains of is a failure."""
    page = watched.page
    page.goto(f"{product.base}/bank-links")
    yield page
    page.goto(f"{product.base}/bank-links")
    page.evaluate(CLEARED)
    assert watched.complaints == []


def to_bank(page: Page, country: str, name: str) -> None:
    page.select_option("#search select", country)
    page.fill("#search input", name)
    page.click("#search button")
    page.locator("#found button").first.click()


def at_bank(page: Page, answer: str) -> None:
    page.wait_for_url("**/bank/*")
    page.fill("input[name=username]", "jo")
    page.fill("input[name=password]", "sandbox")
    page.click(f"button[value={answer}]")
    page.wait_for_url("**/bank-links/callback*")


@pytest.mark.parametrize(
    ("country", "name", "bank", "provider"),
    [
        ("GB", "harbor", "Harbour Bank", "TRUELAYER"),
        ("DE", "nordlicht", "Nordlicht Bank", "YAPILY"),
        ("US", "prairie", "First Prairie", "PLAID"),
    ],
)
def test_a_bank_is_linked_and_shown(
    page: Page, product: Product, country: str, name: str, bank: str, provider: str
) -> None:
    to_bank(page, country, name)
    if provider == "PLAID":
        page.wait_for_url("**/plaid/link/*")
        page.click(f"a:text-is('{bank}')")  # Plaid's own page, which asks again
    at_bank(page, "approve")

    expect(page.locator("#said")).to_have_text("Linked: AUTHORISED.")
    expect(page.locator("#links")).to_contain_text("Current account")
    expect(page.locator("#links")).to_contain_text("Savings")
    assert page.url == f"{product.base}/bank-links/callback", "without the code"
    assert page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])") == '[{},{},""]'

    page.click("text=Your banks")
    shown = page.locator("#links > li")
    expect(shown).to_have_count(1)
    expect(shown).to_contain_text(f"{bank} ({provider}): AUTHORISED")
    expect(shown).to_contain_text("reading DONE")
    expect(shown).to_contain_text("posted")
    shown.locator("button:text-is('Take back')").click()
    expect(shown).to_contain_text("REVOKED")


def test_an_answer_that_another_overtook_ends_no_looking_again(page: Page, product: Product) -> None:
    """The page asks when it opens, and again at the first word of what is live."""
    first: list[Route] = []
    streams: list[Route] = []
    looks = itertools.count()

    def linked(state: str) -> dict[str, Any]:
        consent = {
            "id": "x",
            "institution": {"name": "Harbour Bank"},
            "provider": "TRUELAYER",
            "status": "AUTHORISED",
            "daysLeft": 89,
            "sync": {"state": state, "fetched": 136},
            "accounts": [],
        }
        return {"data": {"viewer": {"bankConsents": {"edges": [{"node": consent}]}}}}

    def answered(route: Route) -> None:
        asked = route.request.post_data_json["query"]
        if asked.startswith("subscription"):
            if not streams:
                route.fulfill(content_type="text/event-stream", body="event: next\ndata: {}\n\n")
            streams.append(route)  # later ones are left without an answer
        elif not asked.startswith("query Links"):
            route.continue_()
        elif (look := next(looks)) == 0:
            first.append(route)
        elif look == 1:
            route.fulfill(json=linked("RUNNING"))
            first.pop().fulfill(json=linked("RUNNING"))
        else:
            route.fulfill(json=linked("DONE"))

    page.route("**/graphql", answered)
    page.goto(f"{product.base}/bank-links")

    expect(page.locator("#links > li")).to_contain_text("reading DONE")
    page.unroute("**/graphql")


def test_who_declines_is_told_so_and_nothing_is_linked(page: Page) -> None:
    to_bank(page, "GB", "harbour")
    at_bank(page, "decline")

    expect(page.locator("#said")).to_have_text("You declined at the bank: nothing was linked.")
    page.click("text=Your banks")
    expect(page.locator("#links > li")).to_contain_text("AWAITING_AUTHORISATION")


def test_what_another_brought_is_not_taken(page: Page, product: Product) -> None:
    """A link in a mail, say, with the code of a bank of the sender's."""
    to_bank(page, "GB", "harbour")
    page.wait_for_url("**/bank/*")

    page.goto(f"{product.base}/bank-links/callback?code=theirs&state=theirs")

    expect(page.locator("#said")).to_contain_text("This is not the state")
    page.goto(f"{product.base}/bank-links/callback?code=theirs&code=mine&state=theirs")
    expect(page.locator("#said")).to_contain_text("Nothing came back from a bank")
    page.goto(f"{product.base}/bank-links/callback?error=<img src=x onerror=alert(1)>")
    expect(page.locator("#said")).to_have_text("The bank did not agree (imgsrcxonerroralert1): nothing was linked.")


def test_who_began_elsewhere_is_shown_what_to_complete_it_with(browser: Browser, product: Product) -> None:
    """In a browser that nobody has signed in to."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{product.base}/bank-links/callback?one-time-token=once&application-user-id=state")

    expect(page.locator("#said")).to_contain_text("This link was not begun in this tab.")
    told = json.loads(page.locator("#paste").inner_text())
    assert told["input"]["credential"] == {"code": "once", "state": "state"}
    assert page.url == f"{product.base}/bank-links/callback"
    context.close()
