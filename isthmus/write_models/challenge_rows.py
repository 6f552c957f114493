"""A challenge as the write side needs it, whatever it is for: its row, and what its own person may be told of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.refusals import ScaRejected
from isthmus.domain.sca import FAILURES_MAX, ChallengeState, Method
from isthmus.write_models.connection import Connection


@dataclass(frozen=True)
class ChallengeRow:
    """Whose it is, and what for, is the log's: a code goes to nobody else, and no answer to one purpose is taken for another's, whatever
    somebody wrote into the table. `failures`: the person's wrong answers in a row, over all challenges. `from_account_id`: what a
    payment is paid from."""

    challenge_id: UUID
    owner: UUID
    purpose: Purpose
    subject_id: UUID
    method: Method
    digest: str
    state: ChallengeState
    expires_at: datetime
    failures: int
    blocked_until: datetime | None
    from_account_id: UUID | None

    def rejected(self, now: datetime) -> ScaRejected:
        """How it stands, and how often they may still be wrong."""
        over = self.state is ChallengeState.PENDING and self.expires_at <= now
        state = ChallengeState.EXPIRED if over else self.state
        blocked = self.blocked_until is not None and now < self.blocked_until
        # A block that is over leaves nothing behind, as in `sca.fold_guard`.
        failures = self.failures if self.blocked_until is None else 0
        left = 0 if blocked or state is not ChallengeState.PENDING else FAILURES_MAX - failures
        return ScaRejected("The answer is not accepted.", attempts_left=left, challenge_state=state)


async def find_challenge(connection: Connection, challenge_id: UUID) -> ChallengeRow | None:
    row = await connection.fetchrow(
        "select c.id, (i.data->>'owner')::uuid as owner, i.data->>'purpose' as purpose, (i.data->>'subject_id')::uuid as subject_id, "
        "c.method, c.digest, c.state, c.expires_at, coalesce(g.failures, 0) as failures, g.blocked_until, p.from_account_id "
        "from sca_challenges c join event_store i on i.aggregate_id = c.id and i.type = 'ScaChallengeIssued' "
        "left join sca_guards g on g.owner = (i.data->>'owner')::uuid "
        "left join payments p on p.id = (i.data->>'subject_id')::uuid where c.id = $1",
        challenge_id,
    )
    if row is None:
        return None
    return ChallengeRow(
        row["id"],
        row["owner"],
        Purpose(row["purpose"]),
        row["subject_id"],
        Method(row["method"]),
        row["digest"],
        ChallengeState(row["state"]),
        row["expires_at"],
        row["failures"],
        row["blocked_until"],
        row["from_account_id"],
    )


async def lines_of(connection: Connection, batch_id: UUID) -> list[tuple[UUID, UUID]]:
    """A batch's payments, each with what it is paid from; none where that is no batch."""
    rows = await connection.fetch(
        "select id, from_account_id from payments where batch_id = $1 order by batch_line", batch_id
    )
    return [(row["id"], row["from_account_id"]) for row in rows]
