"""Each event type and version has a JSON Schema in the package, and a published one never changes under its readers."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator

import isthmus.domain
from isthmus.cli.event_schemas import write
from isthmus.domain.accounts import AccountOpened, AccountType, Direction
from isthmus.domain.event_codec import EVENT_TYPES, UPCASTERS, encode
from isthmus.domain.event_schemas import current, file_name, incompatibilities
from isthmus.domain.ledger import Figures, JournalKind, JournalReserved, LedgerEvent, Leg
from isthmus.domain.personal import Sealed

FOLDER = Path(isthmus.domain.__path__[0]) / "schemas"
SEALED = Sealed(f"sealed:v1:{uuid4()}:AAAA")


def published(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return schema


@pytest.mark.parametrize("name", sorted(current()))
def test_the_published_schema_is_what_the_code_writes(name: str) -> None:
    generated = json.loads(current()[name])

    assert incompatibilities(published(name), generated) == [], "give it a new schema version and an upcaster"
    assert published(name) == generated, "run python -m isthmus.cli.event_schemas"


def test_every_version_that_was_ever_written_has_a_schema() -> None:
    old = {file_name(event_type, version) for event_type, version in UPCASTERS}

    assert {path.name for path in FOLDER.glob("*.json")} == current().keys() | old
    assert len(current()) == len(EVENT_TYPES)


def account_opened() -> LedgerEvent:
    account = uuid4()
    return AccountOpened(account, f"user:{account}:EUR", AccountType.LIABILITY, "EUR", uuid4(), SEALED, False)


def hold() -> LedgerEvent:
    account, amount = uuid4(), Decimal("12.34")
    return JournalReserved(
        uuid4(),
        JournalKind.RESERVATION,
        (Leg(account, Direction.DEBIT, amount, "EUR"), Leg(uuid4(), Direction.CREDIT, amount, "EUR")),
        (Figures(account, None, "EUR", Decimal(20), Decimal(0), amount, 3, Decimal(0), Decimal(0), amount),),
        SEALED,
        datetime(2026, 11, 23, tzinfo=UTC),
    )


@pytest.mark.parametrize("event", [account_opened(), hold()], ids=lambda event: type(event).__name__)
def test_an_encoded_event_satisfies_its_schema(event: LedgerEvent) -> None:
    name = file_name(type(event).__name__, EVENT_TYPES[type(event).__name__][1])

    Draft202012Validator(published(name)).validate(json.loads(encode(event)))


def change(schema: dict[str, Any], what: str) -> dict[str, Any]:
    changed = deepcopy(schema)
    event = changed["$defs"]["AccountOpened"]
    match what:
        case "removed":
            del event["properties"]["code"]
            event["required"].remove("code")
        case "required":
            event["properties"]["region"] = {"type": "string"}
            event["required"].append("region")
        case "type":
            event["properties"]["code"] = {"type": "integer"}
        case "value":
            changed["$defs"]["AccountType"]["enum"].remove("ASSET")
        case "pattern":
            name = next(one for one in event["properties"]["name"]["anyOf"] if "pattern" in one)
            name["pattern"] = "^other$"
        case "optional":
            event["properties"]["region"] = {"type": "string", "default": ""}
        case "another value":
            changed["$defs"]["AccountType"]["enum"].append("MEMO")
        case _:
            raise AssertionError(what)
    return changed


@pytest.mark.parametrize("what", ["removed", "required", "type", "value", "pattern"])
def test_a_change_that_breaks_readers_is_told(what: str) -> None:
    schema = published("AccountOpened.v1.json")

    assert incompatibilities(schema, change(schema, what))


@pytest.mark.parametrize("what", ["optional", "another value"])
def test_an_addition_that_breaks_nobody_passes(what: str) -> None:
    schema = published("AccountOpened.v1.json")

    assert incompatibilities(schema, change(schema, what)) == []


def test_the_writer_refuses_to_overwrite_what_readers_rely_on(tmp_path: Path) -> None:
    kept = change(published("AccountOpened.v1.json"), "required")  # as if the code had dropped a field since
    path = tmp_path / "AccountOpened.v1.json"
    path.write_text(json.dumps(kept), encoding="utf-8")

    assert write(tmp_path) == ["AccountOpened.v1.json: the event: field region is gone"]
    assert json.loads(path.read_text(encoding="utf-8")) == kept
