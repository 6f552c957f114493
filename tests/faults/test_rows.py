from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults.rows import ELSEWHERE

TESTS = Path(__file__).parent.parent


@pytest.mark.parametrize("row", ELSEWHERE)
def test_a_row_that_is_said_to_be_proven_elsewhere_is(row: str) -> None:
    for place in ELSEWHERE[row]:
        module, _, name = place.partition("::")
        assert re.search(rf"^(async )?def {name}\(", (TESTS / module).read_text(), re.MULTILINE), place
