"""GraphQL over HTTP: media types, status codes, and errors that are always JSON with a code."""

from __future__ import annotations

import re
import socket
import time
from typing import Any

import httpx
import pytest

from isthmus.graphql.media import GRAPHQL, JSON, pick
from tests.api.conftest import CONTRACT, Person, Served, token

QUERY = {"query": "{ __typename }"}


def headers(person: Person, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {person.token}", **{k.replace("_", "-"): v for k, v in more.items()}}


def code(answer: httpx.Response) -> str:
    assert "data" not in answer.json(), "nothing ran"
    found: str = answer.json()["errors"][0]["extensions"]["code"]
    return found


@pytest.mark.parametrize(
    ("accept", "picked"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/json", JSON),
        ("application/graphql-response+json", GRAPHQL),
        ("application/graphql-response+json; charset=utf-8, application/json; charset=utf-8", GRAPHQL),
        ("application/graphql-response+json;q=0.5, application/json", JSON),
        ("application/graphql-response+json;q=0, */*", JSON),
        ("application/json;q=0, application/graphql-response+json", GRAPHQL),
        ("text/html", None),
        ("application/json;q=0", None),
        ("application/json; charset=latin-1", None),
    ],
)
def test_the_media_type_is_what_the_client_likes_best(accept: str | None, picked: str | None) -> None:
    assert pick(accept) == picked


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Basic abc",
        "Bearer",
        "Bearer x",
        pytest.param(f"Bearer {token('late', seconds=-1)}", id="expired"),
        "Bearer a b",
    ],
)
def test_whoever_is_not_signed_in_gets_nothing(served: Served, given: str | None) -> None:
    sent = {} if given is None else {"Authorization": given}

    answer = httpx.post(served.graphql, json=QUERY, headers=sent)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert code(answer) == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"null", 400),
        (b"[]", 400),
        (b'[{"query": "{ __typename }"}]', 400),
        (b'{"query": 1}', 400),
        (b'{"query": ""}', 400),
        (b"{}", 400),
        (b'{"query": "{ __typename }", "variables": []}', 400),
        (b'{"query": "{ __typename }", "extensions": "x"}', 400),
        (b'{"query": "{ __typename }", "operationName": 1}', 400),
        (b'{"query": "{ __typename }", "variables": {"x": NaN}}', 400),
        (b'{"query": "{ __typename }", "variables": {"x": "\\ud800"}}', 400),
        (b'{"query": "\xff"}', 400),
        (b'{"a":' * 100 + b"1" + b"}" * 100, 400),
        (b'{"query": "{ __typename }", "variables": ' + b"[" * 40_000 + b"]" * 40_000 + b"}", 400),
        (b'{"query": "#' + b"x" * 200_000 + b'"}', 413),
    ],
)
def test_a_bad_body_is_4xx_and_json(served: Served, ada: Person, body: bytes, status: int) -> None:
    answer = httpx.post(served.graphql, content=body, headers=headers(ada, content_type="application/json"))

    assert answer.status_code == status
    assert code(answer) == "BAD_USER_INPUT"


def test_a_body_without_end_is_cut_off(served: Served, ada: Person) -> None:
    def endless() -> Any:
        for _ in range(10_000):
            yield b" " * 1_000

    with httpx.Client() as client:
        try:
            answer = client.post(
                served.graphql, content=endless(), headers=headers(ada, content_type="application/json")
            )
        except httpx.WriteError:
            return  # cut off in the middle of sending: as good
    assert answer.status_code == 413


def test_whoever_sends_too_much_is_told_so_although_it_reads_only_when_all_is_sent(served: Served, ada: Person) -> None:
    """A connection that is closed while more arrives is reset, and the answer may be lost with it."""
    url = httpx.URL(served.graphql)
    sent = headers(ada, content_type="application/json", transfer_encoding="chunked", host=f"{url.host}:{url.port}")
    with socket.create_connection((url.host, url.port or 80), timeout=20) as connection:
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        connection.sendall(f"POST {url.path} HTTP/1.1\r\n{head}\r\n".encode())
        for _ in range(40):
            connection.sendall(b"c350\r\n" + b" " * 50_000 + b"\r\n")
            time.sleep(0.005)
        connection.sendall(b"0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"longer than" in answer


@pytest.mark.parametrize(
    ("method", "sent", "status"),
    [
        ("PUT", {}, 405),
        ("DELETE", {}, 405),
        ("POST", {"content_type": "text/plain"}, 415),
        ("POST", {"content_type": "application/x-www-form-urlencoded"}, 415),
        ("POST", {"content_type": "multipart/form-data; boundary=x"}, 415),
        ("POST", {"content_type": "application/json; charset=utf-16"}, 415),
        ("POST", {"content_type": "application/json", "content_encoding": "gzip"}, 415),
        ("POST", {"content_type": "application/json", "accept": "text/html"}, 406),
    ],
)
def test_what_is_not_graphql_over_http_is_refused_by_status(
    served: Served, ada: Person, method: str, sent: dict[str, str], status: int
) -> None:
    answer = httpx.request(method, served.graphql, content=b"{}", headers=headers(ada, **sent))

    assert answer.status_code == status
    assert code(answer) == "BAD_USER_INPUT"


@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("{", None),
        ("{ nope }", None),
        ("query A { __typename } query B { __typename }", None),
        ("query($a: Int!) { auditTrail(first: $a) { pageInfo { hasNextPage } } }", {"a": "x"}),
        ("query($a: DateTime) { __typename }", {"a": 1}),
        ("subscription { balanceChanged { version } }", None),
    ],
)
def test_a_wrong_document_runs_nothing(served: Served, ada: Person, accept: str, query: str, variables: Any) -> None:
    answer = ada.post(query, variables, accept=accept)

    assert answer.status_code == (200 if accept == JSON else 400)
    assert answer.headers["content-type"] == f"{accept}; charset=utf-8"
    assert code(answer) == "BAD_USER_INPUT"


