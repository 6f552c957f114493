"""Rows B3, B4, B6, B7 and B10: what an operation may be used for, by whom, and what it never shows."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from graphql import GraphQLInputObjectType, GraphQLInterfaceType, GraphQLObjectType

from isthmus.auth.caller import Caller
from isthmus.auth.scopes import Role, Scope, allowed
from isthmus.domain.identifiers import person_id
from isthmus.graphql.access import ACCESS
from isthmus.graphql.schema import build_schema
from tests.api.conftest import Person, Served, deposit
from tests.api.socket_client import connected
from tests.api.test_errors import replaced
from tests.api.test_websocket import CHANGED
from tests.attacks.count import Row
from tests.attacks.operations import CALLS
from tests.attacks.victim import Things, hostile_ids, nothing_changes
from tests.attacks.wire import http

SINCE = 'subscription($ids: [ID!]) { balanceChanged(accountIds: $ids, after: "0") { account { id } version } }'
TRAIL = """query($c: ID, $after: String) { auditTrail(correlationId: $c, first: 200, after: $after) { edges { cursor node {
    eventId aggregateId correlationId causationId actor } } pageInfo { hasNextPage endCursor } } }"""


def trail(person: Person, correlation_id: str | None = None) -> list[Any]:
    found: list[Any] = person.ask(TRAIL, {"c": correlation_id})["auditTrail"]["edges"]
    return [edge["node"] for edge in found]


def test_b3_a_correlation_id_opens_no_trail_but_ones_own(
    ada: Person, grace: Person, olga: Person, alan: Person, hers: Things, row: Row
) -> None:
    """Every id in her log, as an argument of mine: an empty list, like an id that nothing had."""
    mine = ada.open()
    deposit(olga, mine, "20.00")
    payment = ada.transfer(mine, hers.account, "2.00")
    own = {event["eventId"] for event in trail(ada)}
    shared = {event["correlationId"] for event in trail(ada)} & {event["correlationId"] for event in trail(grace)}
    assert payment["journal"]["id"]
    assert len(shared) == 1, "what both took part in, both see"
    for event in trail(grace):
        for name in ("correlationId", "eventId", "causationId", "aggregateId"):
            if event[name] is not None and event[name] not in shared:
                with row.case((name, event[name])):
                    assert trail(ada, event[name]) == []
    for person, others in ((ada, grace), (grace, ada)):
        with row.case("a shared payment names nobody"):
            (event,) = trail(person, next(iter(shared)))
            assert str(others.id) not in str(event)
    for stranger in (Person(ada._served), olga):
        with row.case("neither side"):
            assert trail(stranger, next(iter(shared))) == []
    with row.case("an auditor sees it, by office"):
        assert trail(alan, next(iter(shared)))
    assert {event["eventId"] for event in trail(ada)} == own


async def test_b4_no_subscription_delivers_what_is_hers(
    served: Served, ada: Person, grace: Person, olga: Person, hers: Things, row: Row
) -> None:
    """Each hostile id alone, since the log began, and beside one of mine; money moves in hers, then in mine: mine is all that comes."""
    mine = await asyncio.to_thread(ada.open)
    await asyncio.to_thread(deposit, olga, mine, "1.00")
    ids = {str(id): name for name, id in hostile_ids(hers, "accounts")}
    for batch in _batched(list(ids), 30):
        async with connected(served) as client:
            await client.sign_in(ada.token)
            for number, id in enumerate(batch):
                await client.subscribe(CHANGED, {"ids": [id]}, id=f"alone {number}")
                await client.subscribe(CHANGED, {"ids": [id, mine]}, id=f"mixed {number}")
                await client.subscribe(SINCE, {"ids": [id]}, id=f"since {number}")
            await client.subscribe(CHANGED, None, id="all of mine")
            expected = {f"mixed {number}" for number in range(len(batch))} | {"all of mine"}
            first = [await client.receive(20) for _ in expected]
            await asyncio.to_thread(deposit, olga, hers.account, "3.00")
            await asyncio.to_thread(deposit, olga, mine, "2.00")
            second = [await client.receive(20) for _ in expected]
            for number, id in enumerate(batch):
                with row.case(ids[id]):
                    assert {m["id"] for m in first} == {m["id"] for m in second} == expected
                    of_it = [m for m in first + second if m["id"].endswith(f" {number}")]
                    assert [m["payload"]["data"]["balanceChanged"]["account"]["id"] for m in of_it] == [mine] * 2
            with pytest.raises(TimeoutError):
                await client.receive(0.1)


def _batched(items: list[str], size: int) -> Iterator[list[str]]:
    yield from (items[start : start + size] for start in range(0, len(items), size))


#: What only the ledger decides: no input may have it.
NO_INPUT = """id state status owner ownerId userId personId subject role roles scope fee fees rate balance available posted pending
    version floor mayOverdraw overdraft frozen closed actor position hash postedAt openedAt committedAt occurredAt correlationId causationId
    journalId direction kind isAdmin tenantId __proto__ constructor"""
#: What nobody is shown.
NO_OUTPUT = """rawPayload raw payload password passwordHash salt secret clientSecret privateKey wrappedKey masterKey accessToken
    refreshToken idToken token sealed ciphertext email loginDigest idempotencyKey
    requestHash owner ownerId floor mayOverdraw otp seed mnemonic iban ipAddress
    metadata sql debug stack"""
#: What other products have at such addresses, and other spellings of ours.
NOWHERE = """/admin /debug /webhooks /operator /docs /openapi.json /graphiql /.env /.git/config /metrics/ //metrics
    /METRICS /server-status /actuator /console"""
#: Where such a name is what the field is for; each with its reason.
MEANT = {
    "TransactionFilter.status": "which ones to list, not what they become",
    "SetNotificationPreferenceInput.kind": "what somebody wants to be told of, by its name",
    "BankCredentialInput.state": "what came back from the bank, which is compared",
    "RedirectResultInput.state": "what came back from the bank, which is compared",
    "BankAccount.iban": "the owner's own, at their bank",
    "CreateApiKeyPayload.secret": "the key itself, shown once to whoever made it",
}


def test_b6_no_input_sets_and_no_type_shows_what_is_the_ledgers_own(row: Row) -> None:
    for name, made in build_schema()._schema.type_map.items():
        if name.startswith("__"):
            continue
        forbidden = NO_INPUT if isinstance(made, GraphQLInputObjectType) else NO_OUTPUT
        if isinstance(made, GraphQLInputObjectType | GraphQLObjectType | GraphQLInterfaceType):
            lowered = {field.lower(): field for field in made.fields}
            for word in forbidden.split():
                with row.case(f"{name}.{word}"):
                    assert word.lower() not in lowered or f"{name}.{lowered[word.lower()]}" in MEANT


def test_b6_a_field_that_is_smuggled_in_refuses_the_whole_wish(
    served: Served, ada: Person, olga: Person, row: Row
) -> None:
    mine = ada.open()
    for operation, call in CALLS.items():
        if not operation.startswith("Mutation"):
            continue
        person = olga if call.role is Role.OPERATOR else ada
        with nothing_changes(served):
            for number, word in enumerate(NO_INPUT.split()):
                wish = call.filled(None, None, mine)
                places = [wish["input"], *(inner for inner in wish["input"].values() if isinstance(inner, dict))]
                for depth, place in enumerate(places):
                    if word in place or (depth and (number + depth) % 4):  # further in, some of the words
                        continue
                    place[word] = "1"
                    with row.case((operation, word)):
                        served.statements.clear()
                        assert person.refused(call.document, wish) == "BAD_USER_INPUT"
                        assert served.statements == []
                    del place[word]


class Scoped:
    """A verifier for tokens that carry fewer scopes than their person's roles allow."""

    def __init__(self) -> None:
        self.scopes: frozenset[Scope] = frozenset()

    async def verify(self, token: str, *, looks_on: bool = False) -> Caller:
        end = datetime.now(UTC) + timedelta(minutes=5)
        return Caller(person_id("test", token), token, frozenset(Role), self.scopes, end)

    async def used(self, caller: Caller) -> None:
        """As often as they like."""


