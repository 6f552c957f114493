"""Names as banks compare them: what is the same, what is close, and what is somebody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.domain.names import Likeness, likeness, readings, words

M, C, N = Likeness.MATCH, Likeness.CLOSE, Likeness.NONE


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("John Smith", "Smith, John", M),
        ("Mr John Smith", "john  SMITH", M),
        ("Владимир Петров", "Vladimir Petrov", M),
        ("Siobhán O'Brien", "Siobhan OBrien", M),
        ("Siobhan O’Brien", "siobhan obrien", M),
        ("Acme Trading Limited", "ACME Trading Ltd.", M),
        ("J Smith", "John Smith", C),
        ("John Smlth", "John Smith", C),
        ("Müller Anna", "Mueller Anna", C),
        ("Ann Marie Jones", "Ann Jones", C),
        ("John Smith", "Jane Smith", N),
        ("Smith", "John Smith", N),
        ("J Smith", "Adam Jones", N),
        ("Acme Trading", "Acme", N),
        ("HMRC", "HM Revenue and Customs", N),
        ("", "", N),
        ("Mr", "Mr", N),
    ],
)
def test_pairs(one: str, other: str, expected: Likeness) -> None:
    assert likeness(words(one), words(other)) is expected


_NAMES = st.lists(st.text("abcdeé жщüñ'", min_size=1, max_size=8), min_size=1, max_size=4).map(" ".join)


@given(_NAMES, _NAMES)
def test_it_is_the_same_from_both_sides(one: str, other: str) -> None:
    assert likeness(words(one), words(other)) is likeness(words(other), words(one))


@given(_NAMES, st.randoms(use_true_random=False))
def test_neither_order_nor_case_nor_titles_matter(name: str, chance: object) -> None:
    parts = name.upper().split()
    chance.shuffle(parts)  # type: ignore[attr-defined]  # hypothesis gives a Random
    assert words("Dr " + " ".join(parts)) == words(name.upper())


@given(_NAMES, _NAMES)
def test_equal_words_and_nothing_else_are_a_match(one: str, other: str) -> None:
    same = bool(words(one)) and words(one) == words(other)
    assert (likeness(words(one), words(other)) is M) is same


def test_letters_that_only_look_the_same_are_read_both_ways() -> None:
    disguised = "Mоrdесаi Vаnе"  # Cyrillic о, е, с, а
    assert words("Mordecai Vane") in readings(disguised)
    assert readings("Mordecai Vane") == (words("Mordecai Vane"),)
