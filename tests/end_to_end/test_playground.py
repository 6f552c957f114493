"""The playground in a headless Chromium: signed in through the issuer, every tab runs, and nothing leaks or comes from elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, Response, WebSocket

from isthmus.auth.provider.users import DEMO_PASSWORD
from tests.conftest import NO_CHROMIUM
from tests.end_to_end.chromium import Watched, chromium, found
from tests.end_to_end.product import Product

pytestmark = [
    pytest.mark.skipif(found() is None, reason=NO_CHROMIUM),
    pytest.mark.timeout(240),
]

RUN = ".graphiql-execute-button"
TABS = (
    "Balances", "OpenAccount", "Transfer", "History", "LiveBalances", "AuditTrail", "CreateApiKey", "ApiKeys", "Assets",
)  # fmt: skip
#: Everything that a script can read of what the browser keeps.
KEPT = """async () => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, await indexedDB.databases(),
    await caches.keys(), window.name])"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def signed_in(browser: Browser, product: Product) -> Watched:
    issuer = str(product.running["issuer_url"])
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(60_000)
    watched = Watched(page, (urlsplit(product.base).netloc, urlsplit(issuer).netloc))
    page.goto(f"{product.base}/playground")
    page.fill("#email", "ada@example.com")
    page.fill("#password", DEMO_PASSWORD)
    page.click("button:not(.quiet)")
    page.wait_for_selector(RUN)
    return watched


def run(page: Page) -> Any:
    """What the API answers to the tab that is open."""
    asked = "query IntrospectionQuery"

    def answers(response: Response) -> bool:
        return response.url.endswith("/graphql") and asked not in (response.request.post_data or "")

    with page.expect_response(answers) as answer:
        page.click(RUN)
    return answer.value.json()


def shown(page: Page, text: str) -> None:
    page.locator(".result-window").filter(has_text=text).wait_for()


def test_every_tab_runs_and_no_script_sees_a_token(browser: Browser, product: Product) -> None:
    watched = signed_in(browser, product)
    page = watched.page
    frames: list[str] = []

    def follow(socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: frames.append(str(frame)))

    def messages() -> int:
        return sum('"next"' in frame for frame in frames)

    page.on("websocket", follow)
    assert page.url == f"{product.base}/playground"
    assert tuple(page.locator(".graphiql-tab-button").all_inner_texts()) == TABS

    answers: dict[str, Any] = {}
    for tab in TABS:
        page.locator(".graphiql-tab-button", has_text=tab).first.click()
        if tab != "LiveBalances":
            answers[tab] = run(page)  # at once: before GraphiQL itself has read the tab's document
            assert "errors" not in answers[tab], (tab, answers[tab])
            shown(page, '"data"')
            continue
        page.click(RUN)
        shown(page, "balanceChanged")
        first = messages()
        pay(product, page)
        until(page, lambda seen=first: messages() > seen)
        page.click(RUN)  # the same button stops it

    for tab, answer in answers.items():
        payload = next(iter(answer["data"].values()))
        assert not isinstance(payload, dict) or payload.get("errors", []) == [], (tab, answer)
    assert answers["Transfer"]["data"]["transferInternally"]["journal"]["reference"] == "from the playground"
    assert answers["CreateApiKey"]["data"]["createApiKey"]["secret"].startswith("isk_")
    assert answers["ApiKeys"]["data"]["apiKeys"]["totalCount"] >= 1
    assert all('"error"' not in frame for frame in frames)

    assert page.evaluate(KEPT) == '[{},{},"",[],[],""]'
    assert not any("eyJ" in address for address in watched.addresses)
    assert watched.complaints == []
    page.close()


def code_for(product: Product, page: Page, told: str) -> str:
    """The code of the newest message in which that is said."""
    found: list[str] = []

    def came() -> bool:
        messages = httpx.get(f"{product.running['sandbox_url']}/sandbox/inbox").json()
        found.extend(re.findall(rf"{told}.*?your code is (\d{{6}})", " ".join(one["body"] for one in messages)))
        return bool(found)

    until(page, came)
    return found[-1]


def pay(product: Product, page: Page) -> None:
    """From another place: a program with an API key of the same person's."""
    ask = """async (body) => (await (await fetch('/graphql', {method: 'POST', body: JSON.stringify(body),
        headers: {'content-type': 'application/json', 'x-isthmus-csrf': '1'}})).json()).data"""
    accounts = page.evaluate(
        ask,
        {"query": "{ viewer { accounts(first: 50, filter: {kinds: [LEDGER]}) { edges { node { id name asset } } } } }"},
    )
    mine = {edge["node"]["name"]: edge["node"]["id"] for edge in accounts["viewer"]["accounts"]["edges"]}
    made = page.evaluate(
        ask,
        {
            "query": "mutation { createApiKey(input: {name: \"payer\", scopes: [READ, WRITE], "
            f"idempotencyKey: \"{time.monotonic_ns()}\"}}) {{ secret apiKey {{ challenge {{ id }} }} }} }}"
        },
    )["createApiKey"]  # fmt: skip
    key, challenge = made["secret"], made["apiKey"]["challenge"]["id"]
    code = code_for(product, page, "Make the API key “payer”")
    answer = f'{{challengeId: "{challenge}", answer: {{oneTimeCode: "{code}"}}}}'
    answered = page.evaluate(
        ask, {"query": f"mutation {{ answerScaChallenge(input: {answer}) {{ errors {{ code }} }} }}"}
    )
    assert answered["answerScaChallenge"]["errors"] == []
    wish = {
        "fromAccountId": mine["Everyday"],
        "toAccountId": mine["Savings"],
        "amount": {"amount": "0.01", "asset": "EUR"},
        "idempotencyKey": str(time.monotonic_ns()),
    }
    query = "mutation($input: TransferInternallyInput!) { transferInternally(input: $input) { errors { code } } }"
    paid = httpx.post(
        product.url,
        json={"query": query, "variables": {"input": wish}},
        headers={"authorization": f"Bearer {key}"},
        timeout=20,
    )
    assert paid.json()["data"]["transferInternally"]["errors"] == []


def until(page: Page, condition: Callable[[], bool], seconds: float = 30) -> None:
    """The page goes on meanwhile: playwright hands events over only while it is asked something."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        page.wait_for_timeout(50)


def test_the_issuers_session_signs_in_silently_and_signing_out_ends_both(browser: Browser, product: Product) -> None:
    watched = signed_in(browser, product)
    page = watched.page
    ours = [cookie for cookie in page.context.cookies() if cookie.get("name") == "isthmus_page"]
    assert [(cookie.get("httpOnly"), cookie.get("sameSite")) for cookie in ours] == [(True, "Lax")]

    page.context.clear_cookies(name="isthmus_page")
    page.goto(f"{product.base}/playground")
    page.wait_for_selector(RUN)  # no form was shown

    page.click("text=Sign out")
    page.wait_for_selector(
        "text=You will be signed out in this browser"
    )  # the issuer asks; the playground has buttons too
    page.click("main button, form button:not(.quiet)")
    page.wait_for_selector("text=You are signed out.")
    page.goto(f"{product.base}/playground")
    page.wait_for_selector("#password")
    assert watched.complaints == []
    page.close()
