"""Which row of the mirror each told transaction is: pure, so that any order of pages comes to the same rows.

A booking finds the pending row it books by the reference that it names. Where it names none, by amount, day and name, and only if that
row is going away in the same update and nothing else fits: two of a kind stay apart rather than be taken for one another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4, uuid5

from isthmus.domain.bank_transactions import BankTransaction, BankTransactionStatus

#: How long after it was made a pending transaction may be booked under another name, and still be taken for the same.
_WINDOW = timedelta(days=10)


@dataclass(frozen=True)
class Row:
    """A row as it stands. `told` is what it says; `status` may be VOIDED as well."""

    row_id: UUID
    account_id: UUID
    reference: str | None
    was_reference: str | None
    status: str
    told: BankTransaction


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
) -> Plan:
    """Of one account. `rows`: those that are pending or gone, and those with a reference that is told, removed or booked."""
    made = Plan()
    latest: dict[str, BankTransaction] = {}
    nameless: list[BankTransaction] = []
    for one in told:
        if one.reference is None:
            nameless.append(one)
        else:
            known = latest.get(one.reference)
            if known is None or not (_posted(known) and not _posted(one)):
                latest[one.reference] = one
    by_reference = {row.reference: row for row in rows if row.reference is not None}
    by_former = {row.was_reference: row for row in rows if row.was_reference is not None}
    booked_here = {one.posts for one in latest.values() if _posted(one) and one.posts is not None}
    left = set(removed) - latest.keys()
    leaving = {by_reference[name].row_id for name in left if name in by_reference}
    nameless_rows, kept_nameless = _nameless(rows, nameless)
    if whole_pending:
        still = {by_reference[name].row_id for name in latest if name in by_reference} | kept_nameless
        leaving |= {row.row_id for row in rows if row.status == "PENDING"} - still
    taken: set[UUID] = set()
    seeking: list[BankTransaction] = []
    for name, one in latest.items():
        row = by_reference.get(name)
        if row is not None:
            taken.add(row.row_id)
            _retold(made, row, one)
        elif name in by_former or (not _posted(one) and name in booked_here):
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
    return made


def _retold(made: Plan, row: Row, one: BankTransaction) -> None:
    """The same reference again: what it says now, but never back from booked to pending."""
    if row.status == "POSTED" and not _posted(one):
        return
    if (row.status, row.told, row.told.raw) != (one.status.value, one, one.raw):
        made.changed.append(Row(row.row_id, row.account_id, row.reference, row.was_reference, one.status.value, one))


def _booked(row: Row, one: BankTransaction) -> Row:
    former = row.reference if row.reference != one.reference else row.was_reference
    return Row(row.row_id, row.account_id, one.reference, former or one.posts, one.status.value, one)


def _new(provider: str, account_id: UUID, one: BankTransaction, was: str | None = None) -> Row:
    row_id = uuid5(account_id, f"{provider} {one.reference}") if one.reference is not None else uuid4()
    return Row(row_id, account_id, one.reference, was, one.status.value, one)


def _pairs(seeking: Sequence[BankTransaction], going: Sequence[Row]) -> dict[int, Row]:
    """Bookings and rows that fit one another and nothing else."""
    fits = {n: [row for row in going if _fits(one, row)] for n, one in enumerate(seeking)}
    wanted: dict[UUID, int] = defaultdict(int)
    for rows in fits.values():
        for row in rows:
            wanted[row.row_id] += 1
    return {n: rows[0] for n, rows in fits.items() if len(rows) == 1 and wanted[rows[0].row_id] == 1}


def _fits(one: BankTransaction, row: Row) -> bool:
    if row.told.status is BankTransactionStatus.POSTED or row.reference == one.reference:
        return False
    if (row.told.amount, row.told.asset) != (one.amount, one.asset):
        return False
    made, booked = row.told.made_on or row.told.day, one.booked_on
    if made is None or booked is None or not timedelta(0) <= booked - made <= _WINDOW:
        return False
    if one.made_on is not None and row.told.made_on is not None and one.made_on not in (row.told.made_on, booked):
        return False
    return _name(row.told) == _name(one)


def _nameless(rows: Sequence[Row], told: Sequence[BankTransaction]) -> tuple[list[BankTransaction], set[UUID]]:
    """Pending ones that have no reference: which of those told are new, and which rows are still there."""
    waiting: dict[object, list[UUID]] = defaultdict(list)
    for row in rows:
        if row.reference is None and row.status == "PENDING":
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
