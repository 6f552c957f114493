"""Banks from end to end: linked at each provider, read by `work`, told of by webhooks, watched to their end, revoked and deleted."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.product import Product

HARBOUR, NORDLICHT, PRAIRIE = "harbour-bank-gb", "nordlicht-bank-de", "first-prairie-us"
#: Who speaks for each, as `up` has it by itself.
PROVIDERS = {HARBOUR: "TRUELAYER", NORDLICHT: "YAPILY", PRAIRIE: "PLAID"}
#: Registered by `up`, for clients without a page.
REDIRECT = "isthmus-demo://bank-link"

START = """mutation($input: StartBankLinkInput!) { startBankLink(input: $input) { errors { code message }
    consent { id provider } authorization { ... on RedirectAuthorization { url } ... on LinkTokenAuthorization { hostedUrl } } } }"""
COMPLETE = """mutation($input: CompleteBankLinkInput!) { completeBankLink(input: $input) { errors { code message }
    consent { id status expiresAt daysLeft } } }"""
LINKS = """{ viewer { bankConsents(first: 8) { edges { node { id status sync { state fault }
    accounts { name asset balance { posted { amount } } transactions(first: 40) { edges { node { description amount { amount }
    status provider } } } } } } } } }"""
CHANGED = "subscription { consentChanged { consent { id status daysLeft } } }"


@dataclass
class Bank:
    """The running sandbox."""

    url: str
    http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=20))

    async def tell(self, path: str, **body: Any) -> Any:
        answer = await self.http.post(f"{self.url}/sandbox/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def accounts(self, bank: str) -> list[dict[str, Any]]:
        some = (await self.http.get(f"{self.url}/sandbox/accounts")).json()
        return [one for one in some if (one["bank"], one["username"]) == (bank, "jo")]

    async def approved(self, where: str) -> dict[str, str]:
        """What the person comes back with who goes there, signs in and approves."""
        page = await self.http.get(where, follow_redirects=True)
        form = {"username": "jo", "password": "sandbox", "answer": "approve"}
        back = (await self.http.post(str(page.url), data=form)).headers["location"]
        assert back.startswith(f"{REDIRECT}?"), back
        return {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}

    async def yapilys_name(self) -> str:
        """What Yapily calls the consent that was authorised last, as its webhook said."""
        sent = (await self.http.get(f"{self.url}/sandbox/webhooks")).json()
        told = [json.loads(one["body"]) for one in sent if one["url"].endswith("/yapily")]
        return str([one["event"]["id"] for one in told if one["event"].get("status") == "AUTHORIZED"][-1])


@pytest.fixture
async def bank(product: Product) -> AsyncIterator[Bank]:
    made = Bank(str(product.running["sandbox_url"]))
    yield made
    await made.tell("clock", now=datetime.now(UTC).isoformat())
    await made.http.aclose()


@dataclass
class Watched:
    """Every consent as `consentChanged` told it, in order."""

    told: dict[str, list[tuple[str, int | None]]] = field(default_factory=dict)

    async def follow(self, client: Client, begun: asyncio.Event) -> None:
        async with client.socket() as socket:
            operation = await socket.subscribe(CHANGED)
            begun.set()
            while True:
                consent = (await socket.next(operation, 60))["consentChanged"]["consent"]
                self.told.setdefault(consent["id"], []).append((consent["status"], consent["daysLeft"]))

    def last(self, consent: str) -> str | None:
        return self.told[consent][-1][0] if consent in self.told else None


@pytest.fixture
async def watched(grace: Client) -> AsyncIterator[Watched]:
    made, begun = Watched(), asyncio.Event()
    following = asyncio.create_task(made.follow(grace, begun))
    await asyncio.wait_for(begun.wait(), 10)
    yield made
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def until(true: Callable[[], Awaitable[bool] | bool], what: str, seconds: float = 25) -> None:
    end = time.monotonic() + seconds
    while True:
        answer = true()
        if await answer if isinstance(answer, Awaitable) else answer:
            return
        assert time.monotonic() < end, f"it did not come to it: {what}"
        await asyncio.sleep(0.1)


async def catalogue_is_made(client: Client) -> bool:
    """Of what each provider tells, one after the other, in the first seconds of the product."""
    query = """query($in: CountryCode!) { institutions(country: $in, search: "bank prairie") { edges { node { providers } } } }"""
    pages = [(await client.ask(query, {"in": country})).data["institutions"]["edges"] for country in ("GB", "DE", "US")]
    return all(page and set(page[0]["node"]["providers"]) == set(PROVIDERS.values()) for page in pages)


async def link(client: Client, bank: Bank, institution: str, ends_in: timedelta | None = None) -> str:
    """The consent. `ends_in`: the bank's clock stands so, while its customer is there, that its consent ends this soon."""
    if ends_in is not None:
        await bank.tell("clock", now=(datetime.now(UTC) + ends_in - timedelta(days=180)).isoformat())
    wish = {"institutionId": institution, "redirectUri": REDIRECT, "idempotencyKey": uuid4().hex}
    begun = (await client.ask(START, {"input": wish})).data["startBankLink"]
    assert (begun["errors"], begun["consent"]["provider"]) == ([], PROVIDERS[institution])
    where = begun["authorization"].get("url") or f"{begun['authorization']['hostedUrl']}?institution_id=ins_prairie"
    told = await bank.approved(where)
    match PROVIDERS[institution]:
        case "TRUELAYER":
            credential = {"code": told["code"], "state": told["state"]}
        case "YAPILY":
            credential = {"code": told["one-time-token"], "state": told["application-user-id"]}
        case _:
            credential = {"publicToken": told["public_token"]}
    done = await client.ask(COMPLETE, {"input": {"consentId": begun["consent"]["id"], "credential": credential}})
    if ends_in is not None:
        await bank.tell("clock", now=datetime.now(UTC).isoformat())
    assert done.data["completeBankLink"]["errors"] == []
    assert done.data["completeBankLink"]["consent"]["status"] == "AUTHORISED"
    return str(begun["consent"]["id"])


