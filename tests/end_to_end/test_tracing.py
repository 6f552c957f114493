"""One transfer is one trace: from the request through the store, the bus and the projections to whoever watches the balance."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from isthmus.auth.provider.users import DEMO_PASSWORD
from isthmus.auth.sign_in import sign_in
from tests.api.conftest import Person, Served
from tests.attacks.test_g_canaries import MARK, Canaries, sent_everywhere
from tests.end_to_end.client import Client
from tests.end_to_end.collector import Collector, Span, collecting
from tests.end_to_end.product import Product
from tests.end_to_end.test_contract import credit
from tests.end_to_end.test_trail import bus_of

TRANSFER = (
    "mutation ClientsOwnName($input: TransferInternallyInput!) { transferInternally(input: $input) "
    "{ position errors { code } } }"
)
#: What happens to a transfer, in which process, as a child of what.
ROAD = {
    "POST /graphql": ("isthmus-serve", None),
    "mutation transferInternally": ("isthmus-serve", "POST /graphql"),
    "Mutation.transferInternally": ("isthmus-serve", "mutation transferInternally"),
    "command TransferInternally": ("isthmus-serve", "Mutation.transferInternally"),
    "commit": ("isthmus-serve", "command TransferInternally"),
    "publish isthmus.log.v1": ("isthmus-work", "command TransferInternally"),
    "project": ("isthmus-work", "publish isthmus.log.v1"),
    "tell feed": ("isthmus-work", "command TransferInternally"),
    "deliver": ("isthmus-serve", "command TransferInternally"),
}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def traced(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product(
        tmp_path_factory.mktemp("traced") / "data",
        ["--no-demo"],
        settings={
            "ISTHMUS_TELEMETRY__OTLP_ENDPOINT": collector.url,
            "ISTHMUS_TELEMETRY__OTLP_AUTHORIZATION": "Basic canary-collector",
            "ISTHMUS_TELEMETRY__SAMPLE_RATIO": "1",
        },
        cold=False,
    )
    product.start(120)
    yield product
    assert product.stop() == 0


@pytest.mark.timeout(240)
async def test_a_transfer_is_one_trace_from_the_request_to_the_watcher(traced: Product, collector: Collector) -> None:
    canary = f"Canaria{uuid4().hex[:8]}"
    token = (await sign_in(traced.base, "ada@example.com", DEMO_PASSWORD)).access_token
    ada = Client(traced.url, token)
    source, target = (await ada.open(name=canary))["account"]["id"], (await ada.open())["account"]["id"]
    await asyncio.to_thread(credit, traced, source, "50.00", reference=canary)

    async def transfer(correlation: str) -> None:
        wish = {
            "fromAccountId": source,
            "toAccountId": target,
            "amount": {"amount": "1.00", "asset": "EUR"},
            "reference": canary,
            "idempotencyKey": f"{canary}-{correlation}",
        }
        headers = {"x-correlation-id": correlation, "x-canary": canary, "user-agent": canary}
        answer = await ada.ask(TRANSFER, {"input": wish}, headers=headers)
        assert answer.data["transferInternally"]["errors"] == []
        moved = await socket.next(watching)
        assert moved["balanceChanged"]["cause"]["correlationId"] == correlation

    async with ada.socket() as socket:
        watching = await socket.subscribe(
            "subscription($ids: [ID!]) { balanceChanged(accountIds: $ids) { cause { correlationId } } }",
            {"ids": [source]},
        )
        await socket.next(watching)
        correlation, spans = "", list[Span]()
        for attempt in range(6):  # while Kafka's group forms, the projections are filled from the store instead
            correlation = f"trace-{uuid4()}"
            await transfer(correlation)
            spans = await arrived(collector, correlation)
            if by_name(spans)["project"].parent == by_name(spans)["publish isthmus.log.v1"].id:
                break
            await asyncio.sleep(0.5 * attempt)

    named = by_name(spans)
    for name, (service, parent) in ROAD.items():
        assert named[name].service == service
        assert named[name].parent == (named[parent].id if parent else ""), name
        assert named[name].attributes["isthmus.correlation_id"] == correlation, name
    assert {span.trace for span in spans} == {named["POST /graphql"].trace}
    statements = [span for span in spans if span.attributes.get("db.system.name") == "postgresql"]
    assert any(span.parent == named["commit"].id for span in statements)
    assert any(span.parent == named["project"].id for span in statements)
    published = [span for span in spans if span.attributes.get("db.system.name") == "redis"]
    assert any(span.parent == named["tell feed"].id for span in published)

    told = b"".join(collector.raw)
    person = [canary, "ada@example.com", token, "ClientsOwnName", "fromAccountId", "50.00", "127.0.0.1"]
    assert not [secret for secret in person if secret.encode() in told]
    assert {headers["authorization"] for headers in collector.headers} == {"Basic canary-collector"}

    lines = [json.loads(line) for line in log_of(traced, "serve") if correlation in line]
    assert named["POST /graphql"].trace in {line.get("trace_id") for line in lines}
    assert not [line for name in ("serve", "work") for line in log_of(traced, name) if "canary-collector" in line]
    await ada.http.aclose()


@pytest.mark.timeout(240)
async def test_g9_no_canary_is_found_on_the_bus_or_in_what_the_collector_is_told(
    traced: Product, collector: Collector
) -> None:
    """Where the row's other places are looked through, nothing is published or exported (attacks/test_g_canaries.py)."""
    served, canaries = Served(url=traced.base), Canaries()
    ada, olga = Person(served), Person(served)
    for person, email in ((ada, "ada@example.com"), (olga, "olga@example.com")):
        person.token = (await sign_in(traced.base, email, DEMO_PASSWORD)).access_token
    canaries.words["a good token"] = ada.token
    answers = await asyncio.to_thread(lambda: list(sent_everywhere(served, ada, olga, canaries)))
    assert len(answers) > 30

    # What was told before this is with the collector and the broker once this is.
    account, correlation = await asyncio.to_thread(ada.open), f"trace-{uuid4()}"
    wish = {"accountId": account, "name": "last", "idempotencyKey": uuid4().hex}
    rename = "mutation($input: RenameAccountInput!) { renameAccount(input: $input) { position errors { code } } }"
    await asyncio.to_thread(lambda: ada.ask(rename, {"input": wish}, x_correlation_id=correlation))
    async with asyncio.timeout(60):
        bus = await bus_of(traced)
        while not any(headers.get("correlation_id") == correlation for headers, _ in bus):
            bus = await bus_of(traced)
        while not {"command RenameAccount", "project"} <= names(collector, correlation):  # noqa: ASYNC110 - it has a thread
            await asyncio.sleep(0.1)
    told = b"\n".join(collector.raw)
    published = b"\n".join(value + b"\n" + repr(headers).encode() for headers, value in bus)
    leaks: dict[str, object] = {}
    for place, found in (("the collector", told), ("the bus", published)):
        assert len(found) > 10_000, place
        text = found.decode("latin-1")
        leaks[place] = canaries.found_in(text), re.findall(rf"{MARK}\d\d\w+", text)
    assert leaks == {"the collector": ([], []), "the bus": ([], [])}


def names(collector: Collector, correlation: str) -> set[str]:
    """Of the spans that have come, in both processes."""
    return {one.name for one in collector.spans() if one.attributes.get("isthmus.correlation_id") == correlation}


def log_of(product: Product, name: str) -> list[str]:
    return (Path(product.data_dir) / "logs" / f"{name}.log").read_text().splitlines()


async def arrived(collector: Collector, correlation: str, within_s: float = 15) -> list[Span]:
    """All spans of the trace that has the correlation id, once the whole road is in it."""
    until = time.monotonic() + within_s
    while True:
        every = collector.spans()
        traces = {span.trace for span in every if span.attributes.get("isthmus.correlation_id") == correlation}
        found = [span for span in every if span.trace in traces]
        if by_name(found).keys() >= ROAD.keys():
            return found
        assert time.monotonic() < until, sorted(by_name(found))
        await asyncio.sleep(0.1)


def by_name(spans: list[Span]) -> dict[str, Span]:
    return {span.name: span for span in spans}
