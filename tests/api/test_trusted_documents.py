"""Trusted documents: in production what was published runs, named or sent whole, over every transport; and nothing else is read."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from typing import Any

import asyncpg
import httpx
import pytest
from graphql import get_introspection_query

from isthmus.auth.scopes import Role
from isthmus.graphql.media import GRAPHQL
from isthmus.runtime import trusted_documents as store
from tests.api.conftest import CONTRACT, Person, Served
from tests.api.socket_client import connected

WHO = "query Who { viewer { subject } }"
OPEN = "mutation Open($input: OpenAccountInput!) { openAccount(input: $input) { account { name } errors { code } } }"
CHANGED = "subscription Changed { balanceChanged { version } }"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def publish(served: Served, *texts: str, client: str = "web") -> None:
    _owner(served, lambda connection: store.publish(connection, client, [_document(text) for text in texts], "a test"))


def retire(served: Served, *texts: str, client: str | None = None) -> None:
    _owner(
        served,
        lambda connection: store.retire(connection, [bytes.fromhex(sha(text)) for text in texts], client, "a test"),
    )


def _document(text: str) -> store.Document:
    return store.Document(bytes.fromhex(sha(text)), text, ("X",))


def _owner(served: Served, work: Any) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(served.database_url)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


@pytest.fixture(scope="module")
def published(production: Served) -> Served:
    """A process that has looked just before looks again at its next unknown document, a quarter of a second later."""
    publish(production, WHO, OPEN, CHANGED)
    person, deadline = Person(production), time.monotonic() + 10
    while "data" not in post(person, {"query": WHO}).json():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return production


@pytest.fixture
def person(published: Served) -> Person:
    return Person(published)


NAMED: dict[str, dict[str, Any]] = {
    "Apollo": {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": sha(WHO)}}},
    "Apollo with the text": {"query": WHO, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": sha(WHO)}}},
    "Relay, doc_id": {"doc_id": sha(WHO)},
    "Relay, id": {"id": sha(WHO), "query": None},
    "documentId of GraphQL over HTTP": {"documentId": f"sha256:{sha(WHO)}"},
    "the text alone": {"query": WHO},
}  # fmt: skip


def post(person: Person, body: Any, **headers: str) -> httpx.Response:
    return httpx.post(
        person.url, json=body, headers={"Authorization": f"Bearer {person.token}", "Accept": GRAPHQL, **headers}
    )


def code(answer: httpx.Response) -> str:
    assert "data" not in answer.json(), "nothing ran"
    found: str = answer.json()["errors"][0]["extensions"]["code"]
    return found


@pytest.mark.parametrize("name", NAMED)
def test_a_published_document_runs_however_it_is_named(person: Person, name: str) -> None:
    body = NAMED[name]
    parameters = {k: v if isinstance(v, str) else json.dumps(v) for k, v in body.items() if v is not None}

    posted = post(person, body)
    got = httpx.get(person.url, params=parameters, headers={"Authorization": f"Bearer {person.token}"})

    assert posted.json()["data"] == got.json()["data"] == {"viewer": {"subject": person.subject}}


@pytest.mark.parametrize("name", NAMED)
async def test_and_over_websocket(published: Served, person: Person, name: str) -> None:
    async with connected(published) as client:
        await client.sign_in(person.token)
        await client.send({"id": "1", "type": "subscribe", "payload": NAMED[name]})

        assert (await client.next())["data"] == {"viewer": {"subject": person.subject}}


async def test_a_published_subscription_streams_by_its_hash(published: Served, person: Person) -> None:
    async with connected(published) as client:
        await client.sign_in(person.token)
        await client.send({"id": "1", "type": "subscribe", "payload": {"documentId": f"sha256:{sha(CHANGED)}"}})
        wish = {"asset": "EUR", "name": "By hash", "idempotencyKey": "by-hash"}
        opened = await asyncio.to_thread(post, person, {"doc_id": sha(OPEN), "variables": {"input": wish}})

        assert opened.json()["data"]["openAccount"] == {"account": {"name": "By hash"}, "errors": []}
        assert (await client.next())["data"] == {"balanceChanged": {"version": 0}}


UNTRUSTED = {
    "another text": "query Who { viewer { id } }",
    "the same with a blank more": WHO + " ",
    "the same with a comment": WHO + "#",
    "no document at all": "{",
    "a wrong name": "{ viewe { id } }",
    "__typename": "{ __typename }",
    "introspection": get_introspection_query(),
    "__type": '{ __type(name: "Viewer") { name } }',
    "introspection beside data": "{ __schema { description } viewer { id } }",
}  # fmt: skip


@pytest.mark.parametrize("name", UNTRUSTED)
async def test_a8_a9_what_was_not_published_is_not_even_read(published: Served, person: Person, name: str) -> None:
    """Rows A8, A9: no introspection, no suggestion, no syntax error: one answer for all, over both transports."""
    answer = await asyncio.to_thread(post, person, {"query": UNTRUSTED[name]})
    async with connected(published) as client:
        await client.sign_in(person.token)
        await client.subscribe(UNTRUSTED[name])
        message = await client.receive()

    assert (answer.status_code, code(answer)) == (400, "DOCUMENT_NOT_TRUSTED")
    assert message["type"] == "error"
    assert message["payload"][0]["message"] == answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.OPERATOR])
async def test_a8_the_schema_is_shown_to_the_scope_schema_read(published: Served, role: Role) -> None:
    """Row A8: introspection alone, as tools ask for it; the scope opens no other document."""
    person = Person(published, role)
    asked = "{ __schema { queryType { name } } __typename }"
    shown = {"__schema": {"queryType": {"name": "Query"}}, "__typename": "Query"}
    async with connected(published) as client:
        await client.sign_in(person.token)
        await client.subscribe(asked)
        assert (await client.next())["data"] == shown

    assert (await asyncio.to_thread(post, person, {"query": asked})).json()["data"] == shown
    for name in ("another text", "introspection beside data"):
        assert code(await asyncio.to_thread(post, person, {"query": UNTRUSTED[name]})) == "DOCUMENT_NOT_TRUSTED"


def test_a17_a_hash_of_another_text_is_refused(person: Person, served: Served) -> None:
    """Row A17: the SHA-256 is computed here, in both modes; a text never stands for another's hash."""
    for who in (person, Person(served)):
        body = {
            "query": "query Who { viewer { id } }",
            "extensions": {"persistedQuery": {"version": 1, "sha256Hash": sha(WHO)}},
        }
        assert code(post(who, body)) == "BAD_USER_INPUT"
    assert post(person, NAMED["Apollo"]).json()["data"] == {"viewer": {"subject": person.subject}}


