"""A partition moves by ticks alone, and only over what it has whole."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from isthmus.domain.log import Record, Tick
from isthmus.read_models.projections import Step
from isthmus.read_models.window import Window
from tests.domain.test_log import event

KEYS = [uuid4() for _ in range(3)]


def record(position: int, key: UUID = KEYS[0]) -> Record:
    return Record(key, event(position, key))


def taken(window: Window, *items: Record | Tick) -> tuple[Step | None, int | None]:
    for item in items:
        window.take(item)
    return window.drain()


def test_records_without_their_tick_move_nothing() -> None:
    assert taken(Window(0), record(1), record(2)) == (None, None)


def test_a_tick_that_matches_moves_to_its_end() -> None:
    step, hole = taken(Window(0), record(1), record(3, KEYS[1]), Tick(0, 5, 2))

    assert hole is None
    assert step is not None
    assert (step.start, step.end, [one.position for one in step.records]) == (0, 5, [1, 3])


def test_an_empty_stretch_moves_too() -> None:
    assert taken(Window(4), Tick(4, 9, 0)) == (Step(4, 9, []), None)


@pytest.mark.parametrize(
    ("items", "end"),
    [
        pytest.param([record(1), Tick(0, 3, 2)], 3, id="a record is missing"),
        pytest.param([record(1), record(1), Tick(0, 3, 2)], 3, id="one came twice, another not"),
        pytest.param([Tick(2, 5, 0)], 5, id="a tick before it was lost"),
        pytest.param([record(2), Tick(0, 3, 2), record(4), Tick(3, 4, 1)], 4, id="a hole, then more"),
    ],
)
def test_whatever_is_missing_is_to_be_filled_from_the_store(items: list[Record | Tick], end: int) -> None:
    assert taken(Window(0), *items) == (None, end)


def test_doubles_are_counted_once() -> None:
    first = record(1)
    step, _ = taken(Window(0), first, record(2), first, Tick(0, 2, 2))

    assert step is not None
    assert [one.position for one in step.records] == [1, 2]


def test_two_different_records_in_one_place_are_both_not_believed() -> None:
    """One is forged, whichever came first: the stretch is taken from the event store."""
    assert taken(Window(0), record(1), record(1), record(2), Tick(0, 2, 2)) == (None, 2)


def test_several_ticks_make_one_step_in_log_order() -> None:
    step, _ = taken(Window(0), record(2), record(1), Tick(0, 2, 2), record(3), Tick(2, 3, 1), Tick(3, 3, 0))

    assert step is not None
    assert (step.end, [one.position for one in step.records]) == (3, [1, 2, 3])


def test_old_ticks_and_records_are_nothing_new() -> None:
    window = Window(10)

    assert taken(window, record(9), Tick(5, 9, 1), record(10), Tick(9, 10, 1)) == (None, None)
    assert taken(window, record(11), Tick(10, 11, 1))[0] is not None


def test_a_tick_across_what_was_passed_cannot_be_checked() -> None:
    """Another relay cut its batches elsewhere: rare, and then the store is read."""
    assert taken(Window(10), record(11), Tick(8, 11, 2)) == (None, 11)


def test_a_relay_gone_mad_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.read_models.window.WAITING_MAX", 10)
    window = Window(0)

    assert taken(window, *(record(n) for n in range(1, 50)), Tick(0, 50, 49)) == (None, 50)
