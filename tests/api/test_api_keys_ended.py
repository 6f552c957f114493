"""API keys that are revoked, over, or no keys at all: refused from one moment to the next, whatever is under way."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from isthmus.auth.api_keys import key_id_of, new_key
from tests.api.api_key_calls import create, listed, program, revoke, until
from tests.api.conftest import Person, Served


def test_a_revoked_key_is_refused_from_the_answer_on(served: Served, ada: Person) -> None:
    made = create(ada)
    shop = program(served, ada, made["secret"])
    shop.ask("{ viewer { id } }")

    served.hold_projection(True)  # whatever the read side does
    try:
        revoked = revoke(ada, made["apiKey"]["id"])
        answer = shop.post("{ viewer { id } }")
    finally:
        served.hold_projection(False)

    assert revoked["errors"] == []
    assert revoked["apiKey"]["status"] == "REVOKED"
    assert answer.status_code == 401
    assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    again = revoke(ada, made["apiKey"]["id"])
    assert (again["errors"], again["apiKey"]) == ([], revoked["apiKey"])


def test_a_key_stops_at_its_end(served: Served, ada: Person) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    made = create(ada, expiresAt=soon.isoformat())
    shop = program(served, ada, made["secret"])

    assert shop.post("{ viewer { id } }").status_code == 200
    until(lambda: shop.post("{ viewer { id } }").status_code == 401)
    assert datetime.now(UTC) >= soon
    (shown,) = [edge["node"] for edge in listed(ada)["edges"]]
    assert shown["status"] == "EXPIRED"


def test_a_key_of_an_erased_person_stops_and_stays_so_when_they_come_back(served: Served, ada: Person) -> None:
    made = create(ada)
    shop = program(served, ada, made["secret"])

    async def erase() -> None:
        connection = await asyncpg.connect(served.database_url)
        await connection.execute("delete from person_keys where person_id = $1", ada.id)
        await connection.close()

    asyncio.run(erase())
    assert shop.post("{ viewer { id } }").status_code == 401
    ada.open()  # seals a name under a new key
    assert shop.post("{ viewer { id } }").status_code == 401


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: key[:-1],
        lambda key: key + "0",
        lambda key: key[:40] + ("0" if key[40] != "0" else "1") + key[41:],
        lambda key: key.upper(),
        lambda key: key.replace("isk_", "isk-"),
        lambda key: new_key(uuid4()),
        lambda key: new_key(key_id_of(key) or uuid4()),
        lambda key: "isk_" + "9" * 10_000,
    ],
    ids=["short", "long", "one sign", "capitals", "prefix", "unknown", "right id, other secret", "huge"],
)
def test_what_is_not_the_key_is_refused(served: Served, ada: Person, spoil: Callable[[str], str]) -> None:
    shop = program(served, ada, spoil(create(ada)["secret"]))

    answer = shop.post("{ viewer { id } }")

    assert answer.status_code == 401
    assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


def test_f44_a_live_socket_ends_within_seconds_when_its_key_is_revoked(served: Served, ada: Person) -> None:
    made = create(ada)
    account = ada.open()
    query = "subscription { balanceChanged { account { id } version } }"

    async def follow() -> tuple[list[Any], int | None, float]:
        async with connect(served.socket, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
            init = {"type": "connection_init", "payload": {"Authorization": f"Bearer {made['secret']}"}}
            await socket.send(json.dumps(init))
            await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": query}}))
            first = [json.loads(await asyncio.wait_for(socket.recv(), 10)) for _ in range(2)]
            await asyncio.to_thread(revoke, ada, made["apiKey"]["id"])
            began = time.monotonic()
            after: list[Any] = []
            with pytest.raises(ConnectionClosed):
                while True:
                    after.append(json.loads(await asyncio.wait_for(socket.recv(), 10)))
            assert first[1]["payload"]["data"]["balanceChanged"]["account"]["id"] == account
            return after, socket.close_code, time.monotonic() - began

    after, code, seconds = asyncio.run(follow())
    assert after == []
    assert code == 4403
    assert seconds < 5


def test_f44_a_stream_of_events_ends_within_seconds_when_its_key_is_revoked(served: Served, ada: Person) -> None:
    made = create(ada)
    ada.open()
    headers = {"Authorization": f"Bearer {made['secret']}", "Accept": "text/event-stream"}
    body = {"query": "subscription { balanceChanged { version } }"}

    with httpx.stream("POST", served.graphql, json=body, headers=headers, timeout=15) as answer:
        lines = answer.iter_lines()
        assert any("balanceChanged" in line for line in lines)
        revoke(ada, made["apiKey"]["id"])
        began = time.monotonic()
        after = [line for line in lines if "balanceChanged" in line]

    assert after == []
    assert time.monotonic() - began < 5
