"""The page of dialects says what the tests use, and every dialect is on it."""

from __future__ import annotations

from pathlib import Path

from tests.integrations.banking.dialects import DIALECTS
from tests.integrations.banking.page import SAYS, page

ROOT = Path(__file__).parents[3]


def test_the_page_is_in_sync() -> None:
    written = (ROOT / "docs" / "bank-transactions.md").read_text(encoding="utf-8")

    assert written == page(), "make it anew: python -m tests.integrations.banking.page > docs/bank-transactions.md"


def test_every_dialect_is_told_of() -> None:
    assert SAYS.keys() == DIALECTS.keys()
