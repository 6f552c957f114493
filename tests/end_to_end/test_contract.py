"""The operations that clients already ship, run as they are, over HTTP and WebSocket, against the running product."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

from graphql import OperationDefinitionNode, parse, print_ast, separate_operations

from tests.end_to_end.client import Client
from tests.end_to_end.product import Product, isthmus

_DOCUMENT = parse((Path(__file__).parents[1] / "contract" / "01-spine.graphql").read_text())
OPERATIONS = {name: print_ast(one) for name, one in separate_operations(_DOCUMENT).items()}


def credit(
    product: Product, account: str, amount: str, email: str = "ada@example.com", reference: str | None = None
) -> str:
    done = isthmus(
        product.data_dir,
        *(
            "credit",
            "--user",
            email,
            "--account",
            account,
            "--amount",
            amount,
            "--reference",
            reference or str(uuid4()),
        ),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def run(client: Client, name: str, variables: dict[str, Any] | None = None, **headers: str) -> Any:
    answer = await client.ask(OPERATIONS[name], variables, headers=headers, operationName=name)
    assert answer.status == 200, answer.body
    return answer.data


def test_the_contract_is_run_whole() -> None:
    names = {
        node.name.value for node in _DOCUMENT.definitions if isinstance(node, OperationDefinitionNode) and node.name
    }
    assert names == {"Viewer", "OpenAccount", "TransferInternally", "AccountHistory", "BalanceChanged", "AuditTrail"}


async def test_viewer(ada: Client) -> None:
    viewer = (await run(ada, "Viewer"))["viewer"]
    assert viewer["accounts"]["totalCount"] >= 3
    edge = viewer["accounts"]["edges"][0]
    assert edge["node"]["__typename"] == "LedgerAccount"
    assert edge["node"]["balance"]["available"] == {"amount": "1932.34", "asset": "EUR"}
    assert viewer["accounts"]["pageInfo"]["startCursor"] == edge["cursor"]


async def test_open_transfer_history_and_audit(product: Product, ada: Client, grace: Client) -> None:
    opened = (
        await run(ada, "OpenAccount", {"input": {"asset": "EUR", "name": "Rent", "idempotencyKey": str(uuid4())}})
    )["openAccount"]
    assert opened["errors"] == []
    assert opened["account"]["balance"]["available"] == {"amount": "0.00", "asset": "EUR"}
    source = opened["account"]["id"]
    credit(product, source, "100.00")
    target = (await grace.open())["account"]["id"]
    wish = {
        "fromAccountId": source,
        "toAccountId": target,
        "amount": {"amount": "87.66", "asset": "EUR"},
        "reference": "October",
        "idempotencyKey": str(uuid4()),
    }
    correlation = f"contract-{uuid4()}"
    moved = (await run(ada, "TransferInternally", {"input": wish}, **{"x-correlation-id": correlation}))[
        "transferInternally"
    ]
    assert (moved["errors"], moved["replayed"], moved["journal"]["reference"]) == ([], False, "October")
    lines = {entry["direction"]: entry for entry in moved["journal"]["entries"]}
    assert lines["DEBIT"]["account"] == {"id": source}
    assert lines["CREDIT"]["account"] is None  # it is Grace's
    assert lines["CREDIT"]["amount"] == {"amount": "87.66", "asset": "EUR"}

    again = (await run(ada, "TransferInternally", {"input": wish}))["transferInternally"]
    assert again == {**moved, "replayed": True}

    too_much = {**wish, "idempotencyKey": str(uuid4()), "amount": {"amount": "12.35", "asset": "EUR"}}
    refused = (await run(ada, "TransferInternally", {"input": too_much}))["transferInternally"]
    (error,) = refused["errors"]
    assert (refused["journal"], error["__typename"], error["code"]) == (None, "InsufficientFunds", "INSUFFICIENT_FUNDS")
    assert (error["available"]["amount"], error["required"]["amount"]) == ("12.34", "12.35")

    variables = {"id": source, "asOf": moved["journal"]["postedAt"], "after": None}
    history = (await run(ada, "AccountHistory", variables, **{"x-isthmus-position": moved["position"]}))["node"]
    assert history["then"]["posted"] == history["now"]["posted"] == {"amount": "12.34", "asset": "EUR"}
    assert history["then"] == history["now"]
    newest, oldest = (edge["node"] for edge in history["transactions"]["edges"])
    assert (newest["amount"]["amount"], newest["direction"], newest["status"]) == ("-87.66", "DEBIT", "POSTED")
    assert (newest["description"], newest["journal"]["id"]) == ("October", moved["journal"]["id"])
    assert oldest["amount"]["amount"] == "100.00"

    trail = (await run(ada, "AuditTrail", {"correlationId": correlation, "after": None}))["auditTrail"]
    (event,) = [edge["node"] for edge in trail["edges"]]
    assert (event["eventType"], event["correlationId"]) == ("JournalPosted", correlation)


async def test_balance_changed(product: Product, ada: Client) -> None:
    one, two = (await ada.open())["account"]["id"], (await ada.open())["account"]["id"]
    await asyncio.to_thread(credit, product, one, "10.00")
    async with ada.socket() as socket:
        operation = await socket.subscribe(
            OPERATIONS["BalanceChanged"], {"accountIds": [one]}, operationName="BalanceChanged"
        )
        first = (await socket.next(operation))["balanceChanged"]
        assert (first["account"]["id"], first["cause"], first["balance"]["version"]) == (one, None, 1)
        for number in range(3):
            await ada.transfer(one, two, "1.00")
            message = (await socket.next(operation))["balanceChanged"]
            assert message["balance"]["version"] == 2 + number
            assert message["balance"]["posted"]["amount"] == f"{9 - number}.00"
            assert message["cause"]["eventType"] == "JournalPosted"
