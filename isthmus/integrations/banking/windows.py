"""Where a provider has no cursor: an update asks for what was booked since a few days before the last one, account by account, and how far
it has come is written as one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

import msgspec

from isthmus.domain.bank_transactions import BankTransaction
from isthmus.domain.banking import Malformed, ProviderAccount

#: How far back a first update reaches, and how long after it a bank may still book for a day that is over.
HISTORY = timedelta(days=729)
OVERLAP = timedelta(days=10)
#: A bank's days are not UTC's: of those where an update begins it may not tell all.
_DAYS_NOT_WHOLE = timedelta(days=1)


class _Window(msgspec.Struct, frozen=True, omit_defaults=True):
    """As it is written. `l`: when the update before was; `p`: since when something has been pending."""

    l: datetime  # noqa: E741 - as it is written, and short, since every cursor carries it
    p: date | None = None


class _Walk(msgspec.Struct, frozen=True):
    since: datetime
    until: datetime
    left: tuple[tuple[str, str], ...]
    at: int
    total: int | None
    pending: date | None


@dataclass(frozen=True)
class Walk:
    """An update under way: `left` are accounts (name, currency) that are still to be asked for, the first of them from its part `at`
    on. `total`: how many its provider said that there are."""

    since: datetime
    until: datetime
    left: tuple[tuple[str, str], ...]
    at: int = 0
    total: int | None = None
    pending: date | None = None

    @classmethod
    def begun(cls, cursor: str | None) -> Walk | None:
        """None where an update is to begin."""
        try:
            kept = msgspec.json.decode(cursor or "", type=_Walk)
        except msgspec.MsgspecError:
            return None
        return cls(kept.since, kept.until, kept.left, kept.at, kept.total, kept.pending)

    @classmethod
    def begin(cls, cursor: str | None, now: datetime, accounts: Iterable[ProviderAccount]) -> Walk:
        """`cursor`: what the last update ended with. It reaches back to whatever was pending then."""
        since = now - HISTORY
        if cursor is not None:
            last = _read(cursor)
            reach = last.l - OVERLAP
            if last.p is not None:
                reach = min(reach, datetime.combine(last.p, time(), UTC))
            since = max(since, reach)
        return cls(since, now, tuple((one.reference, one.asset) for one in accounts))

    @property
    def more(self) -> bool:
        return bool(self.left)

    @property
    def booked_since(self) -> date:
        """After that day all is told."""
        return (self.since + _DAYS_NOT_WHOLE).date()

    def text(self) -> str:
        """The cursor: of the next page, or where there is none of the next update."""
        if self.left:
            kept: msgspec.Struct = _Walk(self.since, self.until, self.left, self.at, self.total, self.pending)
        else:
            kept = _Window(self.until, self.pending)
        return msgspec.json.encode(kept).decode()

    def on(self, told: Iterable[BankTransaction], *, account_done: bool, total: int | None = None) -> Walk:
        """After another part."""
        days = [one.made_on for one in told if one.booked_on is None and one.made_on is not None]
        pending = min([*days, *([self.pending] if self.pending else [])], default=None)
        if account_done:
            return replace(self, left=self.left[1:], at=0, total=None, pending=pending)
        return replace(self, at=self.at + 1, total=total, pending=pending)


def _read(cursor: str) -> _Window:
    try:
        return msgspec.json.decode(cursor, type=_Window)
    except msgspec.MsgspecError:
        pass
    try:
        return _Window(datetime.fromisoformat(cursor))  # as it was written at first
    except ValueError:
        raise Malformed("the cursor is none of ours") from None
