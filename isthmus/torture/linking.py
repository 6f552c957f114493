"""Clients link an account at a bank before anything is broken: through the API, and at the bank's own page, as people do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.torture.bank import Bank
from isthmus.torture.door import Away, HttpDoor
from isthmus.torture.rails import RAILS, Rail

#: What linking is known by in the log.
LINKING = "aside-link"
_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.2
#: Registered for programs: nobody listens there, and the last redirect has what came back.
_REDIRECT = "isthmus-demo://bank-link"

_KNOWN = "query($in: CountryCode!) { institutions(country: $in, first: 10) { edges { node { id providers } } } }"
_START = """mutation($input: StartBankLinkInput!) { startBankLink(input: $input) { errors { code message } consent { id provider }
  authorization { ... on RedirectAuthorization { url } ... on LinkTokenAuthorization { hostedUrl } } } }"""
_COMPLETE = "mutation($input: CompleteBankLinkInput!) { completeBankLink(input: $input) { errors { code message } } }"
_READ = "query($id: ID!) { node(id: $id) { ... on BankConsent { sync { state } accounts { id name } } } }"


@dataclass(frozen=True)
class Linked:
    """An account at a bank: its id here, who signs in there, and what the bank's own book calls it."""

    rail: Rail
    account: str
    username: str
    in_the_book: str


async def catalogue(door: HttpDoor) -> None:
    """Returns once every provider has told of its banks. Raises TimeoutError."""

    async def known() -> bool:
        for rail in RAILS:
            told = await _data(door, _KNOWN, {"in": rail.country})
            nodes = [edge["node"] for edge in told["institutions"]["edges"]]
            if not any(one["id"] == rail.institution and rail.name.upper() in one["providers"] for one in nodes):
                return False
        return True

    await _until(known)


async def link(door: HttpDoor, bank: Bank, rail: Rail, username: str) -> Linked:
    """`door`: of a server that has the route. Raises TimeoutError."""
    in_the_book = await bank.join(rail.bank, username)
    wish = {"institutionId": rail.institution, "redirectUri": _REDIRECT, "idempotencyKey": f"link-{username}"}
    begun = (await _data(door, _START, {"input": wish}))["startBankLink"]
    assert not begun["errors"], begun
    assert begun["consent"]["provider"] == rail.name.upper(), begun
    where = begun["authorization"]
    hosted = where.get("hostedUrl")
    back = await bank.visit(hosted or where["url"], username, choose=rail.bank if hosted else "")
    done = {"consentId": begun["consent"]["id"], "credential": _credential(back)}
    await _data(door, _COMPLETE, {"input": done})  # whether it came to that, its accounts say
    found: list[str] = []

    async def read() -> bool:
        node = (await _data(door, _READ, {"id": begun["consent"]["id"]}))["node"]
        found[:] = [one["id"] for one in node["accounts"]] if node is not None else []
        return bool(found) and node["sync"]["state"] == "DONE"

    await _until(read)
    return Linked(rail, found[0], username, in_the_book)


def _credential(back: Mapping[str, str]) -> dict[str, str]:
    if "one-time-token" in back:  # Yapily
        return {"code": back["one-time-token"], "state": back["application-user-id"]}
    if "code" in back:  # TrueLayer
        return {"code": back["code"], "state": back["state"]}
    return {"publicToken": back["public_token"]}


async def _data(door: HttpDoor, query: str, variables: Mapping[str, Any]) -> Any:
    """Nothing is broken yet, but a machine that starts so much may be slow: what is not answered is asked again."""
    found: list[Any] = []

    async def answered() -> bool:
        with contextlib.suppress(Away):
            found.append((await door.ask(query, variables, correlation_id=LINKING)).data)
        return bool(found) and found[-1] is not None

    await _until(answered)
    return found[-1]


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(_WITHIN_S):
        while not await true():  # noqa: ASYNC110 - nobody tells when
            await asyncio.sleep(_LOOK_EVERY_S)
