"""Which row of the mirror each told transaction is: pure, so that any order of pages comes to the same rows.

A booking finds the pending row it books by the reference that it names. Where it names none, or comes again under a new name, by
amount, day and name, and only if that row is going away in the same update and nothing else fits: two of a kind stay apart rather than
be taken for one another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from uuid import UUID, uuid4, uuid5

from isthmus.domain.bank_transactions import BankTransaction, BankTransactionStatus

#: So many days after it was made a pending transaction may be booked under another name, and still be taken for the same.
WINDOW_DAYS = 10
#: More than so many of one amount are not told apart.
_ALIKE_MAX = 50


@dataclass(frozen=True)
class Row:
    """A row as it stands. `told` is what it says; `status` may be VOIDED as well. `foreign`: another provider told of it."""

    row_id: UUID
    account_id: UUID
    reference: str | None
    was_reference: str | None
    status: str
    told: BankTransaction
    foreign: bool = False


@dataclass
class Plan:
    """`fresh` are new rows, `changed` rows that say something else now, `voided` rows that are gone."""

    fresh: list[Row] = field(default_factory=list)
    changed: list[Row] = field(default_factory=list)
    voided: list[UUID] = field(default_factory=list)


def plan(
    provider: str,
    account_id: UUID,
    rows: Sequence[Row],
    told: Iterable[BankTransaction],
    removed: Iterable[str],
    *,
    whole_pending: bool,
    booked_since: date | None = None,
) -> Plan:
    """Of one account. `rows`: those that are pending or gone, and those with a reference that is told, removed or booked.

    `booked_since`: all that was booked after that day is told, so that what is not was taken back. None where changes are told: then
    only what is said to be gone is.
    """
    made = Plan()
    latest, nameless = _latest(told)
    by_reference = {row.reference: row for row in rows if row.reference is not None}
    formerly = {row.was_reference: row.row_id for row in rows if row.was_reference is not None}
    booked_here = {one.posts for one in latest.values() if _posted(one) and one.posts is not None}
    left = set(removed) - latest.keys()
    leaving = {by_reference[name].row_id for name in left if name in by_reference}
    nameless_rows, kept_nameless = _nameless(rows, nameless)
    still = {by_reference[name].row_id for name in latest if name in by_reference} | kept_nameless
    if whole_pending:
        leaving |= {row.row_id for row in rows if row.status == "PENDING"} - still
    if booked_since is not None:
        leaving |= {row.row_id for row in rows if _booked_after(row, booked_since)} - still
    taken: set[UUID] = set()
    seeking: list[BankTransaction] = []
    for name, one in latest.items():
        row = by_reference.get(name)
        if row is not None:
            taken.add(row.row_id)
            _retold(made, row, one)
        elif (name in formerly and not (_posted(one) and formerly[name] in leaving)) or (
            not _posted(one) and name in booked_here
        ):
            continue  # it is booked already, under another name
        elif _posted(one):
            row = by_reference.get(one.posts) if one.posts is not None else None
            if row is not None and row.row_id not in taken and row.status != "POSTED":
                taken.add(row.row_id)
                made.changed.append(_booked(row, one))
            else:
                seeking.append(one)
        else:
            made.fresh.append(_new(provider, account_id, one))
    going = [row for row in rows if row.row_id not in taken and (row.row_id in leaving or row.status == "VOIDED")]
    pairs = _pairs(seeking, going)
    for n, one in enumerate(seeking):
        if (row := pairs.get(n)) is not None:
            taken.add(row.row_id)
            made.changed.append(_booked(row, one))
        else:
            made.fresh.append(_new(provider, account_id, one, was=one.posts))
    for one in nameless_rows:
        made.fresh.append(_new(provider, account_id, one))
    made.voided = sorted(row.row_id for row in rows if row.row_id in leaving - taken and row.status != "VOIDED")
    _one_former_name_each(made, formerly)
    return made


def _latest(told: Iterable[BankTransaction]) -> tuple[dict[str, BankTransaction], list[BankTransaction]]:
    """What was told last of each that has a name, but never back from booked to pending; and those without a name."""
    latest: dict[str, BankTransaction] = {}
    nameless: list[BankTransaction] = []
    for one in told:
        if one.reference is None:
            nameless.append(one)
            continue
        known = latest.get(one.reference)
        if known is None or not _posted(known):
            latest[one.reference] = one
        elif _posted(one):  # which pending one it books may be told the first time only
            latest[one.reference] = replace(one, posts=one.posts or known.posts)
    return latest, nameless


def _one_former_name_each(made: Plan, held: Mapping[str, UUID]) -> None:
    """Of two bookings that name the same pending transaction, the first is its booking."""
    taken = dict(held)
    for rows in (made.changed, made.fresh):
        for n, row in enumerate(rows):
            was = row.was_reference
            if was is not None and taken.setdefault(was, row.row_id) != row.row_id:
                rows[n] = replace(row, was_reference=None)


def _retold(made: Plan, row: Row, one: BankTransaction) -> None:
    """The same reference again: what it says now, but never back from booked to pending."""
    if row.status == "POSTED" and not _posted(one):
        return
    if (row.status, row.told, row.told.raw) != (one.status.value, one, one.raw):
        made.changed.append(replace(row, status=one.status.value, told=one))


def _booked(row: Row, one: BankTransaction) -> Row:
    former = row.reference if row.reference != one.reference else row.was_reference
    return Row(row.row_id, row.account_id, one.reference, former or one.posts, one.status.value, one)


def _new(provider: str, account_id: UUID, one: BankTransaction, was: str | None = None) -> Row:
    row_id = uuid5(account_id, f"{provider} {one.reference}") if one.reference is not None else uuid4()
    return Row(row_id, account_id, one.reference, was, one.status.value, one)


def _pairs(seeking: Sequence[BankTransaction], going: Sequence[Row]) -> dict[int, Row]:
    """Bookings and rows that fit one another and nothing else."""
    places: dict[object, list[Row]] = defaultdict(list)
    for row in going:
        places[_place(row)].append(row)
    fits: dict[int, list[Row]] = {}
    wanted: dict[UUID, int] = defaultdict(int)
    crowded: set[object] = set()
    for n, one in enumerate(seeking):
        near = _near(places, one)
        if sum(len(places[place]) for place in near) > _ALIKE_MAX:
            crowded.update(near)  # it may be any of them, so that none of them is another's for certain
            continue
        fits[n] = [row for place in near for row in places[place] if _fits(one, row)]
        for row in fits[n]:
            wanted[row.row_id] += 1
    alone = {n: rows[0] for n, rows in fits.items() if len(rows) == 1 and wanted[rows[0].row_id] == 1}
    return {n: row for n, row in alone.items() if _place(row) not in crowded}


def _near(places: Mapping[object, list[Row]], one: BankTransaction) -> list[object]:
    """Where rows are of its amount, begun on a day from which it may be the booking."""
    if one.booked_on is None or not places:
        return []
    days = (one.booked_on - timedelta(days=n) for n in range(WINDOW_DAYS + 1))
    return [place for day in days if (place := (one.amount, one.asset, day)) in places]


def _place(row: Row) -> object:
    return row.told.amount, row.told.asset, _since(row)


def _fits(one: BankTransaction, row: Row) -> bool:
    """Its amount and days fit already."""
    if row.status == "POSTED":
        # Booked before, and again under another name: what is told of one booking differs between providers, but for its day.
        return row.told.booked_on == one.booked_on and (row.foreign or _name(row.told) == _name(one))
    if (
        one.made_on is not None
        and row.told.made_on is not None
        and one.made_on not in (row.told.made_on, one.booked_on)
    ):
        return False
    return _name(row.told) == _name(one)


def _since(row: Row) -> date | None:
    return row.told.booked_on if row.status == "POSTED" else row.told.made_on or row.told.day


def _booked_after(row: Row, day: date) -> bool:
    return row.status == "POSTED" and row.told.booked_on is not None and row.told.booked_on > day


def _nameless(rows: Sequence[Row], told: Sequence[BankTransaction]) -> tuple[list[BankTransaction], set[UUID]]:
    """Pending ones that have no reference: which of those told are new, and which rows are still there."""
    waiting: dict[object, list[UUID]] = defaultdict(list)
    for row in rows:
        if row.reference is None and row.status == "PENDING" and not row.foreign:
            waiting[_looks(row.told)].append(row.row_id)
    fresh, still = [], set()
    for one in told:
        alike = waiting[_looks(one)]
        if alike:
            still.add(alike.pop(0))
        else:
            fresh.append(one)
    return fresh, still


def _looks(one: BankTransaction) -> object:
    return one.amount, one.asset, one.made_on, _name(one)


def _name(one: BankTransaction) -> str:
    name = one.counterparty.name or one.description or ""
    return "".join(character for character in name.casefold() if character.isalnum())


def _posted(one: BankTransaction) -> bool:
    return one.status is BankTransactionStatus.POSTED