async def links(client: Client) -> dict[str, Any]:
    edges = (await client.ask(LINKS)).data["viewer"]["bankConsents"]["edges"]
    return {edge["node"]["id"]: edge["node"] for edge in edges}


async def bank_accounts(client: Client) -> int:
    answer = await client.ask("{ viewer { accounts(filter: { kinds: [BANK] }) { totalCount } } }")
    return int(answer.data["viewer"]["accounts"]["totalCount"])


def moved(consent: dict[str, Any]) -> list[str]:
    return [edge["node"]["description"] for one in consent["accounts"] for edge in one["transactions"]["edges"]]


async def ended(client: Client, mutation: str, consent: str) -> None:
    kind = mutation[0].upper() + mutation[1:]
    query = f"mutation($input: {kind}Input!) {{ {mutation}(input: $input) {{ errors {{ code }} }} }}"
    wish = {"consentId": consent, "idempotencyKey": uuid4().hex}
    assert (await client.ask(query, {"input": wish})).data[mutation]["errors"] == []


@pytest.mark.timeout(120)
async def test_banks_from_the_first_look_to_the_last_trace(bank: Bank, grace: Client, watched: Watched) -> None:
    await until(lambda: catalogue_is_made(grace), "the catalogue is made by `work`, of what each provider tells")

    before = await bank_accounts(grace)

    # -- each provider, and what the bank itself says ------------------------------------------------------------------------
    harbour, prairie = await link(grace, bank, HARBOUR), await link(grace, bank, PRAIRIE)
    near = await link(grace, bank, NORDLICHT, timedelta(days=6, hours=1))
    soon = await link(grace, bank, NORDLICHT, timedelta(seconds=5))
    linked = {harbour: "harbour", prairie: "prairie", near: "nordlicht"}

    async def read() -> bool:
        shown = await links(grace)
        assert not [one["sync"]["fault"] for one in shown.values() if one["sync"]["fault"]]
        return all(
            shown[consent]["sync"]["state"] == "DONE" and moved(shown[consent]) for consent in (harbour, prairie)
        )

    await until(read, "`work` reads each bank")
    shown = await links(grace)
    for consent in (harbour, prairie):
        book = await bank.accounts(linked[consent])
        told = {one["name"]: (one["asset"], one["balance"]["posted"]["amount"]) for one in shown[consent]["accounts"]}
        assert told == {one["name"]: (one["currency"], one["booked"]) for one in book}

    # -- a webhook from the sandbox: a movement, then the end of a consent -----------------------------------------------------
    current = next(one for one in await bank.accounts("prairie") if one["name"] == "Current account")
    name = f"Corner shop {uuid4().hex[:8]}"
    await bank.tell("movements", account=current["id"], amount=-1234, name=name)

    async def told_of() -> bool:
        return moved((await links(grace))[prairie]).count(name) == 1

    await until(told_of, "Plaid says that there is something new, and it is read")

    # -- the end: warned of a week ahead, and here -----------------------------------------------------------------------------
    await until(lambda: watched.last(soon) == "EXPIRED", "the consent of five seconds is over")
    await until(lambda: watched.told[near].count(("AUTHORISED", 6)) == 2, "its owner is warned, six days ahead")
    assert watched.told[harbour][-1] == ("AUTHORISED", 89), "far from its end"

    fresh = await link(grace, bank, NORDLICHT)
    await until(lambda: watched.last(fresh) == "AUTHORISED", "it is linked anew")
    await bank.tell("actions", action="yapily.status", consent=await bank.yapilys_name(), status="REVOKED")
    await until(lambda: watched.last(fresh) == "REVOKED", "its owner took it back at the bank")

    # -- taken back here, and gone ---------------------------------------------------------------------------------------------
    await ended(grace, "revokeBankConsent", harbour)
    await until(lambda: watched.last(harbour) == "REVOKED", "taken back here")
    assert moved((await links(grace))[harbour]), "what it told is kept"
    for consent in (harbour, prairie, near, soon, fresh):
        await ended(grace, "deleteBankLink", consent)
    assert not (await links(grace)).keys() & {harbour, prairie, near, soon, fresh}
    assert await bank_accounts(grace) == before