def test_b7_each_set_of_scopes_opens_what_it_names_and_nothing_else(
    served: Served, ada: Person, monkeypatch: pytest.MonkeyPatch, row: Row
) -> None:
    """Every subset of scopes on every root field, for somebody who has every role."""
    assert ACCESS.keys() == CALLS.keys()
    verifier = Scoped()
    replaced(served, monkeypatch, verifier=verifier)
    ada.token = "all.roles"
    everything = {
        name: call.filled(None, None, "nowhere") for name, call in CALLS.items() if "Subscription" not in name
    }
    for count in range(len(Scope) + 1):
        for scopes in itertools.combinations(sorted(Scope), count):
            verifier.scopes = frozenset(scopes)
            for name, variables in everything.items():
                if ACCESS[name] in scopes:
                    continue
                with row.case((name, scopes)):
                    served.statements.clear()
                    answer = ada.post(CALLS[name].document, variables).json()
                    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
                    assert not any((answer["data"] or {}).values())
                    assert served.statements == []
    verifier.scopes = frozenset(Scope)
    assert "errors" not in ada.post(CALLS["Query.viewer"].document).json(), "the control: with it, it is open"


async def test_b7_a_socket_is_no_way_around_scopes(
    served: Served, ada: Person, alan: Person, olga: Person, row: Row
) -> None:
    people = {Role.CUSTOMER: ada, Role.AUDITOR: alan, Role.OPERATOR: olga}
    for role, person in people.items():
        async with connected(served) as client:
            await client.sign_in(person.token)
            for name, call in CALLS.items():
                if ACCESS[name] in allowed([role]):
                    continue
                with row.case((role, name)):
                    await client.subscribe(call.document, call.filled(None, None, "nowhere"), id=name)
                    answer = await client.receive()
                    shown = answer["payload"] if answer["type"] == "error" else answer["payload"]["errors"]
                    assert [error["extensions"]["code"] for error in shown] == ["FORBIDDEN"]
                    assert await client.receive() == {"id": name, "type": "complete"}


