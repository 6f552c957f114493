"""Someone else's object answers as one that does not exist: same errors, path, status, headers; only the correlation id differs."""

from __future__ import annotations

import base64
from typing import Any
from uuid import uuid4

import pytest

from tests.end_to_end.client import Answer, Client
from tests.end_to_end.product import Product
from tests.end_to_end.test_contract import credit

_VARYING = {"x-correlation-id", "date", "content-length"}


def _shape(answer: Answer) -> tuple[Any, ...]:
    body = {**answer.body, "extensions": {**answer.body.get("extensions", {}), "correlationId": "…"}}
    for error in body.get("errors", []):
        error["extensions"]["correlationId"] = "…"
    headers = {name: value for name, value in answer.headers.items() if name not in _VARYING}
    return answer.status, headers, body


def _missing_ids(foreign: str) -> dict[str, str]:
    raw = base64.urlsafe_b64decode(foreign + "=" * (-len(foreign) % 4))
    forged = bytes([raw[0], *raw[1:-16], *uuid4().bytes])
    return {
        "missing": base64.urlsafe_b64encode(forged).decode().rstrip("="),
        "malformed": "not an id",
        "empty": "",
        "number": "12345",
        "long": "x" * 2_000,
        "odd": "💥\u0000",
        "wrong type": base64.urlsafe_b64encode(b"Nothing:" + uuid4().bytes).decode(),
    }


_NODE = (
    "query($id: ID!) { node(id: $id) { id __typename "
    "... on Account { name balance { posted { amount } } transactions { totalCount } } } }"
)
_TRANSFER = (
    "mutation($input: TransferInternallyInput!) { transferInternally(input: $input) { journal { id } replayed "
    "errors { __typename code message path } } }"
)
_RENAME = (
    "mutation($input: RenameAccountInput!) { renameAccount(input: $input) { account { id } "
    "errors { __typename code message path } } }"
)
_CLOSE = (
    "mutation($input: CloseAccountInput!) { closeAccount(input: $input) { account { id } "
    "errors { __typename code message path } } }"
)


@pytest.mark.parametrize("operation", ["node", "transfer from", "rename", "close"])
async def test_a_foreign_id_is_answered_as_a_missing_one(ada: Client, grace: Client, operation: str) -> None:
    own = (await ada.open())["account"]["id"]
    foreign = (await grace.open())["account"]["id"]

    async def ask(account: str) -> tuple[Any, ...]:
        key = str(uuid4())
        match operation:
            case "node":
                return _shape(await ada.ask(_NODE, {"id": account}))
            case "transfer from":
                wish = {
                    "fromAccountId": account,
                    "toAccountId": own,
                    "amount": {"amount": "1.00", "asset": "EUR"},
                    "reference": "x",
                    "idempotencyKey": key,
                }
                return _shape(await ada.ask(_TRANSFER, {"input": wish}))
            case "rename":
                return _shape(
                    await ada.ask(_RENAME, {"input": {"accountId": account, "name": "Mine", "idempotencyKey": key}})
                )
            case _:
                return _shape(await ada.ask(_CLOSE, {"input": {"accountId": account, "idempotencyKey": key}}))

    expected = await ask(foreign)
    for name, account in _missing_ids(foreign).items():
        assert await ask(account) == expected, name
    assert (await grace.balance(foreign))["version"] == 0


async def test_journals_and_trails_show_the_viewers_own_only(
    product: Product, ada: Client, grace: Client, alan: Client
) -> None:
    source, target = (await ada.open())["account"]["id"], (await grace.open())["account"]["id"]
    credit(product, source, "10.00")
    correlation = f"shared-{uuid4()}"
    document = _TRANSFER.replace("journal { id }", "journal { id } position")
    wish = {
        "fromAccountId": source,
        "toAccountId": target,
        "amount": {"amount": "4.00", "asset": "EUR"},
        "reference": "shared",
        "idempotencyKey": str(uuid4()),
    }
    moved = (await ada.ask(document, {"input": wish}, headers={"x-correlation-id": correlation})).data[
        "transferInternally"
    ]
    seen = {"x-isthmus-position": moved["position"]}
    journal = "query($id: ID!) { node(id: $id) { ... on Journal { reference entries { account { id } direction } } } }"
    for client, mine in ((ada, source), (grace, target)):
        entries = (await client.ask(journal, {"id": moved["journal"]["id"]}, headers=seen)).data["node"]["entries"]
        assert [entry["account"] for entry in entries if entry["account"]] == [{"id": mine}]
    assert (await alan.ask(journal, {"id": moved["journal"]["id"]}, headers=seen)).status == 200

    trail = "query($c: ID) { auditTrail(correlationId: $c) { edges { node { eventType actor } } } }"
    actors = {}
    for name, client in (("ada", ada), ("grace", grace), ("alan", alan)):
        edges = (await client.ask(trail, {"c": correlation}, headers=seen)).data["auditTrail"]["edges"]
        assert [edge["node"]["eventType"] for edge in edges] == ["JournalPosted"], name
        actors[name] = edges[0]["node"]["actor"]
    assert actors["ada"] == actors["alan"] != actors["grace"]
    assert "@" not in str(actors)

    alone = f"alone-{uuid4()}"
    opened = await ada.ask(
        "mutation($input: OpenAccountInput!) { openAccount(input: $input) { position } }",
        {"input": {"asset": "EUR", "name": "Secret", "idempotencyKey": str(uuid4())}},
        headers={"x-correlation-id": alone},
    )
    later = {"x-isthmus-position": opened.data["openAccount"]["position"]}
    assert (await grace.ask(trail, {"c": alone}, headers=later)).data["auditTrail"]["edges"] == []
    assert len((await alan.ask(trail, {"c": alone}, headers=later)).data["auditTrail"]["edges"]) == 1


async def test_a_recipient_that_cannot_be_is_one_and_the_same_refusal(
    product: Product, ada: Client, grace: Client
) -> None:
    source = (await ada.open())["account"]["id"]
    credit(product, source, "10.00")
    closed = (await grace.open())["account"]["id"]
    await grace.ask(_CLOSE, {"input": {"accountId": closed, "idempotencyKey": str(uuid4())}})
    pounds = (await grace.open("GBP"))["account"]["id"]
    answers = []
    for target in (closed, pounds, *_missing_ids(closed).values()):
        payload = await ada.transfer(source, target, "1.00")
        assert payload["journal"] is None
        answers.append(payload["errors"])
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0]["code"] == "RECIPIENT_NOT_FOUND"


async def test_roles_gate_mutations(ada: Client, grace: Client, olga: Client, alan: Client) -> None:
    freeze = "mutation($input: FreezeAccountInput!) { freezeAccount(input: $input) { errors { code } } }"
    account = (await ada.open())["account"]["id"]
    for client in (ada, grace, alan):
        refused = await client.ask(freeze, {"input": {"accountId": account, "idempotencyKey": str(uuid4())}})
        assert refused.code == "FORBIDDEN"
    assert (await olga.ask(freeze, {"input": {"accountId": account, "idempotencyKey": str(uuid4())}})).data[
        "freezeAccount"
    ]["errors"] == []
    opened = await alan.ask(
        "mutation($input: OpenAccountInput!) { openAccount(input: $input) { position } }",
        {"input": {"asset": "EUR", "name": "Auditor", "idempotencyKey": str(uuid4())}},
    )
    assert opened.code == "FORBIDDEN"
