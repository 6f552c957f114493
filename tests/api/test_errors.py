"""Unexpected errors: masked for the client, logged once with where they happened, and never with what was sent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from graphql import GraphQLError
from structlog.testing import capture_logs

from isthmus.auth.tokens import IssuerUnavailable
from isthmus.graphql.errors import BadUserInput, ErrorCode, classify, shaped
from isthmus.write_models.envelope import Unavailable
from tests.api.conftest import CONTRACT, Person, Served
from tests.api.socket_client import connected

CANARY = "canary-7f3a"


class Broken:
    """Stands in for a part that fails in a certain way."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def run(self, *_: Any) -> Any:
        raise self._error

    async def verify(self, _: str, *, looks_on: bool = False) -> Any:
        raise self._error

    async def wait_for(self, *_: Any) -> Any:
        raise self._error

    async def subscribe(self, *_: Any) -> Any:
        raise self._error


def replaced(served: Served, monkeypatch: pytest.MonkeyPatch, **parts: Any) -> None:
    services = served.app.state.endpoint.executor.services
    for name, part in parts.items():
        monkeypatch.setitem(vars(services), name, part)


WISH = {"input": {"asset": "EUR", "name": CANARY, "idempotencyKey": CANARY}}


def test_an_unexpected_error_is_masked_and_logged_once(
    served: Served, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced(served, monkeypatch, commands=Broken(ValueError(f"no {CANARY}")))

    with capture_logs() as logs:
        answer = ada.post(CONTRACT, WISH, "OpenAccount", x_correlation_id="masked-1")

    error = answer.json()["errors"][0]
    assert error["extensions"] == {"code": "INTERNAL", "correlationId": "masked-1"}
    assert CANARY not in answer.text
    assert "ValueError" not in answer.text
    said = [line for line in logs if line["log_level"] == "error"]
    assert len(said) == 1
    assert (said[0]["correlation_id"], said[0]["error"]) == ("masked-1", "ValueError")
    assert CANARY not in str(logs)


@pytest.mark.parametrize(
    ("part", "query", "extensions"),
    [
        ("positions", "{ viewer { id } }", {"position": "1"}),
        ("feed", "subscription { balanceChanged { version } }", {}),
        ("rates", "{ viewer { id } }", {}),
    ],
)
async def test_over_websocket_too_and_the_operation_is_over(
    served: Served, ada: Person, monkeypatch: pytest.MonkeyPatch, part: str, query: str, extensions: dict[str, str]
) -> None:
    async with connected(served) as client:
        await client.sign_in(ada.token)
        with capture_logs() as logs, monkeypatch.context() as broken:
            rates = SimpleNamespace(take=Broken(ValueError(f"no {CANARY}")).run)
            replaced(served, broken, **{part: rates if part == "rates" else Broken(ValueError(f"no {CANARY}"))})
            await client.subscribe(query, extensions={"correlationId": "masked-2", **extensions})
            message = await client.receive()
        await client.subscribe("{ viewer { id } }")
        again = await client.next()

    (error,) = message["payload"]
    assert (message["type"], message["id"]) == ("error", "1")
    assert error["extensions"] == {"code": "INTERNAL", "correlationId": "masked-2"}
    assert CANARY not in str(message)
    said = [line for line in logs if line["log_level"] == "error"]
    assert [(line["correlation_id"], line["error"]) for line in said] == [("masked-2", "ValueError")]
    assert CANARY not in str(logs)
    assert again["data"]["viewer"]["id"], "its id is free again"


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("x"),
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.ConnectionDoesNotExistError("x"),
        asyncpg.InterfaceError("x"),
        asyncpg.QueryCanceledError("x"),
        asyncpg.TooManyConnectionsError("x"),
        asyncpg.CannotConnectNowError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_machinery_that_fails_is_unavailable_and_retryable(
    served: Served, ada: Person, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    replaced(served, monkeypatch, commands=Broken(error))

    answer = ada.post(CONTRACT, WISH, "OpenAccount").json()

    assert answer["errors"][0]["extensions"] | {"correlationId": ""} == {
        "code": "UNAVAILABLE",
        "retryable": True,
        "correlationId": "",
    }
    assert "same idempotency key" in answer["errors"][0]["message"]


def test_without_an_issuer_nobody_is_called_unauthenticated(
    served: Served, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced(served, monkeypatch, verifier=Broken(IssuerUnavailable("x")))

    answer = ada.post("{ viewer { id } }")

    assert answer.status_code == 503
    assert answer.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GraphQLError("x"), ErrorCode.BAD_USER_INPUT),
        (GraphQLError("x", original_error=GraphQLError("y")), ErrorCode.BAD_USER_INPUT),
        (GraphQLError("x", original_error=BadUserInput("y")), ErrorCode.BAD_USER_INPUT),
        (GraphQLError("x", original_error=KeyError("y")), ErrorCode.INTERNAL),
        (GraphQLError("x", original_error=OSError("y")), ErrorCode.UNAVAILABLE),
    ],
)
def test_every_error_has_a_code(error: GraphQLError, code: ErrorCode) -> None:
    assert classify(error) is code
    assert shaped(error, "c")["extensions"]["code"] == code.value


async def test_text_of_an_erased_person_is_null(served: Served, ada: Person) -> None:
    account = ada.open(name="To be forgotten")
    connection = await asyncpg.connect(served.database_url)
    await connection.execute("delete from person_keys where person_id = $1", ada.id)
    await connection.close()

    assert ada.account(account, "name status") == {"name": None, "status": "OPEN"}
