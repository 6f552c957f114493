"""Texts that are shown to whoever is to authorise something look as they are written."""

from __future__ import annotations

import pytest

from isthmus.domain.validation import shown_fault


@pytest.mark.parametrize(
    "hidden",
    ["\n", "\r", "\t", "\x1b", "\x85", "\u2028", "\u2029", "\u202e", "\u2067", "\u200f", "\u061c", "\0", "\ud800"],
)
def test_nothing_that_hides_or_turns_what_stands_beside_it_is_taken(hidden: str) -> None:
    assert shown_fault(f"Bob{hidden}Builder", ("input", "payee", "name")) is not None


@pytest.mark.parametrize(
    "written",
    [
        "Bob Builder",
        "Jürgen Müller-Lüdenscheidt",
        "محمد علي",
        "שרה כהן",
        "山田 太郎",
        "می\u200cخواهم",
        "👩\u200d🚀 Ltd.",
    ],
)
def test_names_of_all_the_world_are(written: str) -> None:
    assert shown_fault(written, ("input", "payee", "name")) is None
