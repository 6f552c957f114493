"""Rows A4 and A7: bodies that are no request, and many requests in one."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from isthmus.graphql import bounded_heads
from tests.api.conftest import CONTRACT, Person, Served
from tests.attacks.count import Row
from tests.attacks.victim import nothing_changes
from tests.attacks.wire import http

GOOD = b'{"query": "{ viewer { id } }"}'


def bodies() -> Iterator[tuple[str, bytes]]:
    for value in (b"1", b"null", b'""', b"[]", b"{}", b"true", b"1.5", b'["{ viewer { id } }"]', b'{"a": 1}'):
        yield f"query is {value.decode()}", b'{"query": ' + value + b"}"
        for name in (b"variables", b"extensions", b"operationName"):
            if value not in (b"null", b"{}", b'{"a": 1}', b'""'):
                fits = value in (b'""',) and name == b"operationName"
                if not fits:
                    yield (
                        f"{name.decode()} is {value.decode()}",
                        b'{"query": "{ viewer { id } }", "' + name + b'": ' + value + b"}",
                    )
    for text in (
        b"",
        b" ",
        b"\0",
        b"{",
        b"}",
        b"null",
        b"1",
        b"NaN",
        b"Infinity",
        b"-",
        b"{'query': 1}",
        b'{"query"}',
        b"\xff\xfe",
        b"\xef\xbb\xbf",
    ):
        yield f"{text!r}", text
    for number in (
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"0x1",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"--1",
        b"1e",
        b"9" * 5_000,
    ):
        if number not in (b"1e999", b"9" * 5_000):
            yield (
                f"number {number[:20].decode()}",
                b'{"query": "{ viewer { id } }", "variables": {"x": ' + number + b"}}",
            )
    for surrogate in (b"\\ud800", b"\\udfff", b"\\ud800\\ud800", b"\\udc00\\ud800"):
        for place in (
            b'{"query": "{ viewer { id } } #%s"}',
            b'{"query": "{ viewer { id } }", "variables": {"x": "%s"}}',
            b'{"query": "{ viewer { id } }", "%s": 1}',
        ):
            yield f"surrogate {surrogate.decode()} {place[:30].decode()}", place.replace(b"%s", surrogate)
    for depth in (1_100, 10_000, 40_000):
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            if len(opening) * depth < 90_000:
                yield (
                    f"{depth} deep {opening.decode()}",
                    b'{"query": "{ viewer { id } }", "variables": {"x": '
                    + opening * depth
                    + b"1"
                    + closing * depth
                    + b"}}",
                )
                yield f"{depth} open {opening.decode()}", opening * depth
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7"):
        if encoding != "utf-7":
            yield encoding, GOOD.decode().encode(encoding)
    yield "two objects", GOOD + GOOD
    yield "garbage behind it", GOOD + b"x"
    yield "a NUL behind it", GOOD + b"\0"
    yield "cut in the middle", GOOD[:-5]
    yield "bytes that are no UTF-8", b'{"query": "{ viewer { id } } #\xff\xc0\xaf"}'
    yield "an overlong slash", b'{"query": "\xc0\xaf"}'
    yield "a control character in a string", b'{"query": "{ viewer { id } }\x01"}'
    yield "a NUL in the document", b'{"query": "{ viewer { id }\\u0000 }"}'
    for kind in (gzip.compress(GOOD), zlib.compress(GOOD), gzip.compress(b" " * 10_000_000)):
        yield f"compressed, {len(kind)} bytes", kind


def sent(person: Person, served: Served, body: Any, **headers: str) -> httpx.Response:
    named = {"authorization": f"Bearer {person.token}", "content-type": "application/json"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    return http().post(served.graphql, content=body, headers=named, timeout=20)


def test_a4_a_body_that_is_no_request_is_4xx_and_never_runs(served: Served, ada: Person, row: Row) -> None:
    assert sent(ada, served, GOOD).json()["data"]
    for name, body in bodies():
        with row.case(name):
            served.statements.clear()
            answer = sent(ada, served, body)
            shown = answer.json()
            assert answer.status_code == 400 or (name == "a NUL in the document" and "data" not in shown)
            assert shown["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
            assert "data" not in shown
            assert served.statements == []


def test_a4_of_a_key_that_is_there_twice_one_counts(served: Served, ada: Person, row: Row) -> None:
    """Never both: what was weighed is what runs."""
    deep = "{" + "a{" * 50 + "b" + "}" * 51
    for first, second in (
        (deep, "{ viewer { id } }"),
        ("{ viewer { id } }", deep),
        ("{ viewer { id } }", "{ assets { code } }"),
    ):
        with row.case((first[:20], second[:20])):
            shown = sent(
                ada, served, f'{{"query": {json.dumps(first)}, "query": {json.dumps(second)}}}'.encode()
            ).json()
            assert ("data" in shown) == (second != deep)
            if "data" in shown:
                assert list(shown["data"]) == [second.split()[1]]


def test_a4_no_encoding_hides_a_bomb(served: Served, ada: Person, row: Row) -> None:
    bomb = gzip.compress(b" " * 20_000_000)
    for encoding in (
        "gzip",
        "deflate",
        "br",
        "zstd",
        "compress",
        "x-gzip",
        "GZIP",
        "gzip, gzip",
        "identity, gzip",
        "*",
    ):
        with row.case(encoding), memory_stays():
            assert sent(ada, served, bomb, content_encoding=encoding).status_code == 415
    for charset in ("utf-16", "utf-32", "latin-1", "utf-7", "ascii", "shift_jis", "x"):
        with row.case(charset):
            assert sent(ada, served, GOOD, content_type=f"application/json; charset={charset}").status_code == 415


def resident() -> int:
    """Bytes of this process that lie in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


