"""Row G9: secrets and personal words, sent through every way in and every way to fail, are found nowhere that keeps or shows things."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from prometheus_client import generate_latest
from redis.asyncio import Redis

from isthmus.auth.tokens import IssuerUnavailable
from isthmus.runtime.servers import EmbeddedServers
from tests.api.conftest import CONTRACT, SETTLE, Person, Served, token
from tests.api.socket_client import connected
from tests.api.test_errors import replaced
from tests.api.test_websocket import CHANGED
from tests.attacks.count import Row
from tests.attacks.logs import logging_everything
from tests.attacks.operations import CALLS
from tests.attacks.wire import http
from tests.auth.provider_kit import ADA, CLI, on_its_own_database, redirected

MARK = "cnry"


class Canaries:
    """Words that are nowhere else; `drop` makes one for a purpose."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def drop(self, purpose: str, form: str = "%s") -> str:
        word = form % f"{MARK}{len(self.words):02d}{uuid4().hex[:12]}"
        self.words[purpose] = word
        return word

    def found_in(self, text: str) -> list[str]:
        lower = text.lower()
        return [
            purpose for purpose, word in self.words.items() if word.lower() in lower or word.encode().hex() in lower
        ]


async def kept(url: str) -> str:
    """Every row of every table, the bus's outbox among them."""
    connection = await asyncpg.connect(url)
    tables = await connection.fetch(
        "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
    )
    rows = [row[0] for table in tables for row in await connection.fetch(f"select t::text from {table['name']} t")]
    await connection.close()
    return "\n".join(map(str, rows))


async def cached(url: str) -> str:
    redis = Redis.from_url(url)
    parts: list[str] = []
    async for key in redis.scan_iter("*"):
        parts.append(str(key))
        kind = await redis.type(key)
        if kind == b"hash":
            parts.append(str(await redis.hgetall(key)))
        elif kind == b"string":
            parts.append(str(await redis.get(key)))
        elif kind == b"zset":
            parts.append(str(await redis.zrange(key, 0, -1)))
        elif kind == b"stream":
            parts.append(str(await redis.xrange(key)))
    await redis.aclose()
    return "\n".join(parts)


