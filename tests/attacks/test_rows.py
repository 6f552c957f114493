"""Every row of the matrix whose part exists has a test that is named after it."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.attacks.count import ROWS, row_of

#: Rows whose parts are not built yet.
NOT_YET: set[str] = set()


def test_every_row_has_a_test_and_every_test_has_a_row() -> None:
    found: set[str] = set()
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        if file.name == Path(__file__).name:
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                row = row_of(node.name)
                assert row in ROWS, f"{file.name}: {node.name} is named after no row"
                found.add(row)
    assert set(ROWS) - NOT_YET <= found
