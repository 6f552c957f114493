"""Rows A8 to A11, A17 and A18: what production mode shows of itself, to whom, and over which transport."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from graphql import get_introspection_query

from isthmus.auth.scopes import Role
from isthmus.graphql.media import GRAPHQL
from isthmus.graphql.schema import build_schema
from tests.api.conftest import Person, Served
from tests.api.socket_client import connected
from tests.api.test_errors import replaced
from tests.api.test_trusted_documents import NAMED, WHO, post, publish, sha, until
from tests.attacks.count import Row
from tests.attacks.victim import nothing_changes
from tests.attacks.wire import http

UNTRUSTED = "DOCUMENT_NOT_TRUSTED"


@pytest.fixture(scope="module")
def closed(production: Served) -> Served:
    """Production mode, with one published operation."""
    publish(production, WHO)
    return production


def probes() -> Iterator[str]:
    """The schema asked for in every way: whole, by name, hidden among data, in fragments, under aliases."""
    yield get_introspection_query()
    yield get_introspection_query(descriptions=False, input_value_deprecation=True)
    starts = [
        "__schema { types { name } }", "__schema { queryType { name } }", "__schema { directives { name } }", "__typename", "x: __typename",
        '__type(name: "Viewer") { name }', "__schema { __typename }", '__type(name: "__Schema") { fields { name } }',
    ]  # fmt: skip
    for start in starts:
        yield f"{{ {start} }}"
        yield f"query Q {{ {start} viewer {{ id }} }}"
        yield f"{{ ...f }} fragment f on Query {{ {start} }}"
        yield f"{{ ... on Query {{ {start} }} }}"
        yield f"mutation {{ {start} }}"
        yield f"{{ a: {start.removeprefix('x: ')} }}"
        yield f"{{ {start} @include(if: true) }}"
    yield "{ viewer { __typename } }"
    yield "{ viewer { accounts { __typename edges { __typename } } } }"
    yield "subscription { __typename }"


async def test_a8_the_schema_is_shown_to_no_ordinary_person_on_any_transport(closed: Served, row: Row) -> None:
    for role in (Role.CUSTOMER, Role.AUDITOR, Role.SERVICE):
        person = Person(closed, role)
        async with connected(closed) as client:
            await client.sign_in(person.token)
            for number, text in enumerate(probes()):
                signed = {"Authorization": f"Bearer {person.token}"}
                answers = {
                    "POST": person.post(text),
                    "GET": http().get(closed.graphql, params={"query": text}, headers=signed),
                    "GET for SSE": http().get(
                        closed.graphql, params={"query": text}, headers=signed | {"Accept": "text/event-stream"}
                    ),
                    "SSE": person.post(text, accept="text/event-stream"),
                }
                for how, answer in answers.items():
                    with row.case((role, how, text[:60])):
                        assert '"data"' not in answer.text
                        for name in ("queryType", "AccountConnection", "openAccount", "LedgerAccount", '"Query"'):
                            assert name not in answer.text
                with row.case((role, "WebSocket", text[:60])):
                    await client.subscribe(text, id=str(number))
                    message = await client.receive()
                    assert message["type"] == "error"
                    assert "'data'" not in str(message["payload"])


def test_a9_guessing_names_finds_none(closed: Served, row: Row) -> None:
    """Clairvoyance: real names, near misses and made up ones get one answer, so that a word list learns nothing."""
    # One alone would be told to wait: these are more requests than a person has in a minute.
    people = [Person(closed) for _ in range(4)]
    schema = build_schema()._schema
    real = sorted({field for made in schema.type_map.values() for field in getattr(made, "fields", {})})
    guesses = (
        real
        + [name[:-1] for name in real]
        + [name + "s" for name in real]
        + ["me", "users", "hello", "admin", "secret", "zzzz"]
    )
    assert len(real) > 60
    reference = json.loads(people[0].post("{ zzzz }").text)["errors"][0]["message"]
    for n, name in enumerate(guesses):
        text = f"{{ {name} }}" if n % 2 else f"mutation {{ {name} }}"
        with row.case(text):
            (error,) = people[n % len(people)].post(text).json()["errors"]
            assert error["extensions"]["code"] == UNTRUSTED
            assert error["message"] == reference
            assert set(error) == {"message", "extensions"}


def test_a9_a_wrong_variable_of_a_published_operation_suggests_nothing(closed: Served, row: Row) -> None:
    """A published operation with variables: its errors name what was sent, and nothing else."""
    text = "query Node($id: ID!) { node(id: $id) { id } }"
    publish(closed, text)
    person = Person(closed)
    until(lambda: "data" in post(person, {"query": text, "variables": {"id": "x"}}).json())
    wrong: list[dict[str, Any]] = [{}, {"i": "x"}, {"ID": "x"}, {"id": None}, {"id": {}}, {"id": []}, {"id": True}]
    for variables in wrong:
        with row.case(variables):
            answer = post(person, {"query": text, "variables": variables}).text
            assert "Did you mean" not in answer
            assert "data" not in json.loads(answer)


class Broken:
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def run(self, *_: Any) -> Any:
        raise self._error

    async def verify(self, _: str) -> Any:
        raise self._error


def test_a10_no_answer_tells_how_we_are_made(
    served: Served, ada: Person, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever breaks and whatever is wrong: no trace, no SQL, no library, no path of a file, no debugging in `extensions`."""
    telling = re.compile(
        r"Traceback|\.py|line \d+, in|asyncpg|psycopg|postgres|sqlalchemy|strawberry|graphql-core|starlette|uvicorn|httptools|orjson|redis|"
        r"valkey|kafka|select .* from|insert into|/usr/|/root/|/home/|site-packages|0x[0-9a-f]{6}|Exception|KeyError|ValueError|"
        r"<[a-z]+ object|tracing|debug|stack", re.IGNORECASE,
    )  # fmt: skip
    answers: dict[Any, httpx.Response] = {}
    for error in (ValueError("select secret from accounts"), KeyError("x"), RuntimeError("/usr/lib/python3/site-packages/asyncpg/x.py"),
                  RecursionError(), MemoryError(), AssertionError("x"), UnicodeError("x"), OSError("x"), TimeoutError()):  # fmt: skip
        for part in ("commands", "verifier"):
            with monkeypatch.context() as patch:
                replaced(served, patch, **{part: Broken(error)})
                wish = 'mutation { openAccount(input: {asset: "EUR", name: "x", idempotencyKey: "k"}) { position } }'
                answers[part, repr(error)] = ada.post(wish)
    wrong = [
        "{", "{ nope }", "{ viewer }", "{ node(id: 1.5) { id } }", "query($a: Nope) { viewer { id } }", "{ viewer { id } } { assets }",
        "{ auditTrail(first: -1) { pageInfo { hasNextPage } } }", '{ auditTrail(after: "x") { pageInfo { hasNextPage } } }', "\0",
        "type X { a: Int }",
    ]  # fmt: skip
    for text in wrong:
        answers[text] = ada.post(text)
    debugging: list[dict[str, Any]] = [
        {"debug": True},
        {"tracing": {}},
        {"explain": True},
        {"apollo": {"tracing": True}},
    ]
    for extensions in debugging:
        body = {"query": "{ viewer { id } }", "extensions": extensions}
        answers[str(extensions)] = http().post(
            served.graphql,
            json=body,
            headers={"Authorization": f"Bearer {ada.token}", "X-Apollo-Tracing": "1", "X-Debug": "1"},
        )
    for path in ("/nope", "/graphql/", "/static/", "/graphiql"):
        answers[path] = http().get(served.url + path)
    for name, answer in answers.items():
        with row.case(name):
            body = answer.json()
            assert not telling.search(answer.text), telling.search(answer.text)
            assert set(body) <= {"data", "errors", "extensions"}
            assert set(body["extensions"]) == {"correlationId"}
            for error in body.get("errors", []):
                assert set(error) <= {"message", "locations", "path", "extensions"}
                assert set(error["extensions"]) <= {"code", "retryable", "correlationId"}


