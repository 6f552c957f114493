"""A connection walked from its first page to its last, as a client does."""

from __future__ import annotations

from tests.api.conftest import Person


def walked(person: Person, query: str, field: str, first: int) -> list[str]:
    """The ids of the payments of all its nodes, in their order; none comes twice, and the total is theirs."""
    seen, after = list[str](), None
    while True:
        page = person.ask(query, {"first": first, "after": after})[field]
        seen += [edge["node"]["payment"]["id"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            assert len(seen) == len(set(seen)) == page["totalCount"]
            return seen
        after = page["pageInfo"]["endCursor"]
