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


#: Rows that are tried where the part is that they attack: devices, digests, the providers' signatures.
BESIDE_THEIR_PARTS = ("D1", "D2", "D6", "D7", *(f"E{n}" for n in range(1, 8)))


def test_every_row_that_is_tried_beside_its_part_has_a_test_of_its_name() -> None:
    names = {
        node.name
        for file in Path(__file__).parent.parent.rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for row in BESIDE_THEIR_PARTS:
        assert any(f"_{row.lower()}_" in name for name in names if name.startswith("test_")), row
