"""Which row a told transaction is: one id from pending to posted, the same rows whatever the order of pages, nothing taken for another."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.domain.bank_transactions import BankTransaction, BankTransactionStatus, Counterparty
from isthmus.write_models.bank_matching import Row, plan

ACCOUNT = UUID(int=7)
DAY = date(2026, 11, 1)


def pending(reference: str | None, amount: str = "-5.00", day: int = 0, name: str = "Metro") -> BankTransaction:
    made = DAY + timedelta(days=day)
    return BankTransaction(
        "a",
        reference,
        Decimal(amount),
        "EUR",
        BankTransactionStatus.PENDING,
        None,
        made_on=made,
        counterparty=Counterparty(name),
    )


def posted(
    reference: str, amount: str = "-5.00", day: int = 1, name: str = "Metro", posts: str | None = None
) -> BankTransaction:
    return BankTransaction(
        "a",
        reference,
        Decimal(amount),
        "EUR",
        BankTransactionStatus.POSTED,
        DAY + timedelta(days=day),
        counterparty=Counterparty(name),
        posts=posts,
    )


@dataclass
class Mirror:
    """What `bank_rows` does with a plan, in memory."""

    rows: dict[UUID, Row] = field(default_factory=dict)

    def take(
        self,
        told: Sequence[BankTransaction],
        removed: Sequence[str] = (),
        *,
        whole: bool = False,
        booked_since: date | None = None,
    ) -> None:
        names = {one.reference for one in told} | {one.posts for one in told} | set(removed)
        seen = [
            row
            for row in self.rows.values()
            if row.status in ("PENDING", "VOIDED")
            or booked_since
            or {row.reference, row.was_reference} & (names - {None})
        ]
        made = plan("plaid", ACCOUNT, seen, told, removed, whole_pending=whole, booked_since=booked_since)
        for row in (*made.fresh, *made.changed):
            self.rows[row.row_id] = row
        for row_id in made.voided:
            self.rows[row_id] = replace(self.rows[row_id], status="VOIDED")

    def shown(self) -> set[tuple[str | None, str, str]]:
        return {
            (row.reference, str(row.told.amount), row.status) for row in self.rows.values() if row.status != "VOIDED"
        }

    def only(self) -> Row:
        (row,) = [row for row in self.rows.values() if row.status != "VOIDED"]
        return row


def test_a_booking_that_names_its_pending_transaction_keeps_its_id() -> None:
    mirror = Mirror()
    mirror.take([pending("p1")])
    before = mirror.only().row_id

    mirror.take([posted("t1", amount="-5.20", posts="p1")], ["p1"])

    assert mirror.only().row_id == before
    assert mirror.shown() == {("t1", "-5.20", "POSTED")}


def test_a_booking_that_names_none_keeps_the_id_where_only_one_fits() -> None:
    mirror = Mirror()
    mirror.take([pending("p1"), pending("p2", "-7.00")])
    before = {row.reference: row.row_id for row in mirror.rows.values()}

    mirror.take([posted("t1")], ["p1"])

    assert next(row for row in mirror.rows.values() if row.reference == "t1").row_id == before["p1"]
    assert mirror.shown() == {("t1", "-5.00", "POSTED"), ("p2", "-7.00", "PENDING")}


def test_two_of_a_kind_are_not_taken_for_one_another() -> None:
    mirror = Mirror()
    mirror.take([pending("p1"), pending("p2")])
    before = set(mirror.rows)

    mirror.take([posted("t1"), posted("t2")], ["p1", "p2"])

    assert {row.row_id for row in mirror.rows.values() if row.status == "POSTED"}.isdisjoint(before)


def test_a_booking_may_come_before_its_pending_transaction_goes() -> None:
    mirror = Mirror()
    mirror.take([pending("p1")])
    before = mirror.only().row_id
    mirror.take([posted("t1", posts="p1")])
    mirror.take([], ["p1"])

    assert mirror.only().row_id == before
    assert mirror.shown() == {("t1", "-5.00", "POSTED")}


def test_a_booking_may_come_after_its_pending_transaction_went() -> None:
    mirror = Mirror()
    mirror.take([pending("p1")])
    before = mirror.only().row_id
    mirror.take([], ["p1"])
    assert mirror.shown() == set()
    mirror.take([posted("t1", posts="p1")])

    assert mirror.only().row_id == before


def test_what_is_booked_never_goes_back() -> None:
    mirror = Mirror()
    mirror.take([pending("t1")])
    mirror.take([posted("t1")])
    mirror.take([pending("t1")])

    assert mirror.shown() == {("t1", "-5.00", "POSTED")}


def test_pending_ones_without_a_name_are_told_apart_by_what_they_are() -> None:
    mirror = Mirror()
    mirror.take([pending(None), pending(None), pending(None, "-9.00")], whole=True)
    before = {row.row_id for row in mirror.rows.values() if row.told.amount == Decimal("-5.00")}
    mirror.take([pending(None)], whole=True)

    left = mirror.only()
    assert left.row_id in before


@dataclass(frozen=True)
class _Movement:
    number: int
    amount: str
    day: int
    names_pending: bool


MOVEMENTS = st.lists(
    st.tuples(st.integers(1, 9_999), st.integers(0, 20), st.booleans()),
    min_size=1,
    max_size=12,
    unique_by=lambda one: one[0],
).map(lambda some: [_Movement(n, f"-{cents / 100:.2f}", day, named) for n, (cents, day, named) in enumerate(some)])


@settings(max_examples=200)
@given(MOVEMENTS, st.integers(0, 2**32))
def test_however_an_update_is_paged_repeated_and_ordered_the_rows_are_the_banks(
    movements: list[_Movement], seed: int
) -> None:
    """Each movement is pending, then booked under another name; updates come in order, what is in one in any order, and again."""
    chance, mirror = random.Random(seed), Mirror()
    first = [pending(f"p{one.number}", one.amount, one.day) for one in movements]
    second = [
        posted(f"t{one.number}", one.amount, one.day + 1, posts=f"p{one.number}" if one.names_pending else None)
        for one in movements
    ]
    gone = [f"p{one.number}" for one in movements]
    for update, removed in ((first, []), (second, gone)):
        for _ in range(chance.randint(1, 3)):
            told = [*update, *chance.sample(update, chance.randint(0, len(update)))]
            chance.shuffle(told)
            names = [*removed, *chance.sample(removed, chance.randint(0, len(removed)))]
            chance.shuffle(names)
            if update is first and mirror.rows:
                ids = set(mirror.rows)
                mirror.take(told, names)
                assert set(mirror.rows) == ids
            else:
                mirror.take(told, names)

    assert mirror.shown() == {(f"t{one.number}", one.amount, "POSTED") for one in movements}
    assert len(mirror.rows) == len(movements), "each has one row, and its id, for life"


def test_two_bookings_of_one_pending_transaction_are_two_and_the_first_is_its_own() -> None:
    mirror = Mirror()
    mirror.take([pending("p1")])
    before = mirror.only().row_id
    mirror.take([posted("t1", "-2.00", posts="p1"), posted("t2", "-3.00", posts="p1")], ["p1"])
    mirror.take([posted("t3", "-1.00", posts="p1")])

    assert mirror.shown() == {("t1", "-2.00", "POSTED"), ("t2", "-3.00", "POSTED"), ("t3", "-1.00", "POSTED")}
    assert next(row for row in mirror.rows.values() if row.reference == "t1").row_id == before
    assert Counter(row.was_reference for row in mirror.rows.values())["p1"] == 1


def test_a_booking_that_is_taken_back_and_told_again_keeps_its_id() -> None:
    mirror = Mirror()
    mirror.take([posted("t1"), posted("t5", "-9.00")])
    before = {row.reference: row.row_id for row in mirror.rows.values()}

    mirror.take([posted("t2")], ["t1"])
    mirror.take([posted("t6", "-9.00", day=2)], ["t5"])

    rows = {row.reference: row.row_id for row in mirror.rows.values() if row.status != "VOIDED"}
    assert rows["t2"] == before["t1"]
    assert rows["t6"] != before["t5"], "of another day: another one"


def test_a_booking_that_is_told_under_its_first_name_again_is_there_still() -> None:
    mirror = Mirror()
    mirror.take([posted("t1")])
    before = mirror.only().row_id
    mirror.take([posted("t2")], ["t1"])
    mirror.take([posted("t1")], ["t2"])

    assert (mirror.only().row_id, mirror.only().reference) == (before, "t1")


def test_what_a_window_does_not_tell_any_more_was_taken_back() -> None:
    mirror = Mirror()
    mirror.take([posted("t1", day=1), posted("t2", "-6.00", day=5), posted("t3", "-7.00", day=6)])
    mirror.take([posted("t3", "-7.00", day=6)], booked_since=DAY + timedelta(days=2))

    assert mirror.shown() == {("t1", "-5.00", "POSTED"), ("t3", "-7.00", "POSTED")}, (
        "what is before it is not asked for"
    )
    mirror.take([posted("t2", "-6.00", day=5), posted("t3", "-7.00", day=6)], booked_since=DAY + timedelta(days=2))
    assert len(mirror.rows) == 3, "it comes back as what it was"


def test_which_pending_one_it_books_is_not_forgotten_when_it_is_told_twice() -> None:
    mirror = Mirror()
    mirror.take([pending("p1")])
    before = mirror.only().row_id
    mirror.take([posted("t1", "-8.00", posts="p1"), posted("t1", "-8.50")], ["p1"])

    assert mirror.only().row_id == before
    assert mirror.shown() == {("t1", "-8.50", "POSTED")}


def test_twice_as_many_alike_take_twice_as_long_and_not_four_times() -> None:
    assert _calls_to_match(800) < 3 * _calls_to_match(400)


def _calls_to_match(rows: int) -> int:
    """How often Python calls something: what it takes, on every machine alike."""
    mirror, calls = Mirror(), 0
    mirror.take([posted(f"a{n}", day=n % 9) for n in range(rows)])

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        mirror.take([posted(f"b{n}", day=n % 9) for n in range(rows)], [f"a{n}" for n in range(rows)])
    finally:
        sys.setprofile(before)
    assert len(mirror.shown()) == rows
    return calls
