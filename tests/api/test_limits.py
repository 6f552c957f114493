"""Hostile documents: refused before anything runs, whatever they are made of."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from graphql import get_introspection_query

from isthmus.graphql.call import Call
from isthmus.graphql.documents import Documents, Refused
from isthmus.graphql.errors import classify
from isthmus.graphql.execution import limits_of
from isthmus.graphql.limits import Limits
from isthmus.graphql.schema import build_schema
from isthmus.settings import ApiSettings
from tests.api.conftest import CONTRACT, Person, Served

LIMITS = limits_of(ApiSettings())


@pytest.fixture(scope="module")
def documents() -> Documents:
    return documents_of(LIMITS)


class Unpublished:
    async def find(self, digest: bytes) -> str | None:
        return None

    def knows(self, digest: bytes) -> bool:
        return False


def documents_of(limits: Limits, *, development: bool = True) -> Documents:
    return Documents(build_schema()._schema, limits, tokens_max=1_000, trusted=Unpublished(), development=development)


def outcome(documents: Documents, text: str, variables: Any = None, *, may_introspect: bool = True) -> str:
    try:
        asyncio.run(documents.prepare(Call(text, variables), may_introspect=may_introspect))
    except Refused as refused:
        return classify(refused.errors[0]).value
    return "ok"


def nested(depth: int) -> str:
    """`journal.entries.account.transactions…` goes round for ever: 5 levels a round, below 3 levels to an account."""
    inner, spine = "id", ("journal", "entries", "account", "transactions", "edges", "node")
    for level in range(depth):
        inner = f"{spine[-1 - level % len(spine)]} {{ {inner} }}"
    return f"{{ viewer {{ accounts {{ edges {{ node {{ {inner} }} }} }} }} }}"


def fragments(count: int, width: int = 2) -> str:
    """Each spreads the next `width` times: width^count fields."""
    spread = "\n".join(f"fragment f{n} on Viewer {{ {' '.join([f'...f{n + 1}'] * width)} }}" for n in range(count))
    return f"{{ viewer {{ ...f0 }} }} {spread} fragment f{count} on Viewer {{ id }}"


#: Of this thread alone: a quick machine takes a tenth of it. What grows by powers would take hours.
SECONDS_MAX = 1.0

HOSTILE = {
    "deep fields": "{" + "a{" * 300 + "b" + "}" * 301,
    "deeper than the parser goes": "{" + "a{" * 20_000,
    "deep along the schema": nested(9),
    "deep inline fragments": "{ viewer {" + "...on Viewer{" * 200 + "id" + "}" * 202,
    "deep introspection": "{ __schema { types {" + " ofType {" * 100 + "name" + "}" * 103,
    "aliases": "{ viewer {" + " ".join(f"a{n}: id" for n in range(16)) + "} }",
    "aliases in fragments": "{ viewer { ...f ...f } } fragment f on Viewer {" + " ".join(f"a{n}: id" for n in range(8)) + "}",
    "aliases in unused operations": "query A { viewer { id } } query B { viewer {"
    + " ".join(f"a{n}: id" for n in range(16)) + "} }",
    "aliased mutations": "mutation {" + " ".join(
        f'a{n}: closeAccount(input: {{accountId: "x", idempotencyKey: "k"}}) {{ replayed }}' for n in range(16)) + "}",
    "aliased introspection": "{ __schema {" + " ".join(f"a{n}: description" for n in range(16)) + "} }",
    "directives": "{ viewer { id " + "@include(if: true) " * 51 + "} }",
    "unknown directives": "{ viewer { id " + "@x " * 51 + "} }",
    "directives in fragments": "{ viewer { ...f ...f } } fragment f on Viewer { id " + "@skip(if: false) " * 26 + "}",
    "root fields": "{ " + "__typename " * 21 + "}",
    "root fields in fragments": "{ ...f ...f ...f } fragment f on Query { viewer { id } assets { code } "
    + "__typename " * 6 + "}",
    "root fields in inline fragments": "{" + "... on Query { viewer { id } } " * 21 + "}",
    "tokens": "{ viewer { " + "id " * 1_000 + "} }",
    "page sizes": "{ viewer { accounts(first: 200) { edges { node { transactions(first: 200) { totalCount } } } } } }",
    "many pages side by side": "{ viewer {" + " ".join(
        f"a{n}: accounts(first: 200) {{ edges {{ node {{ transactions(first: 5) {{ totalCount }} }} }} }}" for n in range(15)
    ) + "} }",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_document_is_too_complex(documents: Documents, name: str) -> None:
    began = time.thread_time()

    assert outcome(documents, HOSTILE[name]) == "QUERY_TOO_COMPLEX"
    assert time.thread_time() - began < SECONDS_MAX


@pytest.mark.parametrize(
    "text",
    [
        "{ viewer { ...f } } fragment f on Viewer { ...g } fragment g on Viewer { ...f }",
        "{ viewer { ...f } } fragment f on Viewer { ...f }",
        "{ viewer { ...gone } }",
        "{ viewer { id @defer } }",
        "query(" + " ".join(f"$v{n}: Int" for n in range(200)) + ") { viewer { id } }",
        "{ auditTrail(first: 2147483648) { pageInfo { hasNextPage } } }",
        "{ auditTrail(first: " + "9" * 10_000 + ") { pageInfo { hasNextPage } } }",
    ],
)
def test_a_wrong_document_is_refused_quickly(documents: Documents, text: str) -> None:
    began = time.thread_time()

    assert outcome(documents, text) == "BAD_USER_INPUT"
    assert time.thread_time() - began < SECONDS_MAX


def test_an_exponential_document_is_weighed_once(documents: Documents) -> None:
    began = time.thread_time()

    assert outcome(documents, fragments(40)) == "ok"  # 2^40 fields that are all one
    assert outcome(documents, fragments(20, 2).replace("{ id }", "{ a: id }")) == "QUERY_TOO_COMPLEX"
    assert time.thread_time() - began < SECONDS_MAX


def test_a_page_size_in_a_variable_is_weighed_each_time(documents: Documents) -> None:
    text = "query($n: Int! = 1) { viewer { accounts(first: $n) { edges { node { transactions(first: 100) { totalCount } } } } } }"

    assert outcome(documents, text) == "ok"
    assert outcome(documents, text, {"n": 200}) == "QUERY_TOO_COMPLEX"
    assert outcome(documents, text, {"n": 10}) == "ok"


@pytest.mark.parametrize(
    "name", ["Viewer", "OpenAccount", "TransferInternally", "AccountHistory", "BalanceChanged", "AuditTrail"]
)
def test_the_contract_is_within_the_limits(documents: Documents, name: str) -> None:
    inputs: dict[str, Any] = {
        "OpenAccount": {"input": {"asset": "EUR", "name": "x", "idempotencyKey": "x"}},
        "TransferInternally": {
            "input": {
                "fromAccountId": "a",
                "toAccountId": "b",
                "amount": {"amount": "1", "asset": "EUR"},
                "idempotencyKey": "x",
            }
        },
        "AccountHistory": {"id": "x", "asOf": "2026-01-01T00:00:00Z"},
    }

    prepared = asyncio.run(documents.prepare(Call(CONTRACT, inputs.get(name), name), may_introspect=False))

    assert prepared.operation_name == name


@pytest.mark.parametrize(
    "text",
    [
        get_introspection_query(),
        '{ __type(name: "Viewer") { name } }',
        "{ viewer { id } ...f } fragment f on Query { __schema { description } }",
    ],
)
def test_introspection_is_for_whoever_may(documents: Documents, text: str) -> None:
    assert outcome(documents, text, may_introspect=True) == "ok"
    assert outcome(documents, text, may_introspect=False) == "FORBIDDEN", "although the document is kept by now"
    assert outcome(documents, "{ __typename viewer { __typename } }", may_introspect=False) == "ok"


@pytest.mark.parametrize(
    "text", ["{ viewe { id } }", "{ viewer { subjec } }", "{ auditTrail(firs: 1) { pageInfo { hasNextPage } } }"]
)
def test_names_are_suggested_in_development_only(text: str) -> None:
    """In production an unpublished document is not even read (test_trusted_documents.py)."""
    for development in (True, False):
        documents = documents_of(LIMITS, development=development)
        with pytest.raises(Refused) as refused:
            asyncio.run(documents.prepare(Call(text), may_introspect=True))
        assert ("Did you mean" in str([error.message for error in refused.value.errors])) is development


def test_a_refused_document_runs_no_sql(served: Served, ada: Person) -> None:
    served.statements.clear()

    for text in HOSTILE.values():
        assert ada.refused(text) == "QUERY_TOO_COMPLEX"

    assert served.statements == []


@pytest.mark.parametrize("first", [0, -1, 201, 2_147_483_647])
@pytest.mark.parametrize(
    "field", ["viewer { accounts(first: %d) { totalCount } }", "auditTrail(first: %d) { pageInfo { hasNextPage } }"]
)
def test_a_page_out_of_range_names_the_cap(ada: Person, field: str, first: int) -> None:
    error = ada.post("{" + field % first + "}").json()["errors"][0]

    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "200" in error["message"]


def test_a_guess_cannot_be_bundled() -> None:
    """The hook for answers that could be guessed: one operation gets one try, whatever it is called there."""
    documents = documents_of(replace(LIMITS, once=frozenset({"closeAccount"})))
    guess = 'closeAccount(input: {accountId: "x", idempotencyKey: "k"}) { replayed }'

    assert outcome(documents, "mutation { " + guess + " }") == "ok"
    for bundled in (
        f"a: {guess} b: {guess}",
        f"{guess} ... on Mutation {{ b: {guess} }}",
        f"{guess} ...f }} fragment f on Mutation {{ b: {guess}",
    ):
        assert outcome(documents, "mutation { " + bundled + " }") == "QUERY_TOO_COMPLEX"
