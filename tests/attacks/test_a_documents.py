"""Rows A1 to A3, A5 and A6: documents that ask for more than anybody needs. Refused before a resolver runs, and cheaply."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx

from tests.api.conftest import Person, Served
from tests.attacks.count import Row

COMPLEX, WRONG = "QUERY_TOO_COMPLEX", "BAD_USER_INPUT"

#: Down from the root to an account, and round from there to the next, with the type that each step leads to.
DOWN = (("viewer", "Viewer"), ("accounts", "AccountConnection"), ("edges", "AccountEdge"), ("node", "Account"))
ROUND = (
    ("transactions", "TransactionConnection"), ("edges", "TransactionEdge"), ("node", "Transaction"), ("journal", "Journal"),
    ("entries", "JournalEntry"), ("account", "Account"),
)  # fmt: skip


def measured(person: Person, text: str, variables: Any, cpu_s: float, tries: int = 6) -> tuple[httpx.Response, float]:
    """The answer, and what it took of this whole process's time; again where other threads may have taken some of it."""
    began = time.process_time()
    answer = person.post(text, variables)
    spent = time.process_time() - began
    taken_on = answer.status_code != 503  # else the server had too much to do, and refused it unseen
    return (
        (answer, spent)
        if (taken_on and spent <= cpu_s) or tries == 1
        else measured(person, text, variables, cpu_s, tries - 1)
    )


def refused(served: Served, person: Person, text: str, *codes: str, variables: Any = None, cpu_s: float = 0.25) -> None:
    """With one of these codes, before any SQL, in so much processor time (client and all)."""
    served.statements.clear()
    answer, spent = measured(person, text, variables, cpu_s)
    body = answer.json()
    assert "data" not in body, body
    assert body["errors"][0]["extensions"]["code"] in codes, body
    assert served.statements == []
    assert spent <= cpu_s


def accepted(person: Person, text: str, variables: Any = None) -> None:
    assert "errors" not in person.post(text, variables).json()


def steps(levels: int) -> list[tuple[str, str]]:
    """That many fields that hold others."""
    return [DOWN[n] if n < len(DOWN) else ROUND[(n - len(DOWN)) % len(ROUND)] for n in range(levels)]


def deep(depth: int, how: str) -> str:
    """`depth` levels, the last of them a leaf; each level plain, in inline fragments, or in a fragment of its own."""
    text, fragments = "__typename", []
    for level, (name, kind) in reversed(list(enumerate(steps(depth - 1)))):
        if how == "inline":
            text = f"... on {kind} {{ ... {{ {text} }} }}"
        elif how == "fragments":
            fragments.append(f"fragment F{level} on {kind} {{ {text} }}")
            text = f"...F{level}"
        elif how == "aliases too":
            text = f"x: __typename {text}" if level % 5 == 0 else text
        text = f"{name}(first: 1) {{ {text} }}" if name in ("accounts", "transactions") else f"{name} {{ {text} }}"
    return f"{{ {text} }} {' '.join(fragments)}"


def test_a1_depth_is_refused_however_it_is_reached(served: Served, ada: Person, row: Row) -> None:
    for how in ("plain", "inline", "fragments", "aliases too"):
        accepted(ada, deep(10, how))
        for depth in (11, 12, 15, 20, 30, 50, 100, 200, 500, 1_000, 3_000):
            text = deep(depth, how)
            if len(text) < 99_000:  # longer ones are row A4's
                with row.case((how, depth)):
                    refused(served, ada, text, COMPLEX, cpu_s=0.05)
    for depth in (11, 50, 300, 3_000, 20_000):
        shapes = {
            "unknown fields": "{" + "a{" * depth + "b" + "}" * (depth + 1),
            "never closed": "{" + "a{" * depth,
            "only inline fragments": "{" + "...{" * max(depth, 300) + "__typename" + "}" * (max(depth, 300) + 1),
            "lists in arguments": "{ node(id: " + "[" * depth + "]" * depth + ") { id } }",
            "objects in arguments": "{ node(id: " + "{a:" * depth + "1" + "}" * depth + ") { id } }",
            "types of variables": "query($a: " + "[" * depth + "Int" + "]" * depth + ") { __typename }",
            "a mutation's answer": "mutation { openAccount(input: 1) {" + "a{" * depth + "b" + "}" * (depth + 2),
            "introspection": "{ __schema { types {"
            + " ofType {" * max(depth, 30)
            + "name"
            + "}" * (max(depth, 30) + 3),
        }
        for name, text in shapes.items():
            if len(text) > 99_000:
                continue
            with row.case((name, depth)):
                either = ("never closed", "lists in arguments", "objects in arguments", "types of variables")
                codes = (WRONG, COMPLEX) if name in either else (COMPLEX,)
                refused(served, ada, text, *codes, cpu_s=0.05)


