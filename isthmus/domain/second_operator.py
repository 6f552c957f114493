"""Money is moved by hand by two operators: one proposes, another confirms what stands then. For payments that are parked, and for what is
in suspense."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from isthmus.domain.refusals import Refusal, SecondOperatorNeeded

PROPOSAL = ("input", "proposalId")


class Proposal(Protocol):
    @property
    def proposal_id(self) -> UUID: ...

    @property
    def operator(self) -> UUID: ...


def confirm_fault(standing: Proposal | None, named: UUID, operator: UUID, over: Refusal) -> Refusal | None:
    """`standing`: what is proposed now; `over`: the answer where that is not what the operator means to confirm."""
    if standing is None or standing.proposal_id != named:
        return over
    if standing.operator == operator:
        return SecondOperatorNeeded("Another operator is to confirm what you proposed.", PROPOSAL)
    return None
