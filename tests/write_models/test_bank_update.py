"""Pages of an update put together: the last word counts, whichever page it is on, and what has no place is left out with a word."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from isthmus.domain.bank_transactions import MalformedTransaction
from isthmus.domain.banking import ProviderAccount, Removed, SyncPage
from isthmus.write_models.bank_update import Update
from tests.write_models.test_bank_matching import pending, posted

ACCOUNT = ProviderAccount("a", "Everyday", "EUR")


def told(update: Update) -> list[str | None]:
    return [one.reference for one in update.changed]


def test_what_a_later_page_takes_back_is_not_told() -> None:
    update = Update(first=False)
    update.add(SyncPage(changed=(pending("p1"), posted("t1"))))
    update.add(SyncPage(removed=(Removed("a", "p1"),)))

    assert told(update) == ["t1"]
    assert [one.reference for one in update.removed] == ["p1"]


def test_what_a_later_page_tells_again_is_not_taken_back() -> None:
    update = Update(first=False)
    update.add(SyncPage(removed=(Removed("a", "t1"),)))
    update.add(SyncPage(changed=(posted("t1"),)))

    assert told(update) == ["t1"]
    assert update.removed == []


def test_a_pending_one_without_a_day_is_left_out_and_a_booked_one_refused() -> None:
    update = Update(first=False)
    update.add(SyncPage(changed=(replace(pending("p1"), made_on=None), pending("p2"))))

    assert told(update) == ["p2"]
    assert update.left_out == {"a pending transaction is left out: it has no day"}
    with pytest.raises(MalformedTransaction):
        update.add(SyncPage(changed=(replace(posted("t1"), booked_on=None),)))


def test_a_first_update_tells_all_there_is_since_its_first_day() -> None:
    update = Update(first=True)
    update.add(SyncPage((ACCOUNT,), (posted("t1", day=5), posted("t2", day=9))))

    assert update.whole_pending == {"a"}
    assert update.booked_since("a") == date(2026, 11, 5)
    later = Update(first=False)
    later.add(SyncPage((ACCOUNT,), (posted("t1", day=5),)))
    assert (later.whole_pending, later.booked_since("a")) == (set(), None)
