"""Where a provider has no cursor: from when on an update asks for what was booked, written as one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from isthmus.domain.banking import Malformed

#: How far back a first update reaches, and how long after it a bank may still book for a day that is over.
HISTORY = timedelta(days=729)
OVERLAP = timedelta(days=10)


@dataclass(frozen=True)
class Window:
    """`last`: when the update before this one was; None at first."""

    last: datetime | None = None

    def since(self, now: datetime) -> datetime:
        start = now - HISTORY
        return start if self.last is None else max(start, self.last - OVERLAP)

    def text(self) -> str:
        assert self.last is not None, "an update was"
        return self.last.isoformat()

    @classmethod
    def read(cls, cursor: str | None) -> Window:
        try:
            return cls(datetime.fromisoformat(cursor) if cursor else None)
        except ValueError:
            raise Malformed("the cursor is none of ours") from None
