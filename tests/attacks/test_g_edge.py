"""Rows G10 and G11: headers that keep answers where they belong, and requests that parsers disagree about."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from starlette.routing import Route

from isthmus.runtime.servers import EmbeddedServers
from tests.api.conftest import Person, Served
from tests.attacks.count import Row
from tests.attacks.victim import nothing_changes
from tests.auth.provider_kit import Kit, on_its_own_database

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")
PATHS = (
    "/",
    "/nope",
    "/graphql",
    "/graphql/",
    "/livez",
    "/readyz",
    "/metrics",
    "/version",
    "/.well-known/oauth-protected-resource",
    "/a" * 2_000,
)
#: What every answer of the API carries (OWASP secure headers, ASVS 3.4), whatever it is.
REQUIRED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def strict(policy: str) -> None:
    """No HIGH finding: nothing from anywhere by default, no inline script, no wildcard, no frame."""
    directives = {part.split()[0]: part.split()[1:] for part in policy.split(";") if part.strip()}
    assert directives["default-src"] == ["'none'"]
    assert directives["frame-ancestors"] == ["'none'"]
    for name, sources in directives.items():
        assert not {"*", "http:", "https:", "data:", "blob:", "'unsafe-eval'", "'unsafe-inline'"} & set(sources), (
            name,
            sources,
        )


def test_g10_every_answer_of_the_api_carries_its_headers(served: Served, ada: Person, row: Row) -> None:
    signed = {"Authorization": f"Bearer {ada.token}"}
    with httpx.Client(base_url=served.url, timeout=10) as http:
        for path in PATHS:
            for method in METHODS:
                for headers in ({}, signed, signed | {"Content-Type": "application/json"}, {"Accept": "text/html"}):
                    with row.case((method, path[:20], sorted(headers))):
                        answer = http.request(method, path, headers=headers, content=b"{" if method == "POST" else None)
                        for name, value in REQUIRED.items():
                            assert answer.headers.get(name) == value, name
                        strict(answer.headers["content-security-policy"])
                        assert answer.headers["x-correlation-id"]
                        assert "server" not in answer.headers
                        assert "x-powered-by" not in answer.headers
                        assert "set-cookie" not in answer.headers
                        assert "access-control-allow-origin" not in answer.headers


def test_g10_over_https_browsers_are_told_to_stay_there(served: Served, row: Row) -> None:
    async def told_to(path: str) -> str:
        # On the loop of the application, whose connections belong to it.
        transport = httpx.ASGITransport(served.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://api.example") as http:
            return str((await http.get(path)).headers["strict-transport-security"])

    assert served.loop is not None
    for path in ("/livez", "/version", "/nope", "/graphql"):
        with row.case(path):
            told = asyncio.run_coroutine_threadsafe(told_to(path), served.loop).result(30)
            assert int(told.split("max-age=")[1].split(";")[0]) >= 31_536_000


@pytest_asyncio.fixture
async def kit(servers: EmbeddedServers, template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kit]:
    async with on_its_own_database(servers, template, tmp_path_factory.mktemp("provider")) as made:
        yield made


async def test_g10_every_answer_of_the_sign_in_pages_carries_its_headers(kit: Kit, row: Row) -> None:
    """Every route that the provider has, by every method."""
    paths = [route.path for route in kit.app.routes if isinstance(route, Route)]
    assert len(paths) >= 11
    for path in (*paths, "/nope", "/sign-in/x"):
        for method in METHODS:
            with row.case((method, path)):
                answer = await kit.http.request(method, path, params=kit.asking() if path == "/authorize" else None)
                assert answer.status_code < 500
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["x-frame-options"] == "DENY"
                assert answer.headers["referrer-policy"] in ("no-referrer", "same-origin")
                policy = answer.headers["content-security-policy"]
                assert "script-src" not in policy or "'unsafe" not in policy
                assert "default-src 'none'" in policy
                assert "frame-ancestors 'none'" in policy
                assert "<script" not in answer.text
                assert (
                    "no-store" in answer.headers["cache-control"]
                    or path in ("/style.css", "/jwks")
                    or "well-known" in path
                )


def exchanged(served: Served, request: bytes) -> bytes:
    """Everything that comes back for these bytes, until the server hangs up or has nothing more to say."""
    address = urlsplit(served.url)
    got = b""
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=5) as connection:
        with suppress(OSError):
            connection.sendall(request)
        connection.settimeout(0.15)
        with suppress(OSError):
            while part := connection.recv(65_536):
                got += part
    return got


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


#: The server hangs up after its answer: nobody waits to hear whether there is more.
LAST = "Connection: close\r\n"
SMUGGLED = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"


def disagreements() -> dict[str, bytes]:
    """Requests that one parser ends in one place and another elsewhere, with a second request in between (RFC 9112, 11.2)."""
    start = b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    chunked = b"0\r\n\r\n" + SMUGGLED
    cases = {
        "CL and TE": start + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(chunked) + chunked,
        "TE and CL": start + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + chunked,
        "two lengths": start + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        "a list of lengths": start + b"Content-Length: 0, %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        "an obsolete fold": start + b"Content-Length:\r\n 0\r\n\r\n" + SMUGGLED,
        "a blank before the colon": start + b"Content-Length : %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        "no colon": start + b"Content-Length\r\n\r\n" + SMUGGLED,
        "a bare CR": start + b"X: a\rTransfer-Encoding: chunked\r\n\r\n" + chunked,
        "a NUL in a header": start + b"X: a\0b\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
        "a folded header": start + b"X: a\r\n Content-Length: 0\r\n\r\n" + SMUGGLED,
    }
    for length in (
        b"+0",
        b"-0",
        b"-1",
        b"0x0",
        b"0 0",
        b"1e1",
        b"0;",
        b'"0"',
        b"\xd9\xa0",
        b"00000000000000000000000000000x",
    ):
        cases[f"length {length!r}"] = start + b"Content-Length: " + length + b"\r\n\r\n" + SMUGGLED
    codings = [b"xchunked", b"chunked, identity", b"identity, chunked", b"chunked, chunked", b"\x0bchunked", b"chunked\x00", b'"chunked"',
               b"gzip, chunked", b"chunked;q=1", b"identity", b"cow"]  # fmt: skip
    for coding in codings:
        cases[f"coding {coding!r}"] = (
            start + b"Transfer-Encoding: " + coding + b"\r\nContent-Length: 0\r\n\r\n" + SMUGGLED
        )
    for size in (b"0x0", b"-0", b"+0", b"g", b" 0", b"0 ;", b"ffffffffffffffffff", b"0\n", b"1_0"):
        cases[f"chunk {size!r}"] = start + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n\r\n" + SMUGGLED
    return cases


def test_g11_no_second_request_hides_in_a_first(served: Served, row: Row) -> None:
    """One answer that refuses, and the connection is closed: what follows is read by nobody as a request."""
    assert statuses(exchanged(served, SMUGGLED + SMUGGLED)) == [200, 200], "the control: two that are honest are two"
    for name, request in disagreements().items():
        with row.case(name):
            answer = exchanged(served, request)
            assert 200 not in statuses(answer), answer
            assert len(statuses(answer)) <= 1 or statuses(answer)[1:] == [400]


def test_g11_lines_that_are_no_http_are_400(served: Served, row: Row) -> None:
    version = b"GET /version HTTP/1.1"
    lines = [b"GET /version", version + b" x", b"GET /ver sion HTTP/1.1", b"GET /version HTTP/9.9", b"/version",
             b"GET /version http/1.1", b"\0" + version, b"G\tT /version HTTP/1.1", b"GET\t/version HTTP/1.1", b"PRI * HTTP/2.0",
             version + b"\0", b"FOO /version HTTP/1.1", b"GeT /version HTTP/1.1", b"GET \xff HTTP/1.1",
             b"\x16\x03\x01\x02\x00\x01"]  # fmt: skip
    for line in lines:
        with row.case(line):
            answer = exchanged(served, line + b"\r\nHost: x\r\n\r\n")
            assert 200 not in statuses(answer), answer
            assert all(status in (400, 404, 405, 505) for status in statuses(answer))
    for header in (
        b"X: \x00",
        b"X\x00: y",
        b": y",
        b"X y",
        b"X\xff: y",
        b"X(: y",
        b" X: y",
        b"X: " + b"y" * 200_000,
        b"X" * 200_000 + b": y",
    ):
        with row.case(header[:20]):
            answer = exchanged(served, b"GET /version HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
            assert all(status < 500 for status in statuses(answer))
            if len(header) < 100:
                assert 200 not in statuses(answer), answer


def test_g11_nothing_that_says_where_it_comes_from_is_believed(served: Served, ada: Person, row: Row) -> None:
    evil = "evil.example"
    names = """X-Forwarded-Host X-Forwarded-Server X-Host X-Original-URL X-Rewrite-URL X-Forwarded-Prefix Forwarded X-Forwarded-Proto
        X-Forwarded-Scheme X-Forwarded-For X-Real-IP X-HTTP-Method-Override X-Method-Override Front-End-Https X-Custom-IP-Authorization
        X-Forwarded-Port Host"""
    values = (evil, f"https://{evil}", "https", "/metrics", "DELETE", "127.0.0.1", f"host={evil};proto=https")
    spoofs = [{name: value} for name in names.split() for value in values if name != "Host" or value == evil]
    with httpx.Client(base_url=served.url) as http:
        plain = {
            path: http.get(path) for path in ("/version", "/.well-known/oauth-protected-resource", "/graphql", "/nope")
        }
        for spoof in spoofs:
            for path, reference in plain.items():
                with row.case((spoof, path)):
                    answer = http.get(path, headers=spoof)
                    assert answer.status_code == reference.status_code
                    assert evil not in str(answer.headers) + answer.text
                    assert "strict-transport-security" not in answer.headers, "a header does not make it https"
                    assert "location" not in answer.headers
        with nothing_changes(served):
            for method in ("GET", "HEAD", "OPTIONS"):
                for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
                    with row.case((method, name)):
                        wish = 'mutation { openAccount(input: {asset: "EUR", name: "x", idempotencyKey: "k"}) { position } }'
                        headers = {
                            "Authorization": f"Bearer {ada.token}",
                            name: "POST",
                            "Content-Type": "application/json",
                        }
                        answer = http.request(method, "/graphql", params={"query": wish}, headers=headers)
                        assert answer.status_code in (405, 403, 400)


def test_g11_an_address_has_one_spelling(served: Served, ada: Person, row: Row) -> None:
    """Written on the wire as they stand: no client tidies them up first."""
    tricks = """/graphql/ //graphql /graphql// /graphql/. /graphql/.. /graphql/../graphql /./graphql
    /livez/../graphql /graphql;x /graphql%00 /graphql%2f
        /graphql%0a /graphql%20 /GRAPHQL /graphql.json /graphql/x /%2e%2e/etc/passwd /..%2f..%2fetc/passwd
        /static/../../etc/passwd /graphql\\
        /%c0%ae%c0%ae/ /metrics/../graphql /graphql/..;/metrics /metrics%2f /;/metrics /%5cmetrics ///metrics /metrics;a=b"""
    for path in tricks.split():
        with row.case(path):
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ada.token}\r\n{LAST}\r\n".encode(
                "latin-1"
            )
            answer = exchanged(served, request)
            assert statuses(answer) in ([404], [400]), answer
            assert b"location:" not in answer.lower()
    for method in (
        "TRACE",
        "TRACK",
        "CONNECT",
        "PUT",
        "PATCH",
        "DELETE",
        "PROPFIND",
        "DEBUG",
        "PURGE",
        "LINK",
        "SEARCH",
        "M-SEARCH",
    ):
        for path in ("/graphql", "/version", "/metrics", "/livez", "*"):
            with row.case((method, path)):
                answer = exchanged(
                    served,
                    f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ada.token}\r\nX: canary\r\n{LAST}\r\n".encode(),
                )
                assert all(status in (400, 404, 405, 501) for status in statuses(answer)), answer
                assert b"canary" not in answer


def test_g11_a_host_is_named_once(served: Served, row: Row) -> None:
    for hosts in ("", "Host: a\r\nHost: b\r\n", "Host: a\r\nhost: a\r\n"):
        with row.case(hosts):
            answer = exchanged(served, f"GET /version HTTP/1.1\r\n{hosts}{LAST}\r\n".encode())
            assert statuses(answer) == [400], answer
    for host in (
        "",
        "a b",
        "a/b",
        "a@b",
        "a,b",
        "a\tb",
        "http://a",
        "a:b",
        "[::1",
        "<script>",
        "a#b",
        "a?b",
        "é",
    ):
        with row.case(host):
            answer = exchanged(served, f"GET /version HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert statuses(answer) == [400], answer
