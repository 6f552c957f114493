"""When each person was sent one-time codes, counted from the challenges themselves, under the lock of their limits.

In the database: whoever counts elsewhere loses count, or has to let people through where that is away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeGuard
from uuid import UUID

from isthmus.domain.code_allowance import DAY, NO_LIMITS, CodeLimits, code_fault
from isthmus.domain.events import Event
from isthmus.domain.refusals import TooManyCodes
from isthmus.domain.sca import Method, ScaChallengeIssued
from isthmus.write_models.connection import Connection

_SENT = """
select o.owner, c.issued_at from unnest($1::uuid[]) as o (owner) cross join lateral (
    select issued_at from sca_challenges where owner = o.owner and method = 'ONE_TIME_CODE' and issued_at > $2
    order by issued_at desc limit $3) c
order by c.issued_at desc"""


@dataclass
class CodesSent:
    """`times`: by person, the latest first. Of everybody whom a command of the batch may send one."""

    limits: CodeLimits = NO_LIMITS
    times: dict[UUID, list[datetime]] = field(default_factory=dict)

    def fault(self, events: Sequence[Event], now: datetime) -> TooManyCodes | None:
        """A command is refused whole that would send one too many."""
        if not self.limits.most:
            return None
        asked = next((event for event in events if _sends(event)), None)
        return code_fault(self.limits, self.times[asked.owner], now) if asked is not None else None

    def bring_forward(self, event: Event, now: datetime) -> None:
        """What the next command of the batch counts."""
        if self.limits.most and _sends(event):
            self.times[event.owner].insert(0, now)


def _sends(event: Event) -> TypeGuard[ScaChallengeIssued]:
    return isinstance(event, ScaChallengeIssued) and event.method is Method.ONE_TIME_CODE


async def load(connection: Connection, owners: Iterable[UUID], limits: CodeLimits, now: datetime) -> CodesSent:
    """After `spending.lock`, in a statement of its own."""
    found = CodesSent(limits, {owner: [] for owner in owners})
    if limits.most:
        for row in await connection.fetch(_SENT, list(found.times), now - DAY, limits.most):
            found.times[row["owner"]].append(row["issued_at"])
    return found
