"""GraphQL over server-sent events, as graphql-sse has it in distinct connections mode."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from isthmus.auth.caller import Caller
from isthmus.auth.callers import Callers
from isthmus.graphql import sse
from tests.api.conftest import CONTRACT, Person, Served, deposit, token

CHANGED = """subscription($ids: [ID!], $after: Position) { balanceChanged(accountIds: $ids, after: $after) {
    version position account { id } cause { eventType } } }"""


@dataclass
class Event:
    name: str
    data: Any
    id: str | None


class Stream:
    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def event(self, timeout_s: float = 5) -> Event:
        fields: dict[str, str] = {}
        async with asyncio.timeout(timeout_s):
            async for line in self._lines:
                if not line:
                    if "event" in fields:
                        break
                    continue
                name, _, value = line.partition(":")
                if name:
                    fields[name] = value.removeprefix(" ")
            else:
                raise EOFError
        return Event(fields["event"], json.loads(fields["data"]) if fields["data"] else None, fields.get("id"))

    async def change(self) -> Any:
        event = await self.event()
        assert event.name == "next"
        assert "errors" not in event.data, event
        return event.data["data"]["balanceChanged"]


@asynccontextmanager
async def streaming(
    served: Served, given: str | None, query: str, variables: Any = None, method: str = "POST", **headers: str
) -> AsyncIterator[Stream]:
    sent = {"Accept": "text/event-stream", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if given is not None:
        sent["Authorization"] = f"Bearer {given}"
    body: Any = {"json": {"query": query, "variables": variables}}
    if method == "GET":
        body = {"params": {"query": query, "variables": json.dumps(variables or {})}}
    async with (
        httpx.AsyncClient(timeout=10) as client,
        client.stream(method, served.graphql, headers=sent, **body) as response,
    ):
        yield Stream(response)


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_subscription_streams_balances_and_what_changes_them(
    served: Served, ada: Person, olga: Person, method: str
) -> None:
    account = ada.open()
    async with streaming(served, ada.token, CHANGED, {"ids": [account]}, method) as stream:
        first = await stream.event()
        await asyncio.to_thread(deposit, olga, account, "1.00")
        second = await stream.event()

    assert stream.response.status_code == 200
    assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.response.headers["cache-control"] == "no-store"
    assert stream.response.headers["x-accel-buffering"] == "no"
    assert "content-length" not in stream.response.headers
    assert (first.name, second.name) == ("next", "next")
    changes = [event.data["data"]["balanceChanged"] for event in (first, second)]
    assert [(one["version"], one["cause"] and one["cause"]["eventType"]) for one in changes] == [
        (0, None),
        (1, "JournalPosted"),
    ]
    assert [first.id, second.id] == [one["position"] for one in changes]
    assert first.data["extensions"]["correlationId"] == stream.response.headers["x-correlation-id"]


async def test_who_listens_anew_does_nothing_and_who_asks_does(
    served: Served, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that is cut off is listened to again by the app, and not by its person: their session lasts no longer for it."""
    account, used = ada.open(), list[str]()

    async def note(self: Callers, caller: Caller) -> None:
        used.append(caller.actor)

    monkeypatch.setattr(Callers, "used", note)
    async with streaming(served, ada.token, CHANGED, {"ids": [account]}) as stream:
        await stream.event()
    async with streaming(served, ada.token, "{ assets { code } }", X_Isthmus_Looks_On="1"):
        pass
    assert used == []
    async with streaming(served, ada.token, "{ assets { code } }"):
        pass
    assert used == [f"person:{ada.id}"]


async def test_the_id_of_the_last_event_goes_on_behind_it(served: Served, ada: Person, olga: Person) -> None:
    account = ada.open()
    seen = deposit(olga, account, "1.00")["position"]
    for _ in range(3):
        deposit(olga, account, "1.00")
    async with streaming(served, ada.token, CHANGED, {"after": "0"}, Last_Event_ID=seen) as stream:
        versions = [(await stream.change())["version"] for _ in range(3)]

    assert versions == [2, 3, 4]
    async with streaming(served, ada.token, CHANGED, Last_Event_ID="x") as stream:
        assert stream.response.status_code == 400


