"""How many one-time codes a person is sent: each is a message that costs and annoys, and whoever has a session could have them sent by the
hundred. Counted is every challenge that sends one, whatever it is for and whatever became of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from isthmus.domain.refusals import TooManyCodes

DAY = timedelta(days=1)
_TEN_MINUTES = timedelta(minutes=10)


@dataclass(frozen=True)
class CodeLimits:
    """None: as many as they ask for."""

    per_ten_minutes: int | None = None
    per_day: int | None = None

    @property
    def windows(self) -> Iterator[tuple[timedelta, int]]:
        yield from (
            (window, most)
            for window, most in ((_TEN_MINUTES, self.per_ten_minutes), (DAY, self.per_day))
            if most is not None
        )

    @property
    def most(self) -> int:
        """So many of the latest are of interest; 0 where none is."""
        return max((most for _, most in self.windows), default=0)


NO_LIMITS = CodeLimits()


def code_fault(limits: CodeLimits, sent: Sequence[datetime], now: datetime) -> TooManyCodes | None:
    """`sent`: when the last ones were, the latest first. The windows slide: each code is free again when its window is over."""
    free = [sent[most - 1] + window for window, most in limits.windows if len(sent) >= most]
    resets_at = max((at for at in free if at > now), default=None)
    if resets_at is None:
        return None
    return TooManyCodes("Too many codes were sent to you: wait, or answer with a device.", resets_at=resets_at)
