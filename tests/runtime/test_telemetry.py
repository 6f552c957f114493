"""Logs: one JSON line each, and twenty things that must never be in one."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog
from structlog.contextvars import bound_contextvars

from isthmus.domain.personal import PersonalText
from isthmus.domain.refusals import RefusalCode
from isthmus.runtime.redaction import redact_text
from isthmus.runtime.telemetry import configure_logging
from isthmus.settings import Settings, load_settings

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYW5hcnktMDEifQ.c2lnbmF0dXJlLWNhbmFyeQ"
IBAN = "DE89370400440532013000"
IBAN_SPACED = "GB33 BUKB 2020 1555 5555 55"
EMAIL = "canary.person@example.org"
URL_PASSWORD = "canary-url-p@ssword"

#: What is secret only by the key it stands under.
BY_KEY = {
    "password": "canary-password",
    "accessToken": "canary-token",
    "refresh_token": "canary-refresh",
    "Authorization": "canary-authorization",
    "client_secret": "canary-secret",
    "code": "canary-code",
    "email": "canary-email",
    "name": "canary-name",
    "reference": "canary-reference",
    "plain": "canary-plain",
    "Set-Cookie": "canary-cookie",
    "idempotencyKey": "canary-idempotency",
    "x-api-key": "canary-api-key",
    "otp": "canary-otp",
}
#: What gives itself away in any text.
BY_LOOKS = {
    JWT: JWT,
    "bearer": "Bearer canary-bearer",
    "e-mail": EMAIL,
    "URL": f"postgresql://isthmus:{URL_PASSWORD}@127.0.0.1:5432/isthmus",
    "IBAN": IBAN,
    "IBAN, spaced": IBAN_SPACED,
}
CANARIES = [*BY_KEY.values(), JWT, "canary-bearer", EMAIL, URL_PASSWORD, IBAN, IBAN_SPACED]


class Log:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys, self._text = capsys, ""

    @property
    def text(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.split("\n")[:-1]]

    def assert_silent(self, lines: int) -> None:
        assert len(self.lines) == lines, self.text
        for canary in CANARIES:
            assert canary not in self.text, f"{canary} came out: {self.text}"
            assert canary.lower() not in self.text.lower()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Log]:
    """Logging at DEBUG as a process has it; what was configured before is put back."""
    monkeypatch.setenv("ISTHMUS_LOG__LEVEL", "DEBUG")
    settings: Settings = load_settings(data_dir=tmp_path)
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    configure_logging(settings, "serve")
    yield Log(capsys)
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:], root.level = before


def test_there_are_twenty_canaries() -> None:
    assert len(set(CANARIES)) == 20


def test_a_line_says_when_what_who_and_why(log: Log) -> None:
    with bound_contextvars(correlation_id="c-1", actor="service:demo"):
        structlog.get_logger("any").info("payment.made", position=17, amount=Decimal("1.50"))

    (line,) = log.lines
    assert list(line)[:6] == ["ts", "level", "event", "service", "correlation_id", "actor"]
    assert line["ts"].endswith("Z")
    assert (line["level"], line["event"], line["service"]) == ("info", "payment.made", "serve")
    assert (line["correlation_id"], line["actor"], line["position"], line["amount"]) == (
        "c-1",
        "service:demo",
        17,
        "1.50",
    )


def test_secrets_by_key_stay_in_however_deep(log: Log) -> None:
    logger = structlog.get_logger()
    logger.info("flat", **BY_KEY)
    logger.info("nested", request={"variables": [{"input": BY_KEY}, (BY_KEY, {"more": {"deep": BY_KEY}})]})
    logger.info("headers", headers=[(key.encode(), value.encode()) for key, value in BY_KEY.items()])
    logger.info("header", headers=list(BY_KEY.items()))

    log.assert_silent(lines=4)


def test_secrets_by_looks_stay_in_whatever_the_key(log: Log) -> None:
    logger = structlog.get_logger()
    for value in BY_LOOKS.values():
        logger.info(
            f"said {value}",  # noqa: G004
            detail=f"before {value} after",
            many=[value],
            deep={"x": {"y": value}},
        )
        logger.info("as a key", mapping={value: 1})

    log.assert_silent(lines=2 * len(BY_LOOKS))


def test_objects_are_taken_apart_and_never_printed_as_they_are(log: Log) -> None:
    @dataclass
    class Person:
        name: str
        email: str
        contact: dict[str, str]
        hidden: str = field(default="canary-hidden", repr=False)

    class Opaque:
        def __repr__(self) -> str:
            return "Opaque(canary-secret)"

    structlog.get_logger().info(
        "objects",
        person=Person("canary-name", EMAIL, {"password": "canary-password"}),
        text=PersonalText("canary-plain"),
        opaque=Opaque(),
        raw=b"canary-secret",
    )

    log.assert_silent(lines=1)


def _fail(name: str, password: str) -> None:
    local = [name, password]
    raise ValueError(f"cannot use {' '.join(BY_LOOKS.values())} password={password} {len(local)}")


def test_exceptions_are_one_line_with_frames_and_no_locals(log: Log) -> None:
    try:
        try:
            _fail("canary-name", "canary-password")
        except ValueError as error:
            raise RuntimeError("while connecting") from error
    except RuntimeError as error:
        structlog.get_logger().exception("failed")
        structlog.get_logger().error("failed", exc_info=error)
        structlog.get_logger().error("failed", reason=error.__cause__)
        logging.getLogger("library").exception("failed for %s", error)

    log.assert_silent(lines=4)
    told = log.lines[0]["exception"]
    assert (log.lines[0]["level"], told["type"], told["cause"]["type"]) == ("error", "RuntimeError", "ValueError")
    assert told["cause"]["frames"][-1].startswith("tests/runtime/test_telemetry.py:_fail:")


def test_exception_groups_tell_their_parts(log: Log) -> None:
    structlog.get_logger().error("failed", exc_info=ExceptionGroup("two", [ValueError(EMAIL), KeyError("x")]))

    log.assert_silent(lines=1)
    assert [part["type"] for part in log.lines[0]["exception"]["exceptions"]] == ["ValueError", "KeyError"]


def test_what_servers_quote_of_their_input_stays_in(log: Log) -> None:
    for message in (
        'null value in column "x"\nDETAIL:  Failing row contains (1, canary-name, null).',
        "duplicate key\nDETAIL:  Key (email)=(canary-email) already exists.",
        "invalid input for query argument $1: 'canary-plain' (expected int)",
        "1 validation error\nport\n  Input should be valid [type=int, input_value='canary-secret', input_type=str]",
    ):
        structlog.get_logger().error("refused", exc_info=ValueError(message))

    log.assert_silent(lines=4)


def test_libraries_go_through_the_same_chain_at_debug(log: Log) -> None:
    for name in ("uvicorn.error", "library.deep"):
        logger = logging.getLogger(name)
        logger.debug("connecting to %s", BY_LOOKS["URL"])
        logger.debug("headers %s", BY_KEY)
        logger.debug("headers %s and %d", [BY_KEY, JWT], 7)
        logger.debug("a %(password)s", BY_KEY)
        logger.debug(f"form password={BY_KEY['password']}&code={BY_KEY['code']}")  # noqa: G004
        logger.warning("extra", extra={"password": BY_KEY["password"], "detail": EMAIL})

    log.assert_silent(lines=12)
    assert {line["logger"] for line in log.lines} == {"uvicorn.error", "library.deep"}
    assert log.lines[2]["event"].endswith("and 7")


def test_noisy_libraries_speak_from_warning_on(log: Log) -> None:
    for name in ("aiokafka.consumer", "pgqueuer", "alembic.runtime", "uvicorn.access", "sqlalchemy.engine", "httpx"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble")

    assert [line["event"] for line in log.lines] == ["trouble"] * 6


def test_warnings_are_lines_too(log: Log) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"deprecated for {EMAIL}", stacklevel=1)

    log.assert_silent(lines=1)


def test_what_operators_need_stays_visible(log: Log) -> None:
    correlation = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
    structlog.get_logger().info(
        "command.refused",
        code=RefusalCode.INSUFFICIENT_FUNDS,
        account_id=UUID(correlation),
        text=f"correlation_id={correlation} at 127.0.0.1:5432, code=CONFLICT, 2026-11-23T12:00:00Z",
        operation_name="TransferInternally",
        many_digits="0" * 64,
    )

    (line,) = log.lines
    assert line["code"] == "INSUFFICIENT_FUNDS"
    assert line["account_id"] == correlation
    assert line["text"] == f"correlation_id={correlation} at 127.0.0.1:5432, code=CONFLICT, 2026-11-23T12:00:00Z"
    assert line["operation_name"] == "TransferInternally"
    assert line["many_digits"] == "0" * 64


@pytest.mark.parametrize(
    "value",
    [
        "a\nb\r\nc\u2028d",
        pytest.param("\ud800", id="a lone surrogate"),
        2**80,
        float("nan"),
        object(),
        {1, 2},
        {"a": {"b": [None]}},
    ],
)
def test_a_line_is_one_line_whatever_is_logged(log: Log, value: Any) -> None:
    structlog.get_logger().info("odd", value=value)
    logging.getLogger("library").info("odd %s", value)

    assert log.text.count("\n") == 2
    assert len(log.lines) == 2


def test_cycles_end(log: Log) -> None:
    cycle: dict[str, Any] = {}
    cycle["again"] = cycle
    structlog.get_logger().info("cycle", value=cycle)

    assert len(log.lines) == 1


def test_a_closed_standard_error_stops_nobody(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)

    structlog.get_logger().info("unheard")
    logging.getLogger("library").info("unheard")


@pytest.mark.parametrize(
    "hostile",
    [
        "a-" * 4096,
        "password" * 1024,
        "://" * 2700 + "@",
        "DE11 " * 1600,
        "code: " * 1600,
        "Key (" * 1600,
        "secret" + " " * 8000,
    ],
)
def test_no_text_makes_redaction_slow(hostile: str) -> None:
    import time

    began = time.thread_time()
    redact_text(hostile)

    assert time.thread_time() - began < 0.25
