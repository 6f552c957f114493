"""What a person does for `bench sync`: links a bank at the sandbox, over HTTP, and looks how far its reading has come."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx

from isthmus.graphql.ids import consent_key

_REDIRECT = "isthmus-demo://bank-link"
_READ_S = 300.0
_START = """mutation($input: StartBankLinkInput!) { startBankLink(input: $input) { consent { id } errors { message }
    authorization { ... on RedirectAuthorization { url } ... on LinkTokenAuthorization { hostedUrl } } } }"""
_COMPLETE = """mutation($input: CompleteBankLinkInput!) { completeBankLink(input: $input) {
    consent { accounts { id } } errors { message } } }"""
_REFRESH = "mutation($input: RefreshBankLinkInput!) { refreshBankLink(input: $input) { errors { message } } }"
_SYNC = "query($id: ID!) { node(id: $id) { ... on BankConsent { sync { state fetched syncedAt fault } } } }"
_KNOWN = (
    "query($country: CountryCode!) { institutions(country: $country, first: 50) { edges { node { id providers } } } }"
)


@dataclass(frozen=True)
class Bank:
    """`id` is the sandbox's name for it, `institution` ours."""

    provider: str
    id: str
    institution: str

    @property
    def country(self) -> str:
        return self.institution[-2:].upper()


@dataclass(frozen=True)
class Linked:
    consent: str
    bank: Bank

    @property
    def consent_key(self) -> UUID:
        return consent_key(self.consent)


@dataclass
class Seen:
    """How long it took, and what numbers the API showed meanwhile, each once."""

    seconds: float = 0.0
    rising: list[int] = field(default_factory=list)


class Person:
    def __init__(self, http: httpx.AsyncClient, base: str, sandbox: str, token: str) -> None:
        self._http = http
        self._graphql = f"{base}/graphql"
        self._sandbox = sandbox
        self._token = token
        self.username = "busy"

    async def knows(self, bank: Bank) -> bool:
        told = await self._ask(_KNOWN, country=bank.country)
        return any(
            edge["node"]["id"] == bank.institution and bank.provider.upper() in edge["node"]["providers"]
            for edge in told["institutions"]["edges"]
        )

    async def begin_at(self, bank: Bank, *, busy: int, days: int) -> str:
        """A new customer of the bank, with an account in which much has happened. The sandbox's name for that."""
        await self._tell("customers", bank=bank.id, username=self.username)
        told = await self._tell(
            "accounts", bank=bank.id, username=self.username, name="Everyday", busy=busy, history_days=days
        )
        account: str = told["id"]
        return account

    async def book(self, account: str) -> list[dict[str, Any]]:
        answer = await self._http.get(f"{self._sandbox}/sandbox/movements", params={"account": account})
        some: list[dict[str, Any]] = answer.raise_for_status().json()
        return [one for one in some if one["state"] != "CANCELLED"]

    async def link(self, bank: Bank) -> tuple[Linked, Seen]:
        """From the credential on until all is read."""
        wish = {"institutionId": bank.institution, "redirectUri": _REDIRECT, "idempotencyKey": uuid4().hex}
        begun = (await self._ask(_START, input=wish))["startBankLink"]
        assert not begun["errors"], begun
        linked = Linked(begun["consent"]["id"], bank)
        back = await self._approve(bank, begun["authorization"])
        match bank.provider:
            case "plaid":
                brought = {"publicToken": back["public_token"]}
            case "yapily":
                brought = {"code": back["one-time-token"], "state": back["application-user-id"]}
            case _:
                brought = {"code": back["code"], "state": back["state"]}
        begun_at = time.perf_counter()
        done = await self._ask(_COMPLETE, input={"consentId": linked.consent, "credential": brought})
        assert not done["completeBankLink"]["errors"], done
        return linked, await self._until_read(linked, begun_at, before=None)

    async def more(self, linked: Linked, account: str, times: int) -> Seen:
        """From so many more at the bank until they are read. Plaid says so by a webhook; at the others the person asks."""
        before = (await self._sync(linked))["syncedAt"]
        begun_at = time.perf_counter()
        await self._tell("movements", account=account, amount=-250, name="Blue Bottle Coffee", times=times)
        if linked.bank.provider != "plaid":
            asked = await self._ask(_REFRESH, input={"consentId": linked.consent})
            assert not asked["refreshBankLink"]["errors"], asked
        return await self._until_read(linked, begun_at, before=before)

    async def _until_read(self, linked: Linked, begun_at: float, before: str | None) -> Seen:
        seen = Seen()
        async with asyncio.timeout(_READ_S):
            while True:
                sync = await self._sync(linked)
                if sync["state"] == "RUNNING" and sync["fetched"] and sync["fetched"] not in seen.rising:
                    seen.rising.append(sync["fetched"])
                if sync["state"] == "DONE" and sync["syncedAt"] != before:
                    seen.seconds = time.perf_counter() - begun_at
                    return seen
                if sync["state"] == "FAILED":
                    raise RuntimeError(f"{linked.bank.provider}: {sync['fault']}")
                await asyncio.sleep(0.1 if before is None else 0.02)

    async def _sync(self, linked: Linked) -> dict[str, Any]:
        told = await self._ask(_SYNC, id=linked.consent)
        found: dict[str, Any] = told["node"]["sync"]
        return found

    async def _approve(self, bank: Bank, authorization: dict[str, Any]) -> dict[str, str]:
        """What the person comes back with from the bank's page."""
        hosted = authorization.get("hostedUrl")
        url = authorization["url"] if hosted is None else f"{hosted}?institution_id=ins_{bank.id}"
        page = await self._http.get(url, follow_redirects=True)
        signed = {"username": self.username, "password": "sandbox", "answer": "approve"}
        back = (await self._http.post(str(page.url), data=signed)).headers["location"]
        return {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}

    async def _tell(self, path: str, **body: Any) -> dict[str, Any]:
        answer = await self._http.post(f"{self._sandbox}/sandbox/{path}", json=body)
        told: dict[str, Any] = answer.raise_for_status().json()
        return told

    async def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}"}
        body = {"query": query, "variables": variables}
        answer = (await self._http.post(self._graphql, json=body, headers=headers)).json()
        if "errors" in answer:
            raise RuntimeError(f"the API answered {answer['errors']}")
        data: dict[str, Any] = answer["data"]
        return data