@contextmanager
def memory_stays(mib: int = 20) -> Iterator[None]:
    """The most that this process (server and client) grows to, looked at 500 times a second."""
    before, most, over = resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.002):
            most = max(most, resident())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()
    assert most - before < mib * 2**20, f"{(most - before) >> 20} MiB more"


@contextmanager
def raw(served: Served) -> Iterator[socket.socket]:
    address = urlsplit(served.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as connection:
        yield connection


def head(person: Person, *lines: str) -> bytes:
    fixed = (
        "POST /graphql HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {person.token}",
        "Content-Type: application/json",
    )
    return "\r\n".join((*fixed, *lines, "", "")).encode()


def status_of(connection: socket.socket) -> int:
    """Of the next answer; 0 where the connection was cut instead."""
    try:
        line = connection.makefile("rb").readline()
    except OSError:
        return 0
    return int(line.split()[1]) if line else 0


def test_a4_a_body_without_end_is_cut_off_and_takes_no_memory(served: Served, ada: Person, row: Row) -> None:
    chunk = b"%x\r\n%s\r\n" % (4_096, b" " * 4_096)
    for number in range(8):
        with row.case(("chunked without end", number)), memory_stays(), raw(served) as connection:
            connection.sendall(head(ada, "Transfer-Encoding: chunked"))
            given = 0
            try:
                while given < 20_000_000:
                    connection.sendall(chunk)
                    given += len(chunk)
            except OSError:
                pass
            assert given < 20_000_000, "the server hung up long before"
            assert status_of(connection) in (0, 413)
    for size in (100_001, 10**7, 10**12, 2**63, 2**64, 10**30):
        with row.case(("announced", size)), memory_stays(), raw(served) as connection:
            connection.sendall(head(ada, f"Content-Length: {size}"))
            assert status_of(connection) in (400, 413)
    for size in (100_001, 10**6, 10**7):
        with row.case(("a comment", size)), memory_stays(20 + size * 4 // 2**20):
            assert sent(ada, served, b'{"query": "#' + b"x" * size + b'"}').status_code == 413


def test_a4_a_body_that_trickles_ends_with_its_time(
    served: Served, ada: Person, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = served.app.state.endpoint.executor.api
    monkeypatch.setitem(vars(api), "request_timeout_s", 0.3)
    for announced in ("Content-Length: 1000", "Transfer-Encoding: chunked"):
        with row.case(announced), raw(served) as connection:
            began = time.monotonic()
            connection.sendall(head(ada, announced))
            connection.sendall(b"1\r\n{\r\n" if "chunked" in announced else b"{")
            assert status_of(connection) == 408
            assert time.monotonic() - began < 8


def test_a4_a_head_has_an_end(served: Served, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes and in seconds: whatever it is that does not end."""
    endless = {
        "a header": (b"GET /version HTTP/1.1\r\nHost: x\r\nX: ", b"y" * 4_096),
        "headers": (b"GET /version HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n" * 500),
        "a name": (b"GET /version HTTP/1.1\r\nHost: x\r\n", b"y" * 4_096),
        "an address": (b"GET /version?", b"y" * 4_096),
    }
    for name, (start, part) in endless.items():
        with row.case(name), memory_stays(), raw(served) as connection:
            connection.sendall(start)
            given = 0
            with suppress(OSError):
                while given < 20_000_000:
                    connection.sendall(part)
                    given += len(part)
            assert given < 20_000_000, "the server hung up long before"
            assert status_of(connection) in (0, 400, 431)
    monkeypatch.setattr(bounded_heads, "HEAD_S_MAX", 0.3)
    for start in (b"", b"G", b"GET /version HTTP/1.1\r\n", b"GET /version HTTP/1.1\r\nHost: x\r\nX: y"):
        with row.case(("trickles", start)), raw(served) as connection:
            began = time.monotonic()
            connection.sendall(start)
            assert status_of(connection) == 408
            assert time.monotonic() - began < 8


def test_a7_many_requests_in_one_are_one_refusal(served: Served, ada: Person, row: Row) -> None:
    one = {"query": "{ viewer { id } }"}
    wish = {
        "query": CONTRACT,
        "operationName": "OpenAccount",
        "variables": {"input": {"asset": "EUR", "name": "x", "idempotencyKey": "k"}},
    }
    batches: list[Any] = [
        [], [one], [one] * 2, [one] * 1_000, [wish], [wish] * 10, [[one]], [one, None], [1], ["x"], [{}], {"0": one}, {"batch": [one]},
    ]  # fmt: skip
    with nothing_changes(served):
        for batch in batches:
            with row.case(str(batch)[:60]):
                served.statements.clear()
                answer = sent(ada, served, json.dumps(batch).encode())
                assert answer.status_code == 400
                assert "data" not in answer.json()
                assert served.statements == []