FORMS = [
    "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain; application/json", "", "*/*",
    "application/graphql", "application/json-patch+json", "text/json", "application/JSON+x", "text/plain;charset=application/json",
]  # fmt: skip
ORIGINS = (None, "null", "https://evil.example", "https://app.example.evil.example", "http://app.example")


def test_a11_no_page_elsewhere_can_make_a_browser_act(served: Served, ada: Person, row: Row) -> None:
    """Requests that a browser sends without asking first, with whatever it adds by itself: cookies, never a bearer token."""
    wish = 'mutation { openAccount(input: {asset: "EUR", name: "forged", idempotencyKey: "forged"}) { position } }'
    body = json.dumps({"query": wish})
    with nothing_changes(served):
        for origin, kind in itertools.product(ORIGINS, FORMS):
            for signed in (True, False):
                headers = {"Cookie": f"session={ada.token}; isthmus_session={ada.token}"}
                headers |= {"Authorization": f"Bearer {ada.token}"} if signed else {}
                headers |= {"Origin": origin} if origin else {}
                headers |= {"Content-Type": kind} if kind else {}
                with row.case((origin, kind, signed)):
                    answer = http().post(served.graphql, content=body, headers=headers)
                    assert answer.status_code in (401, 403, 415)
                    assert "access-control-allow-origin" not in answer.headers
        for origin in ORIGINS:
            for headers in ({"Cookie": f"session={ada.token}"}, {"Authorization": f"Bearer {ada.token}"}):
                sent = headers | ({"Origin": origin} if origin else {})
                with row.case(("a mutation by GET", origin, sorted(headers))):
                    answer = http().get(served.graphql, params={"query": wish}, headers=sent)
                    assert answer.status_code in (401, 403, 405)
                with row.case(("a query by GET", origin, sorted(headers))):
                    answer = http().get(served.graphql, params={"query": "{ viewer { id } }"}, headers=sent)
                    assert answer.status_code in ((401, 403) if "Cookie" in headers else (200, 403))
                    assert "access-control-allow-origin" not in answer.headers
                with row.case(("asking first", origin, sorted(headers))):
                    asked = {
                        "Access-Control-Request-Method": "POST",
                        "Access-Control-Request-Headers": "authorization,content-type",
                    }
                    answer = http().options(served.graphql, headers=sent | asked)
                    assert "access-control-allow-origin" not in answer.headers
                    assert "access-control-allow-credentials" not in answer.headers


