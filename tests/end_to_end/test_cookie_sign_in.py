"""Signing in by cookie, as the playground does: rows A11, A12, C4, C5 and C11 against the running product, without a browser."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import uuid4

import httpx
import pytest
from redis import Redis
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from isthmus.auth.provider.users import DEMO_PASSWORD
from tests.end_to_end.product import Product

COOKIE, SIGN_IN = "isthmus_page", "isthmus_page_sign_in"
WHO = {"query": "{ viewer { id } }"}
PROOF = {"x-isthmus-csrf": "1"}


def browser() -> httpx.Client:
    """Cookies know hosts and no ports, as in browsers."""
    return httpx.Client(timeout=20, follow_redirects=False)


def to_callback(client: httpx.Client, product: Product, page: str | None = None) -> str:
    """As far as the address with which the issuer sends the browser back."""
    begun = client.get(f"{product.base}/playground/sign-in", params={"page": page} if page else {})
    shown = client.get(begun.headers["location"])
    if shown.status_code == 200:
        action = re.search(r'<form method="post" action="([^"]+)">', shown.text)
        token = re.search(r'name="csrf" value="([^"]*)"', shown.text)
        assert action is not None
        assert token is not None
        form = {"csrf": token[1], "email": "ada@example.com", "password": DEMO_PASSWORD}
        shown = client.post(f"{product.running['issuer_url']}{html.unescape(action[1])}", data=form)
    location: str = shown.headers["location"]
    assert location.startswith(f"{product.base}/playground/callback?")
    return location


def signed_in(product: Product) -> httpx.Client:
    client = browser()
    answer = client.get(to_callback(client, product))
    assert (answer.status_code, answer.headers["location"]) == (303, "/playground")
    return client


@pytest.fixture(scope="module")
def ada(product: Product) -> httpx.Client:
    return signed_in(product)


def changed(address: str, **parameters: str | None) -> str:
    parts = urlsplit(address)
    query = dict(parse_qsl(parts.query)) | parameters
    return urlunsplit(parts._replace(query=urlencode({k: v for k, v in query.items() if v is not None})))


def test_the_cookie_signs_in_with_a_proof(product: Product, ada: httpx.Client) -> None:
    answer = ada.post(product.url, json=WHO, headers=PROOF)

    assert answer.status_code == 200
    assert answer.json()["data"]["viewer"]["id"]


@pytest.mark.parametrize(
    ("send", "status"),
    [
        (lambda ada, url: ada.post(url, json=WHO), 403),
        (lambda ada, url: ada.post(url, json=WHO, headers={"x-isthmus-csrf": ""}), 403),
        (lambda ada, url: ada.post(url, json=WHO, headers={**PROOF, "origin": "https://evil.example"}), 403),
        (lambda ada, url: ada.post(url, json=WHO, headers={**PROOF, "origin": "null"}), 403),
        (lambda ada, url: ada.post(url, json=WHO, headers={**PROOF, "origin": "http://127.0.0.1:1"}), 403),
        (lambda ada, url: ada.get(url, params=WHO), 403),
        (lambda ada, url: ada.get(url, params={"query": "mutation { __typename }"}, headers=PROOF), 405),
        (lambda ada, url: ada.post(url, content=json.dumps(WHO), headers={"content-type": "text/plain"}), 415),
        (lambda ada, url: ada.post(url, data=WHO), 415),
        (lambda ada, url: ada.post(url, files={"operations": ("", json.dumps(WHO))}), 415),
    ],
    ids=["no header", "empty header", "foreign origin", "null origin", "another port", "GET", "GET mutation", "plain",
         "urlencoded", "multipart"],
)  # fmt: skip
def test_a11_another_sites_request_is_refused_though_the_cookie_rides_along(
    product: Product, ada: httpx.Client, send: Callable[[httpx.Client, str], httpx.Response], status: int
) -> None:
    assert send(ada, product.url).status_code == status


def test_a11_a_token_needs_no_proof_and_goes_before_the_cookie(product: Product, ada: httpx.Client) -> None:
    answer = ada.post(product.url, json=WHO, headers={"authorization": "Bearer wrong"})

    assert answer.status_code == 401


def test_a11_another_site_may_not_even_ask_to_send_the_proof(product: Product, ada: httpx.Client) -> None:
    asked = {
        "origin": "https://evil.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-isthmus-csrf",
    }

    answer = ada.options(product.url, headers=asked)

    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    ("origin", "accepted"), [("own", True), ("https://evil.example", False), ("null", False), (None, False)]
)
def test_a12_a_socket_is_signed_in_by_cookie_for_our_own_page_only(
    product: Product, ada: httpx.Client, origin: str | None, accepted: bool
) -> None:
    own: Any = product.base if origin == "own" else origin
    headers = {"cookie": f"{COOKIE}={ada.cookies[COOKIE]}"}
    url = product.url.replace("http", "ws", 1)

    def first() -> Any:
        with connect(url, origin=own, additional_headers=headers, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
            socket.send(json.dumps({"type": "connection_init"}))
            return json.loads(socket.recv(timeout=20))["type"]

    if accepted:
        assert first() == "connection_ack"
        return
    with pytest.raises(Exception, match=r"4403|403|Forbidden") as refused:
        first()
    assert isinstance(refused.value, ConnectionClosed) or "403" in str(refused.value)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ({"iss": "https://evil.example"}, "iss"),
        ({"iss": None}, "iss"),
        ({"state": None}, "state"),
        ({"state": "another"}, "state"),
        ({"code": "another"}, "refused"),
        ({"code": None, "error": "access_denied"}, "access_denied"),
    ],
    ids=["c4 another issuer", "c4 no issuer", "c5 no state", "c5 another state", "c4 another's code", "said no"],
)
def test_an_answer_that_is_not_for_this_sign_in_is_refused(
    product: Product, spoil: dict[str, str | None], says: str
) -> None:
    client = browser()
    address = to_callback(client, product)

    answer = client.get(changed(address, **spoil))

    assert answer.status_code == 400
    assert says in answer.text
    assert COOKIE not in answer.cookies
    assert client.get(address).status_code == 400, "a sign-in is finished once, also by what went wrong"


def test_c5_another_browsers_answer_signs_nobody_in(product: Product) -> None:
    attacker, victim = browser(), browser()
    address = to_callback(attacker, product)
    victim.get(f"{product.base}/playground/sign-in")

    assert victim.get(address).status_code == 400
    assert browser().get(address).status_code == 400
    assert COOKIE not in victim.cookies
    assert attacker.get(address).status_code == 303, "whoever began it can still finish it"


def test_c5_an_answer_counts_once(product: Product) -> None:
    client = browser()
    address = to_callback(client, product)
    begun = client.cookies[SIGN_IN]
    assert client.get(address).status_code == 303

    client.cookies.set(SIGN_IN, begun, domain="127.0.0.1")
    assert client.get(address).status_code == 400


def test_c11_no_session_is_taken_over_from_before(product: Product) -> None:
    client = browser()
    planted = "A" * 43
    client.cookies.set(COOKIE, planted, domain="127.0.0.1")
    answer = client.get(to_callback(client, product))
    lines = [line.lower() for line in answer.headers.get_list("set-cookie")]

    assert answer.status_code == 303
    assert planted not in str(lines)
    assert all("httponly" in line and "samesite=lax" in line and "path=/" in line for line in lines)
    victim = browser()
    victim.cookies.set(COOKIE, planted, domain="127.0.0.1")
    assert victim.post(product.url, json=WHO, headers=PROOF).status_code == 401


def test_c11_signing_out_takes_a_proof_and_ends_the_session_for_good(product: Product) -> None:
    client = signed_in(product)
    kept = client.cookies[COOKIE]
    out = f"{product.base}/playground/sign-out"

    assert client.post(out).status_code == 403
    assert client.get(out).status_code in (404, 405)
    assert client.post(product.url, json=WHO, headers=PROOF).status_code == 200

    answer = client.post(out, headers=PROOF)
    assert answer.json()["next"].startswith(f"{product.running['issuer_url']}/logout?")
    assert "token" not in answer.json()["next"]
    client.cookies.set(COOKIE, kept, domain="127.0.0.1")
    assert client.post(product.url, json=WHO, headers=PROOF).status_code == 401


@contextmanager
def socket_of(product: Product, client: httpx.Client) -> Iterator[ClientConnection]:
    """As our own page opens it."""
    own: Any = product.base
    headers = {"cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
    url = product.url.replace("http", "ws", 1)
    with connect(url, origin=own, additional_headers=headers, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
        socket.send(json.dumps({"type": "connection_init"}))
        assert json.loads(socket.recv(timeout=20))["type"] == "connection_ack"
        yield socket


def closed(socket: ClientConnection) -> int:
    """The close code, of a socket on which nothing else comes."""
    with pytest.raises(ConnectionClosed) as end:
        socket.recv(timeout=20)
    assert end.value.rcvd is not None
    return end.value.rcvd.code


def sign_out(product: Product, client: httpx.Client) -> None:
    assert client.post(f"{product.base}/playground/sign-out", headers=PROOF).status_code == 200


def test_a14_after_signing_out_a_socket_that_is_open_changes_nothing(product: Product) -> None:
    """Row A14: the access token would be good for minutes more."""
    client = signed_in(product)
    name = f"A14 {uuid4()}"
    wish = {"asset": "EUR", "name": name, "idempotencyKey": uuid4().hex}
    mutation = "mutation($input: OpenAccountInput!) { openAccount(input: $input) { account { id } } }"
    subscribe = {"type": "subscribe", "id": "1", "payload": {"query": mutation, "variables": {"input": wish}}}
    with socket_of(product, client) as socket:
        sign_out(product, client)
        socket.send(json.dumps(subscribe))

        assert closed(socket) == 4403

    again = signed_in(product)
    names = {"query": "{ viewer { accounts(first: 200) { edges { node { name } } } } }"}
    assert name not in again.post(product.url, json=names, headers=PROOF).text
    with socket_of(product, again) as socket:
        socket.send(json.dumps(subscribe))
        assert json.loads(socket.recv(timeout=20))["payload"]["data"]["openAccount"]["account"]["id"], "the control"


def test_a14_what_is_streamed_ends_with_the_session_too(product: Product) -> None:
    client = signed_in(product)
    live = {"query": "subscription { balanceChanged(accountIds: []) { version } }"}
    streaming = {**PROOF, "accept": "text/event-stream"}
    with (
        socket_of(product, client) as socket,
        client.stream("POST", product.url, json=live, headers=streaming) as answer,
    ):
        socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": live}))
        assert answer.status_code == 200
        sign_out(product, client)

        assert closed(socket) == 4403
        assert set(answer.read().split()) == {b":"}, "heartbeats, and its end"


def test_what_is_at_rest_signs_nobody_in(product: Product, ada: httpx.Client) -> None:
    redis = Redis.from_url(str(product.running["redis_url"]))
    keys = [key for key in redis.scan_iter("isthmus:session:*") if not key.endswith(b":lock")]
    values: list[Any] = [redis.get(key) for key in keys]
    lives = [redis.ttl(key) for key in keys]

    assert keys
    assert not any(ada.cookies[COOKIE].encode() in key for key in keys)
    assert not any(b"eyJ" in value or b"access" in value for value in values)
    assert all(0 < life <= 8 * 3_600 for life in lives)


def test_the_page_comes_with_a_policy_that_lets_no_script_in(product: Product, ada: httpx.Client) -> None:
    page, unsigned = ada.get(f"{product.base}/playground"), browser().get(f"{product.base}/playground")
    elsewhere = ada.get(f"{product.base}/playground", headers={"host": "localhost:1"})

    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert (unsigned.status_code, unsigned.headers["location"]) == (303, "/playground/sign-in")
    assert elsewhere.headers["location"] == f"{product.base}/playground"
    assert page.status_code == 200
    assert policy["default-src"] == "'self'"
    assert "script-src" not in policy
    assert [name for name, value in policy.items() if "unsafe-inline" in value] == ["style-src"]
    assert "http" not in json.dumps(policy)
    assert (policy["frame-ancestors"], policy["base-uri"], policy["object-src"]) == ("'none'",) * 3