def test_get_is_for_queries_only(served: Served, ada: Person) -> None:
    asked = httpx.get(served.graphql, params={"query": "{ viewer { subject } }"}, headers=headers(ada))
    wished = httpx.get(
        served.graphql,
        params={
            "query": CONTRACT,
            "operationName": "OpenAccount",
            "variables": '{"input": {"asset": "EUR", "name": "x", "idempotencyKey": "by-get"}}',
        },
        headers=headers(ada),
    )

    assert asked.json()["data"]["viewer"]["subject"] == ada.subject
    assert wished.status_code == 405
    assert wished.headers["allow"] == "POST"
    assert ada.ask("{ viewer { accounts { totalCount } } }")["viewer"]["accounts"]["totalCount"] == 0


@pytest.mark.parametrize("given", ["abc", "A.b_c:d-9", "x" * 64])
def test_a_decent_correlation_id_is_taken(ada: Person, given: str) -> None:
    answer = ada.post("{ viewer { id } }", x_correlation_id=given)

    assert answer.headers["x-correlation-id"] == given
    assert answer.json()["extensions"]["correlationId"] == given


@pytest.mark.parametrize("given", ["x" * 65, "a b", "a\tb", '"', "${jndi:ldap}", "é"])
def test_any_other_correlation_id_is_drawn_anew(served: Served, ada: Person, given: str) -> None:
    sent = [(b"Authorization", f"Bearer {ada.token}".encode()), (b"X-Correlation-Id", given.encode("latin-1"))]

    answer = httpx.post(served.graphql, json=QUERY, headers=sent)

    drawn = answer.headers["x-correlation-id"]
    assert re.fullmatch(r"[0-9a-f-]{36}", drawn)
    assert answer.json()["extensions"]["correlationId"] == drawn


@pytest.mark.parametrize("given", ["-1", "1.5", "x", "", "01", "9" * 20, "1e3"])
def test_a_malformed_position_is_refused(ada: Person, given: str) -> None:
    answer = ada.post("{ viewer { id } }", x_isthmus_position=given)

    assert answer.status_code == 400
    assert code(answer) == "BAD_USER_INPUT"


def test_a_position_beyond_the_log_is_not_yet_visible(ada: Person) -> None:
    answer = ada.post("{ viewer { id } }", x_isthmus_position="999999999")

    assert code(answer) == "NOT_YET_VISIBLE"
    assert answer.json()["errors"][0]["extensions"]["retryable"] is True
    assert answer.headers["retry-after"] == "1"


def test_a_query_with_a_position_waits_for_the_projection(served: Served, ada: Person) -> None:
    asked = "{ viewer { accounts { totalCount } } }"
    served.hold_projection(True)
    try:
        wish = {"asset": "EUR", "name": "Held", "idempotencyKey": "held"}
        position = ada.ask(CONTRACT, {"input": wish}, "OpenAccount")["openAccount"]["position"]
        behind = ada.ask(asked)["viewer"]["accounts"]["totalCount"]
        waited = ada.post(asked, x_isthmus_position=position)
    finally:
        served.hold_projection(False)

    assert behind == 0
    assert code(waited) == "NOT_YET_VISIBLE"
    assert ada.ask(asked, x_isthmus_position=position)["viewer"]["accounts"]["totalCount"] == 1


@pytest.mark.parametrize("path", ["/", "/nope", "/graphql/", "/graphql/x", "/livez/x"])
def test_an_unknown_address_is_404_in_json(served: Served, path: str) -> None:
    answer = httpx.get(served.url + path)

    assert answer.status_code == 404
    assert answer.json()["errors"][0]["message"]


def test_answers_are_private(served: Served, ada: Person) -> None:
    answer = ada.post("{ viewer { id } }")

    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(("origin", "allowed"), [("https://app.example", True), ("https://evil.example", False)])
def test_only_listed_origins_may_read_answers(served: Served, origin: str, allowed: bool) -> None:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }

    answer = httpx.options(served.graphql, headers=asked)

    assert (answer.headers.get("access-control-allow-origin") == origin) is allowed


def test_probes_need_no_token_and_tell_no_secret(served: Served) -> None:
    ready = httpx.get(f"{served.url}/readyz").json()
    metrics = httpx.get(f"{served.url}/metrics").text

    assert httpx.get(f"{served.url}/livez").json() == {"status": "ok"}
    assert ready == {"ready": True, "parts": {"database": {"ready": True}}}
    assert httpx.get(f"{served.url}/version").json()["name"] == "isthmus"
    assert httpx.get(f"{served.url}/.well-known/oauth-protected-resource").json() == {"resource": "test"}
    assert "isthmus_graphql_operation_duration_seconds" in metrics
    assert "correlation" not in metrics