def test_b7_one_forbidden_wish_among_many_is_refused_alone(served: Served, ada: Person, hers: Things, row: Row) -> None:
    """Aliases, and operations beside each other in one document: each root field is asked for its own scope."""
    for number in range(1, 8):
        fields = [
            f'f{n}: freezeAccount(input: {{accountId: "{hers.account}", idempotencyKey: "{uuid4()}"}}) {{ position }}'
            for n in range(number)
        ]
        with row.case(number), nothing_changes(served):
            answer = ada.post(f"mutation {{ {' '.join(fields)} }}").json()
            assert answer["data"] is None
            assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    both = 'query Q { viewer { id } } mutation M { freezeAccount(input: {accountId: "x", idempotencyKey: "k"}) { position } }'
    with row.case("another operation's name"):
        assert ada.refused(both, operation="M") == "FORBIDDEN"


def test_b7_what_is_for_the_operator_of_the_machine_is_not_for_users(served: Served, ada: Person, row: Row) -> None:
    """Metrics are for who runs the platform: from this machine, never through a proxy, or with the token that is set."""
    for headers in (
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"X-Real-IP": "203.0.113.9"},
        {"Via": "1.1 proxy"},
        {"X-Forwarded-Host": "api.example"},
        {"Authorization": f"Bearer {ada.token}", "X-Forwarded-For": "127.0.0.1"},
    ):
        with row.case(headers):
            answer = http().get(f"{served.url}/metrics", headers=headers)
            assert answer.status_code == 403
            assert "isthmus_" not in answer.text
            assert answer.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    for path in NOWHERE.split():
        with row.case(path):
            assert http().get(served.url + path, headers={"Authorization": f"Bearer {ada.token}"}).status_code == 404
    assert "isthmus_" in http().get(f"{served.url}/metrics").text, "the control: from this machine it is open"


async def test_b10_two_people_at_once_never_see_each_other(
    served: Served, ada: Person, grace: Person, olga: Person, row: Row
) -> None:
    """10,000 answers by id and 667 lone balances, half each, some of both always under way, by one document: what is kept is shared."""
    people = [ada, grace]
    mine = [await asyncio.to_thread(person.open) for person in people]
    for account in (mine[0], mine[1], mine[1]):
        await asyncio.to_thread(deposit, olga, account, "1.00")
    fields = " ".join(f"a{n}: node(id: ${'ab'[n % 2]}) {{ id }}" for n in range(15))
    query = f"query($a: ID!, $b: ID!) {{ {fields} viewer {{ accounts {{ edges {{ node {{ balance {{ version }} }} }} }} }} }}"
    shown = [{"accounts": {"edges": [{"node": {"balance": {"version": version}}}]}} for version in (1, 2)]
    expected: list[dict[str, Any]] = [
        {f"a{k}": {"id": mine[n]} if k % 2 == n else None for k in range(15)} | {"viewer": shown[n]} for n in range(2)
    ]
    left = iter(range(10_000 // 15 + 1))
    limits = httpx.Limits(max_connections=6, max_keepalive_connections=6)
    async with httpx.AsyncClient(timeout=30, limits=limits) as at_once:

        async def one_after_another() -> None:
            for number in left:
                who = number % 2
                asked = {"query": query, "variables": {"a": mine[0], "b": mine[1]}}
                headers = {"Authorization": f"Bearer {people[who].token}"}
                body = (await at_once.post(served.graphql, json=asked, headers=headers)).json()
                for _ in range(20):  # too busy, or not in time: said so, and nothing of anybody shown
                    if not body.get("errors"):
                        break
                    assert all(error["extensions"].get("retryable") for error in body["errors"]), body
                    body = (await at_once.post(served.graphql, json=asked, headers=headers)).json()
                data = body["data"]
                for name, value in expected[who].items():
                    with row.case((number, name)):
                        assert data[name] == value

        await asyncio.gather(*(one_after_another() for _ in range(6)))
