"""API keys: lent by a person to a program, shown once, and no more than they may."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from structlog.testing import capture_logs

from isthmus.auth.api_keys import key_id_of, new_key
from isthmus.auth.scopes import Role
from isthmus.domain.api_keys import LIVE_MAX
from isthmus.graphql.access import ACCESS, IN_PERSON
from isthmus.runtime.redaction import redact_text
from isthmus.write_models.verifier import verify
from tests.api.api_key_calls import CREATE, REVOKE, confirm, create, listed, program, revoke, until
from tests.api.conftest import Person, Served
from tests.api.test_authorisation import CALLS, plain, unreachable


def test_a_key_is_shown_once_and_works_from_then_on(served: Served, ada: Person) -> None:
    account = ada.open(name="Shop")
    made = create(ada, scopes=("WRITE", "READ"))
    shop = program(served, ada, made["secret"])

    assert made["errors"] == []
    assert made["apiKey"]["name"] == "reporting"
    assert made["apiKey"]["scopes"] == ["READ", "WRITE"]
    assert made["secret"].startswith(made["apiKey"]["prefix"] + "_")
    assert shop.ask("{ viewer { id subject roles } }")["viewer"] == {
        "id": ada.ask("{ viewer { id } }")["viewer"]["id"],
        "subject": made["apiKey"]["prefix"],
        "roles": ["SERVICE"],
    }
    assert shop.account(account, "name") == {"name": "Shop"}
    assert shop.change("closeAccount", account)["errors"] == []
    (shown,) = [edge["node"] for edge in listed(ada)["edges"]]
    assert shown["id"] == made["apiKey"]["id"]
    assert made["secret"] not in json.dumps(listed(ada))


def test_the_secret_is_kept_by_nobody(served: Served, ada: Person) -> None:
    with capture_logs() as logs:
        secret: str = create(ada, name="canary-name")["secret"]
        program(served, ada, secret).ask("{ viewer { id } }")
        program(served, ada, secret[:-1]).post("{ viewer { id } }")

    async def everything() -> str:
        connection = await asyncpg.connect(served.database_url)
        try:
            tables = await connection.fetch(
                "select schemaname || '.' || relname as name from pg_stat_user_tables where n_live_tup >= 0"
            )
            texts = [await connection.fetchval(f"select string_agg(t::text, ' ') from {t['name']} t") for t in tables]
        finally:
            await connection.close()
        return " ".join(filter(None, texts))

    stored = asyncio.run(everything())
    secret_part = secret.rsplit("_", 1)[1]
    assert str(key_id_of(secret)) in stored
    assert secret_part not in stored + str(logs)
    assert "canary-name" not in stored + str(logs)


def test_a_key_never_reaches_a_log() -> None:
    key = new_key(uuid4())

    for line in (key, f"Authorization: Bearer {key}", f"failed for {key}, once", f'{{"k": "{key}"}}'):
        assert key not in redact_text(line)
        assert key.rsplit("_", 1)[1] not in redact_text(line)


def test_a_replay_tells_of_the_key_but_not_its_secret(ada: Person) -> None:
    key = uuid4().hex
    first, again = create(ada, idempotencyKey=key), create(ada, idempotencyKey=key)
    other = create(ada, name="other", idempotencyKey=key)

    assert (again["apiKey"], again["position"]) == (first["apiKey"], first["position"])
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert again["secret"] is None
    assert other["errors"][0]["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert listed(ada)["totalCount"] == 1


def test_twins_at_once_make_one_key_and_show_one_secret(served: Served, ada: Person) -> None:
    wish = {"name": "twin", "scopes": ["READ"], "idempotencyKey": uuid4().hex}
    answers = _at_once(served, ada, [wish] * 8)

    secrets = [answer["secret"] for answer in answers if answer["secret"]]
    assert len({answer["apiKey"]["id"] for answer in answers}) == 1
    assert len(secrets) == 1
    confirm(ada, answers[0]["apiKey"]["challenge"]["id"])
    assert program(served, ada, secrets[0]).ask("{ viewer { id } }")


def test_a_person_has_so_many_keys_and_no_more_however_fast_they_are_asked_for(served: Served, ada: Person) -> None:
    wishes = [{"name": f"n{n}", "scopes": ["READ"], "idempotencyKey": uuid4().hex} for n in range(LIVE_MAX + 10)]
    answers = _at_once(served, ada, wishes)

    assert sum(answer["secret"] is not None for answer in answers) == LIVE_MAX
    refused = [answer["errors"][0] for answer in answers if answer["errors"]]
    assert {error["__typename"] for error in refused} == {"TooManyApiKeys"}
    revoke(ada, listed(ada)["edges"][0]["node"]["id"])
    assert create(ada)["errors"] == []


def _at_once(served: Served, person: Person, wishes: list[dict[str, Any]]) -> list[Any]:
    async def ask() -> list[Any]:
        async with httpx.AsyncClient(timeout=30) as client:
            sent = [
                client.post(
                    served.graphql,
                    json={"query": CREATE, "variables": {"input": wish}},
                    headers={"Authorization": f"Bearer {person.token}"},
                )
                for wish in wishes
            ]
            return [answer.json()["data"]["createApiKey"] for answer in await asyncio.gather(*sent)]

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("wish", "path"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"scopes": []}, "scopes"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
        ({"expiresAt": "2999-01-01T00:00:00Z"}, "expiresAt"),
        ({"idempotencyKey": ""}, "idempotencyKey"),
    ],
)
def test_a_wrong_wish_is_told_which_field(ada: Person, wish: dict[str, Any], path: str) -> None:
    refused = create(ada, **wish)

    assert refused["errors"][0]["code"] == "INVALID_INPUT"
    assert refused["errors"][0]["path"] == ["input", path]
    assert (refused["apiKey"], refused["secret"]) == (None, None)


@pytest.mark.parametrize("scope", ["OPERATE", "AUDIT", "ADMIN"])
def test_nothing_but_reading_and_writing_is_lent(ada: Person, scope: str) -> None:
    wish = {"name": "x", "scopes": [scope], "idempotencyKey": uuid4().hex}

    assert ada.refused(CREATE, {"input": wish}) == "BAD_USER_INPUT"


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.AUDITOR])
def test_whoever_may_not_write_makes_no_key(served: Served, role: Role) -> None:
    wish = {"name": "x", "scopes": ["READ"], "idempotencyKey": uuid4().hex}

    assert Person(served, role).refused(CREATE, {"input": wish}) == "FORBIDDEN"


@pytest.mark.parametrize("field", sorted(CALLS))
def test_a_key_reaches_what_its_scopes_say_and_no_key_makes_keys(served: Served, ada: Person, field: str) -> None:
    reader = program(served, ada, create(ada, scopes=("READ",))["secret"])
    writer = program(served, ada, create(ada, scopes=("READ", "WRITE"))["secret"])

    for caller, scopes in ((reader, {"read"}), (writer, {"read", "write"})):
        codes = [error["extensions"]["code"] for error in caller.post(CALLS[field]).json().get("errors", [])]
        assert codes == ([] if ACCESS[field] in scopes and field not in IN_PERSON else ["FORBIDDEN"])


def test_a_key_is_no_node_to_a_key(served: Served, ada: Person) -> None:
    made = create(ada)
    query = "query($id: ID!) { node(id: $id) { ... on ApiKey { prefix } } }"

    assert ada.ask(query, {"id": made["apiKey"]["id"]})["node"] == {"prefix": made["apiKey"]["prefix"]}
    assert program(served, ada, made["secret"]).ask(query, {"id": made["apiKey"]["id"]})["node"] is None


def test_another_persons_key_answers_as_a_missing_one(ada: Person, grace: Person) -> None:
    theirs = create(ada)["apiKey"]["id"]
    node = "query($id: ID!) { node(id: $id) { __typename id ... on ApiKey { name prefix } } }"

    def attempt(id: str) -> Any:
        wish = {"apiKeyId": id, "idempotencyKey": uuid4().hex}
        return plain(grace.post(REVOKE, {"input": wish})), plain(grace.post(node, {"id": id}))

    answers = {name: attempt(id) for name, id in unreachable(theirs).items()}

    assert set(map(str, answers.values())) == {str(answers["missing"])}
    assert "API_KEY_NOT_FOUND" in str(answers["missing"])
    assert listed(grace)["totalCount"] == 0
    assert ada.ask(node, {"id": theirs})["node"]["id"] == theirs


def test_the_list_is_paged_oldest_first(ada: Person) -> None:
    names = [create(ada, name=f"key {n}")["apiKey"]["name"] for n in range(5)]
    seen: list[str] = []
    after = None
    while True:
        page = listed(ada, 2, after)
        assert page["totalCount"] == 5
        seen += [edge["node"]["name"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]

    assert seen == names


def test_the_trail_says_what_a_key_did_and_hides_it_from_others(served: Served, ada: Person, grace: Person) -> None:
    made = create(ada, scopes=("READ", "WRITE"))
    shop = program(served, ada, made["secret"])
    shop.open(name="by the shop")
    revoke(ada, made["apiKey"]["id"])
    query = "{ auditTrail(first: 50) { edges { node { aggregateType aggregateId version eventType actor } } } }"

    found = [edge["node"] for edge in ada.ask(query)["auditTrail"]["edges"]]
    trail = [event for event in found if event["aggregateType"] != "sca_challenge"]

    assert [(event["eventType"], event["aggregateType"], event["version"]) for event in trail] == [
        ("ApiKeyMade", "api_key", 1),
        ("ApiKeyConfirmed", "api_key", 2),
        ("AccountOpened", "account", 1),
        ("ApiKeyRevoked", "api_key", 3),
    ]
    assert trail[0]["aggregateId"] == trail[3]["aggregateId"] == made["apiKey"]["id"]
    assert trail[0]["actor"] == f"person:{ada.id}"
    assert trail[2]["actor"] == f"person:{ada.id}/key:{key_id_of(made['secret'])}"
    assert grace.ask(query)["auditTrail"]["edges"] == []


def test_last_use_is_told_without_a_write_for_each(served: Served, ada: Person) -> None:
    made = create(ada)
    assert made["apiKey"]["lastUsedAt"] is None

    program(served, ada, made["secret"]).ask("{ viewer { id } }")

    until(lambda: listed(ada)["edges"][0]["node"]["lastUsedAt"] is not None)


async def test_the_database_stays_sound(served: Served, ada: Person) -> None:
    made = create(ada)
    create(ada)
    revoke(ada, made["apiKey"]["id"])
    connection = await asyncpg.connect(served.database_url)
    try:
        report = await verify(connection)
        finding = next(one for one in report.findings if one.check.name == "api_keys_are_events")
        assert (report.sound, finding.checked >= 2) == (True, True)
        async with connection.transaction():
            await connection.execute("update api_keys set revoked = not revoked where owner = $1", ada.id)
            spoiled = await connection.fetch(finding.check.violations)
            assert len(spoiled) == 2
            raise asyncpg.PostgresError  # nothing of this stays
    except asyncpg.PostgresError:
        pass
    finally:
        await connection.close()
