"""A page costs a constant number of SQL statements, however many rows are on it."""

from __future__ import annotations

import pytest

from tests.api.conftest import Person, Served, deposit

HISTORY = """query($id: ID!, $first: Int!) { node(id: $id) { ... on Account {
    name balance { posted { amount } }
    transactions(first: $first) { totalCount edges { node {
        amount { amount asset } description
        journal { reference entries { amount { amount } account { name status balance { available { amount } version } } } }
    } } }
} } }"""
OVERVIEW = """query($first: Int!) { viewer { accounts(first: $first) { edges { node {
    name balance { available { amount } } then: balance(asOf: "2026-01-01T00:00:00Z") { version }
    posted: transactions(first: 3, filter: {status: POSTED}) { totalCount edges { node { journal { id } } } }
} } } } }"""


@pytest.fixture(scope="module")
def busy(served: Served) -> tuple[Person, str]:
    """Somebody with 25 accounts and 60 transactions on the first of them."""
    from isthmus.auth.scopes import Role

    person, operator = Person(served), Person(served, Role.OPERATOR)
    accounts = [person.open(name=f"Account {number}") for number in range(25)]
    deposit(operator, accounts[0], "1000.00")
    for number in range(59):
        answer = person.transfer(accounts[0], accounts[1 + number % 24], "1.00", reference=f"number {number}")
        assert answer["errors"] == []
    return person, accounts[0]


#: What asyncpg asks for its own sake, when a connection is new and when it is given back.
_OF_THE_DRIVER = ("pg_catalog", "current_setting", "set_config", "RESET ALL", "typeinfo")


def statements(served: Served, person: Person, query: str, **variables: object) -> list[str]:
    person.ask(query, variables)  # the registry of assets is read once a minute
    served.statements.clear()
    person.ask(query, variables)
    return [text for text in served.statements if not any(word in text for word in _OF_THE_DRIVER)]


def test_a_page_of_transactions_costs_the_same_whatever_its_size(served: Served, busy: tuple[Person, str]) -> None:
    person, account = busy

    few = statements(served, person, HISTORY, id=account, first=2)
    many = statements(served, person, HISTORY, id=account, first=60)

    assert len(many) == len(few) <= 9, "\n".join(many)


def test_a_page_of_accounts_with_their_transactions_too(served: Served, busy: tuple[Person, str]) -> None:
    person, _ = busy

    few = statements(served, person, OVERVIEW, first=2)
    many = statements(served, person, OVERVIEW, first=25)

    assert len(many) == len(few) <= 10, "\n".join(many)


def test_all_of_the_page_is_there(busy: tuple[Person, str]) -> None:
    person, account = busy

    page = person.ask(HISTORY, {"id": account, "first": 60})["node"]["transactions"]

    assert page["totalCount"] == 60
    assert [edge["node"]["description"] for edge in page["edges"][:2]] == ["number 58", "number 57"]
    assert all(
        entry["account"]["name"].startswith("Account") for entry in page["edges"][0]["node"]["journal"]["entries"]
    )


def test_pages_join_on_without_gap_or_repetition(busy: tuple[Person, str]) -> None:
    person, account = busy
    query = """query($id: ID!, $after: String) { node(id: $id) { ... on Account {
        transactions(first: 7, after: $after) { edges { node { id } } pageInfo { hasNextPage endCursor } } } } }"""

    ids, after, more = [], None, True
    while more:
        page = person.ask(query, {"id": account, "after": after})["node"]["transactions"]
        ids += [edge["node"]["id"] for edge in page["edges"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]

    assert len(ids) == len(set(ids)) == 60