def test_a18_a_user_registers_nothing_in_production(person: Person) -> None:
    """Row A18, as Apollo's clients try: by hash, then with the text; and then by hash again."""
    text = "query Mine { viewer { roles } }"
    named = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": sha(text)}}}

    unknown = post(person, named)
    assert (unknown.status_code, code(unknown)) == (400, "PERSISTED_QUERY_NOT_FOUND")
    assert unknown.json()["errors"][0]["message"] == "PersistedQueryNotFound"
    assert code(post(person, {"query": text, **named})) == "DOCUMENT_NOT_TRUSTED"
    assert code(post(person, named)) == "PERSISTED_QUERY_NOT_FOUND"


async def test_a18_the_serving_role_cannot_publish(published: Served, servers: Any) -> None:
    url = servers.app_url.rsplit("/", 1)[0] + "/" + published.database_url.rsplit("/", 1)[1]
    connection = await asyncpg.connect(url)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await store.publish(connection, "web", [_document("{ viewer { id } }")], "nobody")
    await connection.close()


def test_in_development_a_text_is_remembered_by_its_hash(served: Served, ada: Person, grace: Person) -> None:
    text = "query Remembered { viewer { id } }"
    named = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": sha(text)}}}

    assert code(post(ada, named)) == "PERSISTED_QUERY_NOT_FOUND"
    assert post(ada, {"query": text, **named}).json()["data"]
    assert post(grace, named).json()["data"]["viewer"]["id"], "another's, by hash alone: a document holds nobody's data"


def test_publishing_and_retiring_are_seen_at_work(person: Person, published: Served) -> None:
    text = "query Later { viewer { id } }"
    assert code(post(person, {"doc_id": sha(text)})) == "PERSISTED_QUERY_NOT_FOUND"

    publish(published, text)
    publish(published, text, client="ios")
    until(lambda: "data" in post(person, {"doc_id": sha(text)}).json())

    retire(published, text, client="web")
    assert post(person, {"doc_id": sha(text)}).json()["data"], "the other client still has it"
    retire(published, text)
    until(lambda: "errors" in post(person, {"query": text}).json())
    assert code(post(person, {"query": text})) == "DOCUMENT_NOT_TRUSTED"
    assert code(post(person, {"doc_id": sha(text)})) == "PERSISTED_QUERY_NOT_FOUND"


def until(done: Any, timeout_s: float = 20) -> None:
    async def wait() -> None:
        async with asyncio.timeout(timeout_s):
            while not done():  # noqa: ASYNC110  # in another process, in the end
                await asyncio.sleep(0.05)

    asyncio.run(wait())


@pytest.mark.parametrize(
    "body",
    [
        {"documentId": "sha256:abc"},
        {"documentId": 5},
        {"documentId": sha(WHO)[:-1] + "g"},
        {"doc_id": "d41d8cd98f00b204e9800998ecf8427e"},
        {"extensions": {"persistedQuery": 5}},
        {"extensions": {"persistedQuery": {"version": 2, "sha256Hash": sha(WHO)}}},
        {"extensions": {"persistedQuery": {"version": 1}}},
        {"doc_id": sha(WHO), "documentId": sha(OPEN)},
        {"extensions": {}},
    ],
)
def test_a_name_that_is_none_is_refused(person: Person, body: Any) -> None:
    answer = post(person, body)

    assert (answer.status_code, code(answer)) == (400, "BAD_USER_INPUT")


def test_a_mutation_by_its_hash_is_not_run_by_get(person: Person) -> None:
    answer = httpx.get(
        person.url,
        params={
            "documentId": sha(OPEN),
            "variables": '{"input": {"asset": "EUR", "name": "x", "idempotencyKey": "g"}}',
        },
        headers={"Authorization": f"Bearer {person.token}"},
    )

    assert answer.status_code == 405


def test_the_limits_hold_for_published_documents_too(published: Served, person: Person) -> None:
    text = "query Pages($n: Int!) { viewer { accounts(first: $n) { edges { node { transactions(first: 200) { totalCount } } } } } }"
    publish(published, text)
    until(lambda: code(post(person, {"doc_id": sha(text), "variables": {"n": 200}})) != "PERSISTED_QUERY_NOT_FOUND")

    assert code(post(person, {"doc_id": sha(text), "variables": {"n": 200}})) == "QUERY_TOO_COMPLEX"
    assert post(person, {"doc_id": sha(text), "variables": {"n": 1}}).json()["data"]


def test_a_client_that_ships_one_file_names_its_operation(published: Served, person: Person) -> None:
    publish(published, CONTRACT)
    until(lambda: "data" in post(person, {"doc_id": sha(CONTRACT), "operationName": "Viewer"}).json())

    assert post(person, {"query": CONTRACT, "operationName": "Viewer"}).json()["data"]["viewer"]
