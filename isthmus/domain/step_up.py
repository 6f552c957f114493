"""What step-ups have in common: something is wished for, waits for a challenge of its own purpose, and is done once that is passed.

Enrolling a device is one with a step more (`sca_devices.py`). Whatever waits says which challenge it waits for and what that must be
bound to, made of itself anew: an answer to any other challenge moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from isthmus.domain import sca
from isthmus.domain.dynamic_link import StepUp
from isthmus.domain.refusals import Refusal, ScaBlockedRefusal, ScaRejected

E = TypeVar("E")


@dataclass(frozen=True)
class Asked:
    """How a person will be asked, decided outside: ids and clocks are."""

    challenge_id: UUID
    method: sca.Method
    expires_at: datetime

    def challenge(self, link: StepUp) -> sca.ScaChallengeIssued:
        return sca.ScaChallengeIssued(
            self.challenge_id,
            link.owner,
            link.purpose,
            link.subject_id,
            link.digest(),
            self.method,
            self.expires_at,
        )


def blocked(guard: sca.Guard, now: datetime) -> Refusal | None:
    if not guard.blocked(now):
        return None
    until = guard.blocked_until
    return ScaBlockedRefusal("Too many wrong answers: nothing can be authorised for a while.", resets_at=until)


def answered(
    challenge: sca.Challenge,
    guard: sca.Guard,
    proof: sca.Proof,
    now: datetime,
    waits: tuple[UUID, StepUp] | None,
    then: Sequence[E],
) -> Sequence[E | sca.ScaEvent | sca.ScaGuardEvent] | Refusal:
    """`waits`: for which challenge, bound to what; None where nothing waits. `then`: what a right answer does."""
    no = ScaRejected("The answer is not accepted.")
    if waits is None or waits[0] != challenge.challenge_id or not waits[1].is_of(challenge.issued.digest):
        return no
    found = sca.answer(challenge, guard, proof, now)
    if not found.events:
        return no
    return [*found.events, *(then if found.passed else ())]
