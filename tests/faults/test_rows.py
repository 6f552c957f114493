"""Every row of the fault matrix has a test: one in this folder that is named after it, or one elsewhere that `rows.py` names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.faults.rows import ELSEWHERE, ROWS

TESTS = Path(__file__).parent.parent
_NAMED = re.compile(r"test_f(\d+)_")


def _tests_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}


def _proven_here() -> set[str]:
    names = (name for file in Path(__file__).parent.glob("test_*.py") for name in _tests_of(file))
    return {f"F{found[1]}" for name in names if (found := _NAMED.match(name))}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_a_test(row: str) -> None:
    assert row in _proven_here() | ELSEWHERE.keys()


def test_every_test_that_is_named_after_a_row_and_every_one_that_is_listed_has_a_row() -> None:
    assert _proven_here() | ELSEWHERE.keys() <= set(ROWS)


@pytest.mark.parametrize("row", ELSEWHERE)
def test_a_row_that_is_said_to_be_proven_elsewhere_is(row: str) -> None:
    assert ELSEWHERE[row], "by some test"
    for place in ELSEWHERE[row]:
        module, _, name = place.partition("::")
        assert name in _tests_of(TESTS / module), place