def sent_everywhere(served: Served, person: Person, operator: Person, canaries: Canaries) -> Iterator[httpx.Response]:
    """Each secret or personal word through one way in; the answers that somebody gets."""
    drop = canaries.drop
    account = person.open(name=drop("an account's name"))
    wish = {"asset": "EUR", "idempotencyKey": drop("an idempotency key")}
    yield person.post(CONTRACT, {"input": wish | {"name": "x"}}, "OpenAccount")
    yield person.post(CONTRACT, {"input": wish | {"name": "y"}}, "OpenAccount")
    yield person.post(
        CONTRACT,
        {"input": {"asset": "XXX", "name": drop("a name that was refused"), "idempotencyKey": "k1"}},
        "OpenAccount",
    )
    yield person.post(
        CONTRACT,
        {"input": {"asset": "EUR", "name": drop("a name that is too long") + "x" * 100, "idempotencyKey": "k2"}},
        "OpenAccount",
    )
    settle = {
        "accountId": account,
        "amount": {"amount": "9.00", "asset": "EUR"},
        "reference": drop("a bank's reference"),
    }
    yield operator.post(SETTLE, {"input": settle})
    yield operator.post(
        SETTLE, {"input": settle | {"accountId": "x", "reference": drop("a reference that was refused")}}
    )
    person.account(account, "balance { posted { amount } }")  # which Redis keeps from now on
    other = person.open()
    pay = {"fromAccountId": account, "toAccountId": other, "amount": {"amount": "1.00", "asset": "EUR"}}
    yield person.post(
        CONTRACT,
        {"input": pay | {"reference": drop("a payment's reference"), "idempotencyKey": "k3"}},
        "TransferInternally",
    )
    big = pay | {"amount": {"amount": "1000.00", "asset": "EUR"}}
    yield person.post(
        CONTRACT,
        {"input": big | {"reference": drop("of a payment that was refused"), "idempotencyKey": "k4"}},
        "TransferInternally",
    )
    long = drop("a reference that is too long") + "x" * 200
    yield person.post(CONTRACT, {"input": pay | {"reference": long, "idempotencyKey": "k5"}}, "TransferInternally")
    text = "query Q { viewer { id } } # " + drop("a comment in a document")
    yield person.post(text, {"unused": drop("a variable that nobody declared")}, "Q")
    yield person.post("{ viewer { id } }", None, drop("an operation's name"))
    signed = {"Authorization": f"Bearer {person.token}"}
    for name in (
        "Cookie",
        "X-Api-Key",
        "Proxy-Authorization",
        "X-Forwarded-For",
        "User-Agent",
        "Referer",
        "X-Correlation-Id",
        "X-Isthmus-Position",
    ):
        value = drop(f"the header {name}", "%s and more")
        yield http().post(served.graphql, json={"query": "{ viewer { id } }"}, headers=signed | {name: value})
    for form in ("Bearer %s", "Basic %s", "%s", "Bearer eyJ%s.e30.x", "DPoP %s", "ApiKey %s"):
        yield http().post(
            served.graphql,
            json={"query": "{ viewer { id } }"},
            headers={"Authorization": drop(f"a token as {form}", form)},
        )
    key = CALLS["Mutation.createApiKey"]
    made = person.ask(key.document.replace("{ apiKey", "{ secret apiKey"), key.filled(None, None, account))[
        "createApiKey"
    ]
    canaries.words["an API key"] = made["secret"]
    by_key = {"Authorization": f"Bearer {made['secret']}"}
    yield http().post(served.graphql, json={"query": "{ apiKeys { totalCount } }"}, headers=by_key)
    revoke = CALLS["Mutation.revokeApiKey"]
    person.ask(revoke.document, revoke.filled("input.apiKeyId", made["apiKey"]["id"], account))
    yield http().post(served.graphql, json={"query": "{ viewer { id } }"}, headers=by_key)
    yield http().post(
        served.graphql, json={"query": "{ viewer { id } }"}, headers={"Authorization": f"Bearer {made['secret'][:-1]}"}
    )
    for name in ("access_token", "token", "api_key", "variables"):
        value = drop(f"the parameter {name}")
        given = {"query": "{ viewer { id } }", name: value if name != "variables" else f'{{"x": "{value}"}}'}
        yield http().get(served.graphql, params=given, headers=signed)
    yield http().get(f"{served.url}/{drop('a path', 'reset?token=%s')}")
    yield http().post(
        served.graphql,
        content=b'{"query": "' + drop("a body that is cut off").encode(),
        headers=signed | {"Content-Type": "application/json"},
    )
    yield http().post(
        served.graphql,
        content=drop("a form", "password=%s"),
        headers=signed | {"Content-Type": "application/x-www-form-urlencoded"},
    )


def is_refusal(body: Any) -> bool:
    """Errors of the request, or in a payload: any other answer may show a person their own words."""
    payloads = [value for value in (body.get("data") or {}).values() if isinstance(value, dict)]
    return bool(body.get("errors") or any(payload.get("errors") for payload in payloads))


class Broken:
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def run(self, *_: Any) -> Any:
        raise self._error

    async def verify(self, _: str) -> Any:
        raise self._error


def failures(canaries: Canaries) -> dict[str, list[Exception]]:
    """Errors as libraries raise them, with what was worked on in their words."""
    drop = canaries.drop
    unique = asyncpg.UniqueViolationError("duplicate key value violates unique constraint")
    unique.detail = f"Key (reference)=({drop('a detail of PostgreSQL')}) already exists."
    try:
        try:
            raise KeyError(drop("a cause's cause"))
        except KeyError as cause:
            raise ValueError(drop("a cause")) from cause
    except ValueError as error:
        chained = error
    grouped = ExceptionGroup(drop("a group"), [RuntimeError(drop("a part of a group"))])
    return {
        "commands": [ValueError(f"name is {drop('an exception of ours')}"), unique, chained, grouped, OSError(drop("an error of a socket")),
                     asyncpg.DataError(f"invalid input for query argument $1: {drop('a query argument')}"),
                     ConnectionError(f"redis://:{drop('a password in a URL')}@10.0.0.1:6379"), RecursionError(drop("too deep"))],
        "verifier": [RuntimeError(f"Bearer {drop('a token in an exception')}"), IssuerUnavailable(drop("an issuer that is away"))],
    }  # fmt: skip


