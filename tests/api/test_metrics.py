"""What an operator can count: every request once, by names that no client can multiply."""

from __future__ import annotations

import re
from uuid import uuid4

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import Person, Served

DURATION = "isthmus_graphql_operation_duration_seconds_count"
REFUSED = "isthmus_graphql_refused_total"


def told(served: Served) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    httpx.get(f"{served.url}/metrics")  # asking is counted too: the second page has the series of the first
    page = httpx.get(f"{served.url}/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def count(served: Served, name: str, **labels: str) -> float:
    """The sum over all series of that name that carry these labels."""
    wanted = set(labels.items())
    return sum(value for (one, having), value in told(served).items() if one == name and wanted <= set(having))


def test_an_operation_is_counted_by_what_it_asks_for(served: Served, ada: Person) -> None:
    before = count(served, DURATION, kind="query", field="assets", outcome="ok")

    ada.ask("query Mine { assets { code } }")

    assert count(served, DURATION, kind="query", field="assets", outcome="ok") == before + 1


def test_operation_names_that_a_client_makes_up_make_no_series(served: Served, ada: Person) -> None:
    ada.ask("query First { assets { code } }")
    ada.ask("{ assets { code } }")
    before = told(served).keys()

    for _ in range(40):
        ada.ask(f"query Flood{uuid4().hex} {{ assets {{ code }} }}")

    assert told(served).keys() == before
    assert "Flood" not in httpx.get(f"{served.url}/metrics").text


def test_paths_that_a_client_makes_up_make_no_series(served: Served) -> None:
    httpx.get(f"{served.url}/nothing-here")
    before = told(served).keys()

    for _ in range(20):
        httpx.get(f"{served.url}/{uuid4().hex}")

    assert told(served).keys() == before


def test_what_is_refused_before_it_runs_is_counted_by_its_code(served: Served, ada: Person) -> None:
    before = {code: count(served, REFUSED, outcome=code) for code in ("UNAUTHENTICATED", "BAD_USER_INPUT")}
    executed = count(served, DURATION)

    httpx.post(served.graphql, json={"query": "{ assets { code } }"})
    ada.post("{ noSuchField }")

    after = {code: count(served, REFUSED, outcome=code) for code in before}
    assert after == {code: value + 1 for code, value in before.items()}
    assert count(served, DURATION) == executed, "nothing ran"


def test_commands_are_counted_by_outcome(served: Served, ada: Person) -> None:
    opened = ada.open()
    before = count(served, "isthmus_commands_total", command="TransferInternally", outcome="INSUFFICIENT_FUNDS")

    refusal = ada.transfer(opened, ada.open(), "1.00")

    assert [error["code"] for error in refusal["errors"]] == ["INSUFFICIENT_FUNDS"]
    after = count(served, "isthmus_commands_total", command="TransferInternally", outcome="INSUFFICIENT_FUNDS")
    assert after == before + 1


def test_no_label_holds_an_id(served: Served, ada: Person) -> None:
    ada.transfer(ada.open(), ada.open(), "1.00")

    values = [value for _, labels in told(served) for _, value in labels]

    assert not [value for value in values if re.search(r"[0-9a-f]{8}-?[0-9a-f]{4}|@|sha256", value)]
