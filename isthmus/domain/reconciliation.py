"""Two books of the same money, entry by entry: what both have, what only one has, and what both have with different amounts.

Entries belong together by what they are called, never by how much they are: of two movements of the same amount one may be anybody's.
When each was booked does not part them, since each book has a clock of its own. Sides are told alike, so that the same is found
whichever comes first, in whatever order its entries come.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from isthmus.domain.money import add


class Class(StrEnum):
    """MISSING: we booked it, and the bank has not. EXTRA: the bank has it, and we booked nothing."""

    MATCHED = "matched"
    MISSING = "missing"
    EXTRA = "extra"
    DIFFERING = "differing"


@dataclass(frozen=True)
class Entry:
    """One movement as one book has it. `key` names it there; `names` are what the other book may know it by. `amount`: plus is in."""

    key: str
    at: datetime
    amount: Decimal
    names: frozenset[str]


@dataclass(frozen=True)
class Pair:
    """At least one of the two is there."""

    ours: Entry | None
    theirs: Entry | None

    @property
    def found(self) -> Class:
        if self.theirs is None:
            return Class.MISSING
        if self.ours is None:
            return Class.EXTRA
        return Class.MATCHED if self.ours.amount == self.theirs.amount else Class.DIFFERING

    @property
    def at(self) -> datetime:
        return min(one.at for one in (self.ours, self.theirs) if one is not None)


@dataclass(frozen=True)
class Sums:
    """Of one class, how many entries of each side, and how much they are."""

    ours_count: int
    ours: Decimal
    theirs_count: int
    theirs: Decimal


def pairs_of(ours: Sequence[Entry], theirs: Sequence[Entry]) -> tuple[Pair, ...]:
    """Every entry of both sides is in exactly one pair. Of several with one name those of the same amount go first, then the nearest in
    time. Keys are unique over both sides."""
    named: dict[str, list[Entry]] = defaultdict(list)
    for entry in theirs:
        for name in entry.names:
            named[name].append(entry)
    edges = {(one, other) for one in ours for name in one.names for other in named.get(name, ())}
    pairs, taken = list[Pair](), set[str]()
    for one, other in sorted(edges, key=_closeness):
        if one.key not in taken and other.key not in taken:
            taken |= {one.key, other.key}
            pairs.append(Pair(one, other))
    pairs += [Pair(one, None) for one in ours if one.key not in taken]
    pairs += [Pair(None, other) for other in theirs if other.key not in taken]
    return tuple(sorted(pairs, key=lambda pair: (pair.at, _keys(pair))))


def _closeness(edge: tuple[Entry, Entry]) -> tuple[bool, float, list[str]]:
    one, other = edge
    # By the keys in the end, so that nothing hangs on the order in which they came.
    return one.amount != other.amount, abs((one.at - other.at).total_seconds()), sorted((one.key, other.key))


def _keys(pair: Pair) -> list[str]:
    return sorted(one.key for one in (pair.ours, pair.theirs) if one is not None)


def within(pairs: Iterable[Pair], since: datetime, until: datetime) -> tuple[Pair, ...]:
    """Those of which either side was booked then: what one book has before midnight, and the other after it, is seen on both days."""
    return tuple(
        pair for pair in pairs if any(since <= one.at < until for one in (pair.ours, pair.theirs) if one is not None)
    )


def sums_of(pairs: Iterable[Pair], since: datetime, until: datetime) -> dict[Class, Sums]:
    """Every class, also an empty one. Only entries of the time itself are counted: their sum is what each book moved in it."""
    sums = dict.fromkeys(Class, Sums(0, Decimal(0), 0, Decimal(0)))
    for pair in pairs:
        before = sums[pair.found]
        ours = pair.ours is not None and since <= pair.ours.at < until
        theirs = pair.theirs is not None and since <= pair.theirs.at < until
        sums[pair.found] = Sums(
            before.ours_count + ours,
            add(before.ours, pair.ours.amount) if ours and pair.ours else before.ours,
            before.theirs_count + theirs,
            add(before.theirs, pair.theirs.amount) if theirs and pair.theirs else before.theirs,
        )
    return sums