async def over_the_socket(served: Served, person: Person, canaries: Canaries) -> list[str]:
    drop, said = canaries.drop, []
    for payload in (
        {"Authorization": drop("a token for a socket", "Bearer %s")},
        {"password": drop("a password for a socket")},
    ):
        async with connected(served) as client:
            await client.send({"type": "connection_init", "payload": payload})
            said.append(str(await client.closed()))
    async with connected(served) as client:
        await client.sign_in(person.token)
        await client.subscribe(CHANGED, {"ids": [drop("an id to subscribe to")]})
        await client.subscribe("{ nope }", {"x": drop("a variable over a socket")}, id="2")
        said.append(str(await client.receive()))
        await client.socket.send('{"type": "' + drop("a type of message") + '"}')
        said.append(str(await client.closed()))
    return said


async def at_the_provider(
    servers: EmbeddedServers, template: str, directory: Path, canaries: Canaries
) -> tuple[list[str], str]:
    """A sign-in that works and ones that fail; codes, cookies and tokens are canaries that the provider draws itself."""
    drop, pages = canaries.drop, []
    async with on_its_own_database(servers, template, directory) as kit:
        wrong = await kit.sign_in(ADA, drop("a wrong password"))
        assert wrong.status_code == 400
        await kit.sign_in(drop("an unknown e-mail", "%s@example.com"), "x")
        response = await kit.sign_in()
        code = redirected(response)["code"]
        tokens = (await kit.exchange(code)).json()
        for name, value in (
            ("code", code),
            ("cookie", kit.http.cookies["isthmus_session"]),
            ("verifier", kit.verifier),
        ):
            canaries.words[f"the provider's {name}"] = value
        for name in ("access_token", "refresh_token", "id_token"):
            canaries.words[f"the provider's {name}"] = tokens[name]
        await kit.http.get(
            "/logout", params={"id_token_hint": drop("a hint")}
        )  # its form gives it back, to its own browser
        bad = [
            await kit.exchange(drop("a code that was guessed")),
            await kit.exchange(code),
            await kit.exchange(code, code_verifier=drop("a wrong verifier", "%s" + "a" * 40)),
            await kit.exchange(code, client_secret=drop("a client's secret")),
            await kit.refresh(drop("a refresh token that was guessed")),
            await kit.refresh(tokens["refresh_token"]),
            await kit.userinfo(drop("a token at userinfo", "eyJ%s.e30.x")),
            await kit.http.post("/revoke", data={"client_id": CLI, "token": drop("a token to revoke")}),
            await kit.authorize(state=drop("a state"), redirect_uri="https://evil.example"),
            await kit.authorize(client_id=drop("a client's id")),
        ]
        pages = [answer.text for answer in bad]
        state = await kit.state()
    return pages, state


def test_g9_no_canary_is_found_anywhere(
    served: Served,
    servers: EmbeddedServers,
    template: str,
    ada: Person,
    olga: Person,
    row: Row,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    canaries, output = Canaries(), io.StringIO()
    canaries.words["a good token"] = ada.token = token(f"{MARK}{uuid4().hex}")
    with logging_everything(tmp_path) as logged, contextlib.redirect_stdout(output):
        answers = list(sent_everywhere(served, ada, olga, canaries))
        for part, errors in failures(canaries).items():
            for error in errors:
                with monkeypatch.context() as patch:
                    replaced(served, patch, **{part: Broken(error)})
                    wish = {"asset": "EUR", "name": "x", "idempotencyKey": uuid4().hex}
                    answers.append(ada.post(CONTRACT, {"input": wish}, "OpenAccount"))
        said = asyncio.run(over_the_socket(served, ada, canaries))
        pages, provider = asyncio.run(at_the_provider(servers, template, tmp_path / "provider", canaries))
        lines = logged.lines
    assert sys.stderr is not logged.stream
    assert len(lines) > 60
    assert len(canaries.words) >= 40
    assert sum(line["level"] == "error" for line in lines) >= 6, "the errors were logged, only not their words"
    places = {
        "logs": logged.text,
        "output": output.getvalue(),
        "metrics": generate_latest().decode(),
        "the database": asyncio.run(kept(served.database_url)),
        "the provider's database": provider,
        "Redis": asyncio.run(cached(servers.redis_url)),
    }
    for place, text in places.items():
        assert len(text) > 100 or place in ("output", "Redis"), "what is looked through is not empty"
        found = canaries.found_in(text)
        for purpose in canaries.words:
            with row.case((place, purpose)):
                assert purpose not in found
    bodies = [answer.text for answer in answers if is_refusal(answer.json())] + said + pages
    assert len(bodies) > 40
    for body in bodies:
        with row.case(("an error's body", body[:80])):
            assert canaries.found_in(body) == []
