"""What one partition has received and not yet applied, and whether it is complete.

Records wait for their tick. A tick that says what was received lets the partition move to its end; any other (a record missing, an
end that does not join on, two different records in one place) means that something was lost or forged on the way, and the stretch
is taken from the event store instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from isthmus.domain.log import Record, Tick
from isthmus.read_models.projections import Step

#: More than this without a tick is a relay gone mad: let go, and let the next tick find the hole.
WAITING_MAX = 20_000


@dataclass
class Window:
    """Everything of (`base`, `seen`] was received, unless there is a hole. The table says where the rows really are."""

    base: int
    seen: int = field(init=False)
    _hole: bool = False
    _contradicted: bool = False
    _waiting: dict[tuple[int, UUID], Record] = field(default_factory=dict)
    _complete: dict[tuple[int, UUID], Record] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seen = self.base

    def take(self, item: Record | Tick) -> None:
        if isinstance(item, Tick):
            self._tick(item)
        elif item.position > self.seen and len(self._waiting) < WAITING_MAX:
            held = self._waiting.setdefault((item.position, item.key), item)
            if held.event != item.event:
                self._contradicted = True  # one of them is forged, and the event store knows which

    def _tick(self, tick: Tick) -> None:
        if tick.end <= self.seen:
            return
        received = {place: one for place, one in self._waiting.items() if tick.start < place[0] <= tick.end}
        # A tick that begins before `seen` counts records that were let go: it cannot be checked against what is here.
        if tick.start == self.seen and len(received) == tick.count and not self._contradicted:
            self._complete |= received
        else:
            self._hole = True
        self._contradicted = False
        self.seen = tick.end
        self._waiting = {place: one for place, one in self._waiting.items() if place[0] > tick.end}

    def drain(self) -> tuple[Step | None, int | None]:
        """(a complete step to apply, None) or (None, the position up to which the event store must fill) or nothing of both."""
        step = Step(self.base, self.seen, [self._complete[place] for place in sorted(self._complete)])
        hole = self._hole
        self.base, self._hole, self._complete = self.seen, False, {}
        if hole:
            return None, self.seen
        return (step, None) if step.end > step.start else (None, None)