async def test_queries_and_mutations_are_one_event_and_the_end(served: Served, ada: Person) -> None:
    async with streaming(served, ada.token, "{ viewer { id } }") as stream:
        events = [await stream.event(), await stream.event()]
        with pytest.raises(EOFError):
            await stream.event()
    assert [event.name for event in events] == ["next", "complete"]
    assert events[0].data["data"]["viewer"]["id"]
    assert events[1].data is None
    wish = {"asset": "EUR", "name": "Stream", "idempotencyKey": uuid4().hex}
    mutation = "mutation($input: OpenAccountInput!) { openAccount(input: $input) { account { name } } }"
    async with streaming(served, ada.token, mutation, {"input": wish}) as stream:
        assert (await stream.event()).data["data"]["openAccount"]["account"]["name"] == "Stream"


@pytest.mark.parametrize(
    ("query", "variables", "status", "code"),
    [
        ("{", None, 400, "BAD_USER_INPUT"),
        ("subscription { nope }", None, 400, "BAD_USER_INPUT"),
        (CHANGED, {"after": "x"}, 400, "BAD_USER_INPUT"),
        (CHANGED, {"after": "999999999"}, 400, "BAD_USER_INPUT"),
        (CHANGED, {"ids": ["x"] * 201}, 400, "BAD_USER_INPUT"),
        ("{ viewer { " + " ".join(f"a{n}: id" for n in range(20)) + " } }", None, 400, "QUERY_TOO_COMPLEX"),
    ],
)
async def test_what_is_refused_is_answered_by_status_and_as_json_before_any_stream(
    served: Served, ada: Person, query: str, variables: Any, status: int, code: str
) -> None:
    async with streaming(served, ada.token, query, variables) as stream:
        body = json.loads(await stream.response.aread())

    assert stream.response.status_code == status
    assert "json" in stream.response.headers["content-type"]
    assert body["errors"][0]["extensions"]["code"] == code
    assert "data" not in body


@pytest.mark.parametrize("given", [None, "x", pytest.param(token("late", seconds=-1), id="expired")])
async def test_whoever_is_not_signed_in_gets_401_and_no_stream(served: Served, given: str | None) -> None:
    async with streaming(served, given, CHANGED) as stream:
        assert stream.response.status_code == 401


async def test_a_mutation_by_get_is_refused(served: Served, ada: Person) -> None:
    async with streaming(served, ada.token, CONTRACT, None, "GET") as stream:
        assert stream.response.status_code == 400
    async with streaming(served, ada.token, "mutation { closeAccount(input: {}) { replayed } }", None, "GET") as stream:
        assert stream.response.status_code in (400, 405)


async def test_who_takes_json_too_gets_a_stream_only_where_there_is_one(served: Served, ada: Person) -> None:
    both = "application/graphql-response+json, application/json, text/event-stream"
    ada.open()
    async with streaming(served, ada.token, "{ viewer { id } }", Accept=both) as stream:
        assert stream.response.headers["content-type"].startswith("application/graphql-response+json")
    async with streaming(served, ada.token, CHANGED, Accept=both) as stream:
        assert (await stream.change())["version"] == 0


async def test_a_stream_ends_with_its_token_and_is_not_complete(served: Served, ada: Person) -> None:
    ada.open()
    async with streaming(served, token(ada.subject, seconds=0.8), CHANGED) as stream:
        await stream.change()
        with pytest.raises(EOFError):
            await stream.event(3)


async def test_an_idle_stream_says_that_it_lives(served: Served, ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT_S", 0.05)
    async with streaming(served, ada.token, CHANGED) as stream, asyncio.timeout(3):
        beats = 0
        async for line in stream.response.aiter_lines():
            beats += line == ":"
            if beats == 4:
                break
