"""Link a bank of the sandbox, see what it tells, and watch its consent until it is over: GraphQL with nothing but HTTP and a WebSocket.

.venv/bin/python examples/link_bank.py http://127.0.0.1:8000 ada@example.com DE nordlicht

At a real bank its customer signs in on the bank's own page; here Jo does, whose password the sandbox tells everybody.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from isthmus.auth.sign_in import sign_in

#: Registered by `up` for programs: nobody listens there, whoever walks the redirects sees what came back in the last of them.
REDIRECT = "isthmus-demo://bank-link"
AT_BANK = {"username": "jo", "password": "sandbox", "answer": "approve"}
OVER = ("EXPIRED", "REJECTED", "REVOKED", "FAILED")
LOOK_S = 2.0

FIND = """query($country: CountryCode!, $search: String) {
  institutions(country: $country, search: $search, first: 1) { edges { node { id name } } } }"""
START = """mutation($input: StartBankLinkInput!) { startBankLink(input: $input) { errors { message } consent { id provider }
  authorization { ... on RedirectAuthorization { url } ... on LinkTokenAuthorization { hostedUrl } } } }"""
COMPLETE = """mutation($input: CompleteBankLinkInput!) { completeBankLink(input: $input) { errors { message } } }"""
READ = """query($id: ID!) { node(id: $id) { ... on BankConsent { sync { state }
  accounts { name asset balance { posted { amount } }
    transactions(first: 20) { totalCount edges { node {
      id bookedAt description counterparty { name } status amount { amount asset } } } } } } } }"""
CHANGED = "subscription { consentChanged { consent { id status daysLeft } } }"


class Api:
    def __init__(self, base: str, token: str) -> None:
        self.url, self.token = f"{base}/graphql", token
        self.http = httpx.AsyncClient(timeout=20, headers={"Authorization": f"Bearer {token}"})

    async def ask(self, query: str, **variables: Any) -> Any:
        answer = (await self.http.post(self.url, json={"query": query, "variables": variables})).json()
        if errors := answer.get("errors"):
            sys.exit(f"refused: {errors[0]['message']}")
        return answer["data"]

    async def wish(self, mutation: str, **wish: Any) -> Any:
        (payload,) = (await self.ask(mutation, input=wish)).values()
        if errors := payload["errors"]:
            sys.exit(f"refused: {errors[0]['message']}")
        return payload


async def main(base: str, email: str, country: str, search: str) -> None:
    api = Api(base, (await sign_in(base, email, "isthmus-demo")).access_token)
    consent = await link(api, country, search)
    await show(api, consent)
    try:
        await watch(api, consent)
    finally:
        await api.http.aclose()


async def link(api: Api, country: str, search: str) -> str:
    found = (await api.ask(FIND, country=country, search=search))["institutions"]["edges"]
    if not found:
        sys.exit("no such bank; after a first start they are known within ten seconds")
    bank = found[0]["node"]
    begun = await api.wish(START, institutionId=bank["id"], redirectUri=REDIRECT, idempotencyKey=str(uuid4()))
    consent: str = begun["consent"]["id"]
    say(f"{bank['name']}, by {begun['consent']['provider']}: consent {consent}")
    told = await at_bank(begun["authorization"], bank["name"])
    if "one-time-token" in told:  # Yapily
        credential = {"code": told["one-time-token"], "state": told["application-user-id"]}
    elif "code" in told:  # TrueLayer
        credential = {"code": told["code"], "state": told["state"]}
    else:  # Plaid
        credential = {"publicToken": told["public_token"]}
    await api.wish(COMPLETE, consentId=consent, credential=credential)
    return consent


async def at_bank(authorization: dict[str, str], name: str) -> dict[str, str]:
    """What a browser would do: go there, sign in, approve, be sent back."""
    async with httpx.AsyncClient(timeout=20, follow_redirects=True) as http:
        page = await http.get(authorization.get("url") or authorization["hostedUrl"])
        if "hostedUrl" in authorization:  # Plaid's own page: choose the bank once more
            before, _, _ = page.text.partition(f">{name}</a>")
            page = await http.get(page.url.join(before.rpartition('href="')[2].rstrip('"')))
        say(f"{AT_BANK['username']} approves at {page.url}")
        back = await http.post(page.url, data=AT_BANK, follow_redirects=False)
    return dict(parse_qsl(urlsplit(back.headers["location"]).query))


async def show(api: Api, consent: str) -> None:
    """As soon as the bank has been read."""
    while True:
        read = (await api.ask(READ, id=consent))["node"]
        if read["sync"]["state"] == "DONE":
            break
        await asyncio.sleep(0.2)
    for account in read["accounts"]:
        posted, moved = account["balance"]["posted"]["amount"], account["transactions"]
        say(f"{account['name']:<16} {posted:>10} {account['asset']}  {moved['totalCount']} transactions")
        for edge in moved["edges"][:3]:
            say(line(edge["node"]))


async def watch(api: Api, consent: str) -> None:
    """Changes of the consent come live, and after a reconnection as it is then; new transactions are looked for."""
    seen = set(await transactions(api, consent))
    while True:
        try:
            async with connect(
                api.url.replace("http", "ws", 1), subprotocols=[Subprotocol("graphql-transport-ws")]
            ) as ws:
                token = {"Authorization": f"Bearer {api.token}"}
                await ws.send(json.dumps({"type": "connection_init", "payload": token}))
                await ws.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": CHANGED}}))
                while True:
                    try:
                        message = json.loads(await asyncio.wait_for(ws.recv(), LOOK_S))
                    except TimeoutError:
                        newest = await transactions(api, consent)
                        for new in newest.keys() - seen:
                            say(line(newest[new]))
                        seen |= newest.keys()
                        continue
                    if message["type"] != "next":
                        continue
                    told = message["payload"]["data"]["consentChanged"]["consent"]
                    if told["id"] == consent:
                        say(f"consent {told['status']}, days left: {told['daysLeft']}")
                        if told["status"] in OVER:
                            return
        except (ConnectionClosed, InvalidHandshake, OSError):
            await asyncio.sleep(LOOK_S)


async def transactions(api: Api, consent: str) -> dict[str, Any]:
    accounts = (await api.ask(READ, id=consent))["node"]["accounts"]
    return {edge["node"]["id"]: edge["node"] for one in accounts for edge in one["transactions"]["edges"]}


def line(transaction: dict[str, Any]) -> str:
    day, amount = (transaction["bookedAt"] or "")[:10], transaction["amount"]
    who = (transaction["counterparty"] or {}).get("name") or transaction["description"]
    return f"  {day:<10} {amount['amount']:>10} {amount['asset']}  {transaction['status']:<7}  {who}"


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1].removesuffix("/graphql"), *sys.argv[2:]))
    except KeyboardInterrupt:
        sys.exit(130)
