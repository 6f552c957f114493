"""Documents made from the schema itself, with values that fit and values that do not: never a 5xx, never an error without a code."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.graphql import nodes

from isthmus.graphql.errors import ErrorCode
from isthmus.graphql.sdl import sdl
from tests.api.conftest import Person, Served

DECIMALS = st.one_of(st.decimals(-10, 10**6, places=2).map(str), st.sampled_from(["0", "-0", "1e3", "0.001", "９"]))
TIMES = st.one_of(
    st.datetimes().map(lambda time: time.isoformat() + "Z"), st.sampled_from(["2026-01-01T00:00:00Z", "yesterday"])
)

schemathesis.graphql.scalar("Decimal", DECIMALS.map(nodes.String))
schemathesis.graphql.scalar("DateTime", TIMES.map(nodes.String))
schemathesis.graphql.scalar("AssetCode", st.sampled_from(["EUR", "ETH", "XXX", "eur"]).map(nodes.String))
schemathesis.graphql.scalar("Position", st.integers(-1, 10**20).map(str).map(nodes.String))
schemathesis.graphql.scalar("CountryCode", st.sampled_from(["GB", "DE", "gb", "XXX"]).map(nodes.String))

SCHEMA = schemathesis.graphql.from_file(sdl())
CODES = frozenset(ErrorCode)


@pytest.mark.parametrize("root", ["Query", "Mutation"])
def test_no_document_brings_it_down(served: Served, ada: Person, root: str) -> None:
    found: list[Any] = list(SCHEMA.get_all_operations())
    operations = [result.ok() for result in found]
    made = [operation.as_strategy() for operation in operations if operation.definition.type_.name == root]
    assert made

    @settings(
        max_examples=20,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def runs(data: Any) -> None:
        case = data.draw(st.one_of(made))
        answer = ada.post(case.body)
        body = answer.json()
        assert answer.status_code == 200
        assert "data" in body or "errors" in body
        for error in body.get("errors", []):
            assert error["extensions"]["code"] in CODES
            assert error["extensions"]["code"] != ErrorCode.INTERNAL, error

    runs()