def aliased(count: int) -> Iterator[tuple[str, str]]:
    flat = " ".join(f"a{n}: id" for n in range(count))
    half = " ".join(f"a{n}: id" for n in range(count // 2 + 1))
    yield "flat", f"{{ viewer {{ {flat} }} }}"
    yield "at the root", "{" + " ".join(f"a{n}: viewer {{ id }}" for n in range(count)) + "}"
    yield "in a fragment", f"{{ viewer {{ ...f }} }} fragment f on Viewer {{ {flat} }}"
    yield "in a fragment that is spread twice", f"{{ viewer {{ ...f ...f }} }} fragment f on Viewer {{ {half} }}"
    yield "one alias, spread often", f"{{ viewer {{ {'...f ' * count} }} }} fragment f on Viewer {{ a: id }}"
    yield (
        "fragments in fragments",
        (
            f"{{ viewer {{ ...a }} }} fragment a on Viewer {{ ...b ...b }} fragment b on Viewer {{ ...c ...c }} fragment c on Viewer "
            f"{{ {' '.join(f'a{n}: id' for n in range(count // 4 + 1))} }}"
        ),
    )
    yield "in inline fragments", "{ viewer {" + " ".join(f"... {{ a{n}: id }}" for n in range(count)) + "} }"
    yield (
        "each under the one before",
        "{ viewer {" + " ".join(f"a{n}: accounts {{ t: totalCount }}" for n in range(count)) + "} }",
    )
    yield "the same alias", "{ viewer {" + "a: id " * count + "} }"
    yield "an alias that is the name", "{ viewer {" + "id: id " * count + "} }"
    yield (
        "mutations",
        "mutation {"
        + " ".join(
            f'a{n}: closeAccount(input: {{accountId: "x", idempotencyKey: "k{n}"}}) {{ position }}'
            for n in range(count)
        )
        + "}",
    )
    yield "introspection", "{ __schema {" + " ".join(f"a{n}: description" for n in range(count)) + "} }"
    yield "another operation of the document", f"query A {{ viewer {{ id }} }} query B {{ viewer {{ {flat} }} }}"
    yield (
        "skipped by a directive",
        "{ viewer {" + " ".join(f"a{n}: id @skip(if: true)" for n in range(min(count, 50))) + "} }",
    )


def test_a2_aliases_are_counted_after_fragments(served: Served, ada: Person, row: Row) -> None:
    accepted(ada, "{ viewer {" + " ".join(f"a{n}: id" for n in range(15)) + "} }")
    for count in (16, 17, 24, 50, 120, 300, 1_000, 9_000):
        for name, text in aliased(count):
            if name == "another operation of the document":
                with row.case((name, count)):
                    answer = ada.post(text, operation="A").json()
                    assert answer["errors"][0]["extensions"]["code"] == COMPLEX
            elif len(text) < 99_000:
                with row.case((name, count)):
                    refused(served, ada, text, COMPLEX)


def overloaded(count: int) -> Iterator[tuple[str, str]]:
    known, unknown = "@include(if: true) ", "@x "
    yield "repeated", f"{{ viewer {{ id {known * count} }} }}"
    yield "repeated and unknown", f"{{ viewer {{ id {unknown * count} }} }}"
    yield "a name each", "{ viewer { id " + " ".join(f"@d{n}" for n in range(count)) + " } }"
    yield "one on each of many fields", "{ viewer {" + f"id {known}" * count + "} }"
    yield "a maze", "{ viewer {" + "... @skip(if: false) { ... @include(if: true) { id } } " * (count // 2 + 1) + "} }"
    yield "on inline fragments", "{ viewer {" + "... @include(if: true) { id } " * count + "} }"
    yield "on spreads", "{ viewer {" + f"...f {known}" * count + "} } fragment f on Viewer { id }"
    yield "in a fragment", f"{{ viewer {{ ...f }} }} fragment f on Viewer {{ id {known * count} }}"
    yield (
        "in a fragment that is spread",
        f"{{ viewer {{ ...f ...f }} }} fragment f on Viewer {{ id {known * (count // 2 + 1)} }}",
    )
    yield "on a fragment", f"{{ viewer {{ ...f }} }} fragment f on Viewer {unknown * count} {{ id }}"
    yield "on the operation", f"query {unknown * count} {{ viewer {{ id }} }}"
    yield "on a mutation", f"mutation {unknown * count} {{ openAccount(input: 1) {{ position }} }}"
    yield "with variables", f"query($a: Boolean!) {{ viewer {{ id {'@include(if: $a) ' * count} }} }}"
    yield "@defer", "{ viewer {" + "... @defer { id } " * count + "} }"
    yield "@stream", "{ viewer { accounts {" + "edges @stream(initialCount: 0) { cursor } " * count + "} } }"


def test_a3_directives_are_counted_wherever_they_stand(served: Served, ada: Person, row: Row) -> None:
    for count in (51, 52, 80, 150, 400, 1_000, 5_000):
        for name, text in overloaded(count):
            if len(text) < 99_000:
                with row.case((name, count)):
                    refused(served, ada, text, COMPLEX)
    for text in (
        "{ viewer { ... @defer { id } } }",
        "{ viewer { accounts { edges @stream { cursor } } } }",
        "query($a: Int @x) { viewer { id } }",
        f"query($a: Int {'@x ' * 60}) {{ viewer {{ id }} }}",
        "{ viewer { id @include } }",
        '{ viewer { id @include(if: "true") } }',
        "{ viewer { id @deprecated } }",
        "{ viewer { id @include(if: true) @include(if: true) } }",
    ):
        with row.case(text):
            refused(served, ada, text, WRONG, COMPLEX)


def test_a5_the_cost_is_the_product_of_the_pages(served: Served, ada: Person, row: Row) -> None:
    nested = "{ viewer { accounts(first: %s) { edges { node { transactions(first: %s) { totalCount } } } } } }"
    for outer, inner in ((200, 25), (25, 200), (100, 50), (200, 200), (71, 71)):
        with row.case((outer, inner)):
            refused(served, ada, nested % (outer, inner), COMPLEX)
    by_variables = nested.replace("{", "query($a: Int!, $b: Int!) {", 1) % ("$a", "$b")
    for values in ({"a": 200, "b": 25}, {"a": 200, "b": 200}, {"a": 71, "b": 71}):
        with row.case(values):
            refused(served, ada, by_variables, COMPLEX, variables=values)
    page = "accounts(first: 60) { edges { node { transactions(first: 40) { totalCount } } } }"
    beside = f"{{ viewer {{ {' '.join(f'a{n}: {page}' for n in range(3))} }} }}"
    by_fragment = """{ viewer { ...f } } fragment f on Viewer { accounts(first: 200) { edges { node { ...g } } } }
        fragment g on Account { transactions(first: 50) { totalCount } }"""
    by_default = "query($a: Int! = 200) { viewer { accounts(first: $a) { edges { node { transactions(first: 50) { totalCount } } } } } }"
    for name, text in {"side by side": beside, "in fragments": by_fragment, "by a default": by_default}.items():
        with row.case(name):
            refused(served, ada, text, COMPLEX)
    shared = """fragment f on Viewer { accounts(first: $n) { edges { node { ...g } } } }
        fragment g on Account { transactions(first: $n) { totalCount } }"""
    for others in (1, 2, 12):
        small = " ".join(f"query A{n}($n: Int! = 1) {{ viewer {{ ...f }} }}" for n in range(others))
        large = "query B($n: Int! = 200) { viewer { ...f } }"
        for operations in (
            f"{small} {large}",
            f"{large} {small}",
            f"{small} {large} {small.replace('query A', 'query C')}",
        ):
            with row.case(("another operation's default", others, operations[:8])):
                served.statements.clear()
                answer = ada.post(f"{operations} {shared}", operation="B").json()
                assert answer["errors"][0]["extensions"]["code"] == COMPLEX, answer
                assert served.statements == []
    accepted(ada, nested % (70, 70))
    accepted(ada, nested % (20, 20))


def test_a5_a_page_is_a_whole_number_within_the_cap(served: Served, ada: Person, row: Row) -> None:
    sizes: list[Any] = [
        0,
        -1,
        -(2**31),
        201,
        1_000,
        2**31 - 1,
        2**31,
        2**53,
        2**63,
        10**30,
        "1.5",
        "1e2",
        '"20"',
        "true",
        "null",
        "[1]",
        "{}",
        "ALL",
    ]
    for field in ("viewer { accounts(%s) { totalCount } }", "auditTrail(%s) { pageInfo { hasNextPage } }"):
        for size in sizes:
            with row.case((field, size)):
                refused_by_page(ada, "{ " + field % f"first: {size}" + " }")
        for arguments in (
            "last: 10",
            "first: 10, last: 10",
            "first: 10, first: 20",
            "before: 1",
            "offset: 10",
            "limit: 10",
            "first: 10, skip: 10",
        ):
            with row.case((field, arguments)):
                refused(served, ada, "{ " + field % arguments + " }", WRONG)
        values: list[Any] = [0, -1, 201, 2**31, 1.5, "20", True, [], {}, None]
        for value in values:
            with row.case((field, "variable", value)):
                refused_by_page(ada, "query($n: Int!) { " + field % "first: $n" + " }", {"n": value})


def refused_by_page(person: Person, text: str, variables: Any = None) -> None:
    answer = person.post(text, variables).json()
    assert not answer.get("data")
    assert answer["errors"][0]["extensions"]["code"] == WRONG


def chained(count: int, width: int, leaf: str = "id") -> str:
    spread = " ".join(f"fragment f{n} on Viewer {{ {' '.join([f'...f{n + 1}'] * width)} }}" for n in range(count))
    return f"{{ viewer {{ ...f0 }} }} {spread} fragment f{count} on Viewer {{ {leaf} }}"


def test_a6_what_explodes_costs_next_to_nothing(served: Served, ada: Person, row: Row) -> None:
    """250 ms of processor time each, however it is answered; never an error of ours."""
    texts: dict[str, tuple[str, Any]] = {}
    for count, width in ((10, 2), (20, 2), (30, 2), (40, 2), (60, 3), (15, 10), (100, 2)):
        texts[f"fragments {width}^{count}"] = chained(count, width), None
        texts[f"fragments {width}^{count} of aliases"] = chained(count, width, "a: id"), None
        texts[f"fragments {width}^{count} of unknown fields"] = chained(count, width, "nope"), None
    for size in (1, 2, 3, 10, 60):
        circle = " ".join(f"fragment f{n} on Viewer {{ ...f{(n + 1) % size} }}" for n in range(size))
        texts[f"a circle of {size}"] = f"{{ viewer {{ ...f0 }} }} {circle}", None
    for operations, fragments in ((10, 20), (36, 58)):
        chain = " ".join(f"fragment f{n} on Viewer {{ ...f{n + 1} }}" for n in range(fragments))
        asking = " ".join(f"query($n: Int = {n}) {{ ...f0 }}" for n in range(operations))
        texts[f"{operations} operations over {fragments} fragments, each with a default of its own"] = (
            f"{asking} {chain} fragment f{fragments} on Viewer {{ accounts(first: $n) {{ totalCount }} }}",
            None,
        )
    for ways in (50, 150, 300, 600):
        texts[f"{ways} overlapping fields"] = "{ viewer {" + "id " * ways + "} }", None
        texts[f"{ways} overlapping objects"] = "{" + "viewer { id } " * (ways // 2) + "}", None
        texts[f"{ways} overlapping inline fragments"] = (
            "{ viewer {" + "... on Viewer { id } " * (ways // 4) + "} }",
            None,
        )
        names = " ".join(f"fragment f{n} on Viewer {{ accounts {{ totalCount }} }}" for n in range(ways // 12))
        spread = " ".join(f"...f{n}" for n in range(ways // 12))
        texts[f"{ways // 12} overlapping fragments"] = f"{{ viewer {{ {spread} }} }} {names}", None
        conflicts = " ".join(f"x: {name}" for name in ("id", "subject", "roles") * (ways // 9))
        texts[f"{ways} conflicts"] = f"{{ viewer {{ {conflicts} }} }}", None
    for count in (100, 300, 3_000):
        declared = " ".join(f"$v{n}: Int" for n in range(count))
        texts[f"{count} variables"] = f"query({declared}) {{ viewer {{ id }} }}", {f"v{n}": 1 for n in range(count)}
        texts[f"{count} variables nobody declared"] = "{ viewer { id } }", {f"v{n}": 1 for n in range(count)}
        texts[f"{count} operations"] = " ".join(f"query Q{n} {{ viewer {{ id }} }}" for n in range(count)), None
        texts[f"{count} unknown fields"] = "{" + " ".join(f"u{n}" for n in range(count)) + "}", None
        texts[f"{count} unknown fragments"] = "{" + " ".join(f"...u{n}" for n in range(count)) + "}", None
        texts[f"{count} unused fragments"] = (
            "{ viewer { id } }" + " ".join(f" fragment u{n} on Viewer {{ id }}" for n in range(count)),
            None,
        )
        texts[f"{count} arguments"] = "{ node(" + " ".join(f"a{n}: 1" for n in range(count)) + ") { id } }", None
    for digits in (10, 1_000, 10_000, 95_000):
        texts[f"an integer of {digits} digits"] = (
            f"{{ auditTrail(first: {'9' * digits}) {{ pageInfo {{ hasNextPage }} }} }}",
            None,
        )
        texts[f"a float of {digits} digits"] = (
            f"{{ auditTrail(first: 1.{'9' * digits}) {{ pageInfo {{ hasNextPage }} }} }}",
            None,
        )
        texts[f"an exponent of {digits} digits"] = (
            f"{{ auditTrail(first: 1e{'9' * digits}) {{ pageInfo {{ hasNextPage }} }} }}",
            None,
        )
        texts[f"a variable of {digits} digits"] = (
            "query($n: Int!) { auditTrail(first: $n) { pageInfo { hasNextPage } } }",
            {"n": "9" * digits},
        )
        texts[f"a name of {digits} letters"] = f"{{ {'a' * digits} }}", None
        texts[f"a comment of {digits} letters"] = f"# {'a' * digits}\n{{ viewer {{ id }} }}", None
        texts[f"a string of {digits} letters"] = f'{{ node(id: "{"a" * digits}") {{ id }} }}', None
        texts[f"{digits} commas"] = f"{{ viewer {{ id }} {',' * digits} }}", None
    for name, (text, variables) in texts.items():
        with row.case(name):
            answer, spent = measured(ada, text, variables, 0.25)
            assert spent <= 0.25
            assert answer.status_code < 500
            assert "INTERNAL" not in answer.text
            assert len(answer.content) < 5_000, "and the answer is no bigger than it need be"