def test_a17_nothing_between_may_keep_an_answer(served: Served, ada: Person, row: Row) -> None:
    signed = {"Authorization": f"Bearer {ada.token}"}
    asked: list[dict[str, str]] = [
        {}, {"Cookie": "a=b"}, {"If-None-Match": "*"}, {"If-Modified-Since": "Mon, 01 Jan 2035 00:00:00 GMT"}, {"Range": "bytes=0-"},
        {"Cache-Control": "only-if-cached"}, {"Pragma": "x"}, {"X-Forwarded-Host": "evil.example"}, {"Origin": "https://app.example"},
    ]  # fmt: skip
    for more in asked:
        for path in (
            "/graphql?query={viewer{id}}",
            "/graphql?query={assets{code}}&cb=1.css",
            "/graphql/x.css",
            "/readyz",
            "/version",
        ):
            with row.case((path, more)):
                answer = http().get(served.url + path, headers=signed | more)
                assert answer.headers["cache-control"] == "no-store"
                assert "etag" not in answer.headers
                assert "last-modified" not in answer.headers
                assert answer.status_code != 304
    with row.case("another origin's answer"):
        assert "Origin" in http().get(f"{served.url}/version", headers={"Origin": "https://app.example"}).headers.get(
            "vary", ""
        )


def test_a17_a_hash_stands_for_its_own_text_only(closed: Served, served: Served, row: Row) -> None:
    """In both modes, in every way of naming: the SHA-256 is computed here, and a text under another's hash is refused."""
    right = sha(WHO)
    wrong = [
        sha("x"),
        right[:-1] + ("0" if right[-1] != "0" else "1"),
        "0" * 64,
        "f" * 64,
        hashlib.sha256(WHO.encode() + b" ").hexdigest(),
    ]
    texts = ("query Who { viewer { id } }", "{ assets { code } }", WHO + " ", WHO + "#", "")
    for where in (closed, served):
        person = Person(where)
        for text in texts:
            named: dict[str, dict[str, Any]] = {
                "Apollo": {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": right}}},
                "documentId": {"documentId": f"sha256:{right}"},
            }
            for name, body in named.items():
                with row.case((name, text, where is closed)):
                    other = {"query": text} if text else {"documentId": f"sha256:{wrong[0]}"}
                    assert "data" not in post(person, body | other).json()
        for digest in wrong:
            with row.case(("unknown", digest[:8])):
                assert "data" not in post(person, {"documentId": f"sha256:{digest}"}).json()
            with row.case(("with the right text", digest[:8])):
                assert "data" not in post(person, {"query": WHO, "documentId": f"sha256:{digest}"}).json()
        for digest in (
            right[:63],
            right + "0",
            right.upper() + " ",
            "../" + right,
            "md5:" + right[:32],
            "",
            right[:32] * 2 + "g",
        ):
            with row.case(("malformed", digest[:12])):
                assert "data" not in post(person, {"documentId": digest}).json()
    assert post(Person(closed), NAMED["Apollo"]).json()["data"], "the control: the right one runs"


async def test_a18_nobody_registers_a_document_by_sending_it(closed: Served, row: Row) -> None:
    """Apollo's automatic registration, over each transport, by each role, again and again: never kept."""
    for role in Role:
        person = Person(closed, role)
        for number in range(5):
            text = f"query Mine{number} {{ viewer {{ roles }} }}"
            named: dict[str, Any] = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": sha(text)}}}
            async with connected(closed) as client:
                await client.sign_in(person.token)
                for body in (named, named | {"query": text}, {"query": text}, named):
                    with row.case((role, "HTTP", number, sorted(body))):
                        answer = post(person, body)
                        assert answer.headers["content-type"].startswith(GRAPHQL)
                        assert "data" not in answer.json()
                        assert answer.json()["errors"][0]["extensions"]["code"] in (
                            UNTRUSTED,
                            "PERSISTED_QUERY_NOT_FOUND",
                        )
                    with row.case((role, "WebSocket", number, sorted(body))):
                        await client.send({"type": "subscribe", "id": f"{number}", "payload": body})
                        assert (await client.receive())["type"] == "error"
