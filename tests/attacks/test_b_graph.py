"""Rows B2, B5 and B9: ways through the graph, forged ids, and other people's cursors."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Iterator
from typing import Any

from graphql import get_named_type, is_leaf_type

from isthmus.graphql.connections import cursor_of
from isthmus.graphql.ids import decode
from isthmus.graphql.schema import build_schema
from tests.api.conftest import Person, Served, deposit
from tests.attacks.count import Row
from tests.attacks.victim import Things


def ways(made: Any, levels: int) -> Iterator[str]:
    """Every way down from a type, `levels` deep at most: each with what can be read on it, pages of two."""
    fields = made.fields
    leaves = " ".join(
        ["__typename", *(name for name, found in fields.items() if is_leaf_type(get_named_type(found.type)))]
    )
    deeper = [(name, found) for name, found in fields.items() if not is_leaf_type(get_named_type(found.type))]
    if levels <= 1 or not deeper:
        yield leaves
        return
    for name, found in deeper:
        page = "(first: 2)" if "first" in found.args else ""
        for below in ways(get_named_type(found.type), levels - 1):
            yield f"{leaves} {name}{page} {{ {below} }}"


def test_b2_no_way_leads_from_mine_to_hers(ada: Person, grace: Person, olga: Person, row: Row) -> None:
    """Every path through the graph, as deep as may be asked, from a payment of mine to her: nothing of hers is on it."""
    mine, hers = ada.open(name="Ada's"), grace.open(name="Grace's secret name")
    deposit(olga, mine, "30.00")
    deposit(olga, hers, "77.77", reference="her own deposit")
    with row.case("the mutation's answer"):
        paid = ada.transfer(mine, hers, "1.00", reference="for you")
        assert hers not in str(paid)
    journal, types = paid["journal"]["id"], build_schema()._schema.type_map
    transaction = ada.account(mine, "transactions(first: 1) { edges { node { id } } }")["transactions"]["edges"][0][
        "node"
    ]["id"]
    starts = [(f"node(id: $id) {{ ... on {name} {{ %s }} }}", id, types[name])
              for name, id in (("LedgerAccount", mine), ("Journal", journal), ("Transaction", transaction))]  # fmt: skip
    starts += [
        ("viewer { %s }", None, types["Viewer"]),
        ("auditTrail(first: 50) { %s }", None, types["AuditEventConnection"]),
    ]
    for start, id, made in starts:
        for way in ways(made, 9):
            with row.case((start, way)):
                head = "query($id: ID!)" if id else "query"
                answer = ada.post(f"{head} {{ {start % way} }}", {"id": id} if id else None).json()
                assert "errors" not in answer, answer
                for secret in (hers, "Grace's secret name", "77.77", "her own deposit", str(grace.id), grace.subject):
                    assert secret not in str(answer)
    entries = "query($id: ID!) { node(id: $id) { ... on Journal { entries { account { id } } } } }"
    for person, own in ((ada, mine), (grace, hers)):
        with row.case("each side sees its own"):
            seen = person.ask(entries, {"id": journal})["node"]["entries"]
            assert sorted(str(entry["account"] and entry["account"]["id"]) for entry in seen) == sorted(["None", own])


def test_b5_a_forged_id_is_null_whatever_was_done_to_it(served: Served, ada: Person, hers: Things, row: Row) -> None:
    """Edits of each of hers, in base64 and beneath it; 15 in a request."""
    draw = random.Random(5)
    alphabet = string.ascii_letters + string.digits + "-_=+/ \n\0é"
    forged: set[str] = {
        "",
        "-1",
        "0",
        "9" * 100,
        "A" * 100,
        "\U0001f600",
        "null",
        "undefined",
        "node:1",
        "Account:1",
        "QWNjb3VudDox",
    }
    for id in hers.nodes.values():
        decoded = decode(id)
        assert decoded is not None
        raw = base64.urlsafe_b64decode(id + "=" * (-len(id) % 4))
        for _ in range(60):
            place = draw.randrange(len(id))
            forged.add(id[:place] + draw.choice(alphabet) + id[place + 1 :])
            forged.add(base64.urlsafe_b64encode(raw[: draw.randrange(len(raw))]).decode().rstrip("="))
            forged.add(base64.urlsafe_b64encode(raw + draw.randbytes(draw.randrange(1, 20))).decode().rstrip("="))
            forged.add(base64.urlsafe_b64encode(draw.randbytes(2) + raw[2:]).decode().rstrip("="))
            forged.add(base64.b64encode(raw).decode())
        forged |= {
            id + id,
            id[::-1],
            id.swapcase(),
            id + "\n",
            f" {id}",
            base64.urlsafe_b64encode(id.encode()).decode(),
        }
        forged |= {raw.decode("latin-1"), raw.hex(), id}
    ids = sorted(forged)
    for start in range(0, len(ids), 15):
        batch = ids[start : start + 15]
        names = ", ".join(f"$i{n}: ID!" for n in range(len(batch)))
        fields = " ".join(f"n{n}: node(id: $i{n}) {{ __typename id }}" for n in range(len(batch)))
        data = ada.ask(f"query({names}) {{ {fields} }}", {f"i{n}": id for n, id in enumerate(batch)})
        for number, id in enumerate(batch):
            with row.case(id):
                assert data[f"n{number}"] is None


def test_b9_her_cursors_and_instants_show_me_only_mine(ada: Person, grace: Person, olga: Person, row: Row) -> None:
    """A cursor is a place in the log, not a key to it: with hers, made up ones, or other lists', one sees one's own or a refusal."""
    mine, hers = ada.open(name="Ada's"), grace.open(name="Grace's")
    for number in range(3):
        deposit(olga, hers, f"{number + 1}.00")
        deposit(olga, mine, "10.00")
    query = (
        """query($after: String, $id: ID!) { viewer { accounts(after: $after) { edges { cursor node { id } } } } }"""
    )
    lists = {
        "account": "query($after: String) { viewer { accounts(first: 200, after: $after) { edges { cursor node { id } } } } }",
        "audit": "query($after: String) { auditTrail(first: 200, after: $after) { edges { cursor node { id: aggregateId } } } }",
    }
    del query

    def edges(person: Person, name: str, after: str | None) -> list[Any]:
        found = person.post(lists[name], {"after": after}).json()
        if found.get("errors"):
            assert found["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
            return []
        inner: list[Any] = found["data"].get("auditTrail", {}).get("edges") or found["data"].get("viewer", {}).get(
            "accounts", {}
        ).get("edges", [])
        return inner

    own = {name: {edge["node"]["id"] for edge in edges(ada, name, None)} for name in lists}
    assert all(own.values())
    for name in lists:
        cursors = {edge["cursor"] for other in lists for edge in edges(grace, other, None)}
        cursors |= {cursor_of(kind, n) for kind in ("account", "audit", "transaction") for n in (0, 1, 10**6, 10**17)}
        cursors |= {cursor[:-1] for cursor in cursors} | {
            "",
            "x",
            "é",
            "0",
            "\0",
            "A" * 100,
            "'",
            base64.b64encode(b"audit:-1").decode(),
        }
        for cursor in sorted(cursors):
            with row.case((name, cursor)):
                assert {edge["node"]["id"] for edge in edges(ada, name, cursor)} <= own[name]
    history = """query($id: ID!, $after: String, $asOf: DateTime!) { node(id: $id) { ... on Account {
        balance(asOf: $asOf) { posted { amount } }
        transactions(after: $after) { edges { cursor node { amount { amount } } } } } } }"""
    as_of = grace.account(hers, "balance { asOf }")["balance"]["asOf"]
    of_hers = grace.ask(history, {"id": hers, "asOf": as_of})["node"]["transactions"]["edges"]
    for edge in of_hers:
        with row.case(("transactions", edge["cursor"])):
            found = ada.post(history, {"id": mine, "after": edge["cursor"], "asOf": as_of}).json()["data"]["node"]
            assert {e["node"]["amount"]["amount"] for e in found["transactions"]["edges"]} <= {"10.00"}
        with row.case(("her account", edge["cursor"])):
            assert ada.ask(history, {"id": hers, "after": edge["cursor"], "asOf": as_of})["node"] is None
