"""Two books beside each other: nothing is lost, nothing counted twice, and it does not matter who comes first."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.domain.reconciliation import Class, Entry, Pair, pairs_of, sums_of, within

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
SINCE, UNTIL = NOON - timedelta(hours=12), NOON + timedelta(hours=12)

_halves = st.builds(
    Entry,
    st.just(""),
    st.integers(-20, 20).map(lambda hours: NOON + timedelta(hours=hours)),
    st.integers(-3, 3).filter(bool).map(lambda cents: Decimal(cents) / 100),
    st.frozensets(st.sampled_from("abcde"), max_size=2),
)


@st.composite
def books(draw: st.DrawFn) -> tuple[list[Entry], list[Entry]]:
    """Few names and few amounts, so that they meet often, also several under one name."""
    sides = draw(st.lists(_halves, max_size=7)), draw(st.lists(_halves, max_size=7))
    ours, theirs = (
        [replace(one, key=f"{side}{n}") for n, one in enumerate(some)] for side, some in zip("ot", sides, strict=True)
    )
    return ours, theirs


def turned(pairs: tuple[Pair, ...]) -> set[Pair]:
    return {Pair(pair.theirs, pair.ours) for pair in pairs}


@settings(max_examples=60)
@given(books())
def test_every_entry_of_both_books_ends_in_exactly_one_class(both: tuple[list[Entry], list[Entry]]) -> None:
    ours, theirs = both
    pairs = pairs_of(ours, theirs)

    assert sorted(pair.ours.key for pair in pairs if pair.ours) == sorted(one.key for one in ours)
    assert sorted(pair.theirs.key for pair in pairs if pair.theirs) == sorted(one.key for one in theirs)
    for pair in pairs:
        if pair.ours and pair.theirs:
            assert pair.ours.names & pair.theirs.names, "nothing belongs together that is not called alike"
    alone = [pair for pair in pairs if pair.theirs is None], [pair for pair in pairs if pair.ours is None]
    for one in alone[0]:
        assert not any(one.ours and other.theirs and one.ours.names & other.theirs.names for other in alone[1])


@settings(max_examples=60)
@given(books(), st.randoms(use_true_random=False))
def test_whoever_comes_first_and_in_whatever_order_the_same_is_found(
    both: tuple[list[Entry], list[Entry]], chance: random.Random
) -> None:
    ours, theirs = both
    found = pairs_of(ours, theirs)

    assert turned(pairs_of(theirs, ours)) == set(found)
    assert pairs_of(chance.sample(ours, len(ours)), chance.sample(theirs, len(theirs))) == found


@settings(max_examples=60)
@given(books())
def test_the_sums_of_the_classes_are_what_each_book_moved_that_day(both: tuple[list[Entry], list[Entry]]) -> None:
    sums = sums_of(within(pairs_of(*both), SINCE, UNTIL), SINCE, UNTIL)

    for side, some in zip(("ours", "theirs"), both, strict=True):
        that_day = [one.amount for one in some if SINCE <= one.at < UNTIL]
        assert sum(getattr(one, side) for one in sums.values()) == sum(that_day)
        assert sum(getattr(one, f"{side}_count") for one in sums.values()) == len(that_day)


def entry(key: str, amount: str = "-12.00", at: datetime = NOON, names: str = "") -> Entry:
    return Entry(key, at, Decimal(amount), frozenset(names.split() or [key]))


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        ([entry("j", names="p")], [entry("p")], [Class.MATCHED]),
        ([entry("j", names="p")], [], [Class.MISSING]),
        ([], [entry("p")], [Class.EXTRA]),
        ([entry("j", names="p")], [entry("p", "-12.01")], [Class.DIFFERING]),
        ([entry("j", names="p")], [entry("p", "12.00")], [Class.DIFFERING]),
        # As much, but of another name: two things to look at, and not one that looks well.
        ([entry("j", names="p")], [entry("q")], [Class.MISSING, Class.EXTRA]),
        # Booked twice there.
        ([entry("j", names="p")], [entry("p"), entry("r", names="p")], [Class.MATCHED, Class.EXTRA]),
        ([entry("j", names="p")], [entry("a", "-3.00", names="p"), entry("p")], [Class.MATCHED, Class.EXTRA]),
    ],
)
def test_entries_belong_together_by_name_never_by_amount(
    ours: list[Entry], theirs: list[Entry], found: list[Class]
) -> None:
    assert sorted(pair.found for pair in pairs_of(ours, theirs)) == sorted(found)


def test_of_several_that_are_alike_the_nearest_in_time_belong_together() -> None:
    early, late = NOON, NOON + timedelta(hours=3)
    theirs = [entry("a", at=late, names="p"), entry("b", at=early, names="p")]
    pairs = pairs_of([entry("j", at=early, names="p"), entry("k", at=late, names="p")], theirs)

    assert {(pair.ours.key, pair.theirs.key) for pair in pairs if pair.ours and pair.theirs} == {("j", "b"), ("k", "a")}


def test_midnight_is_of_the_day_that_it_begins() -> None:
    pairs = pairs_of([entry("j", at=UNTIL)], [])

    assert within(pairs, SINCE, UNTIL) == ()
    assert within(pairs, UNTIL, UNTIL + timedelta(days=1)) == pairs


def test_what_is_booked_on_either_side_of_midnight_is_matched_on_both_days_and_counted_once_on_each() -> None:
    before, after = UNTIL - timedelta(minutes=1), UNTIL + timedelta(minutes=1)
    pairs = pairs_of([entry("j", at=after, names="p")], [entry("p", at=before)])

    today = sums_of(within(pairs, SINCE, UNTIL), SINCE, UNTIL)[Class.MATCHED]
    tomorrow = sums_of(within(pairs, UNTIL, UNTIL + timedelta(days=1)), UNTIL, UNTIL + timedelta(days=1))[Class.MATCHED]
    assert ((today.ours_count, today.theirs_count), (tomorrow.ours_count, tomorrow.theirs_count)) == ((0, 1), (1, 0))
    assert within(pairs, SINCE - timedelta(days=1), SINCE) == ()
