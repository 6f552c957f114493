"""How money leaves suspense: one operator says where it goes, another confirms it. The cases are in `reconciliation.py`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import strawberry
from strawberry import UNSET

from isthmus.domain.identifiers import NOWHERE
from isthmus.domain.personal import PersonalText
from isthmus.domain.reconciliation_cases import missing
from isthmus.domain.refusals import InvalidInput, Refusal
from isthmus.domain.suspense import ConfirmSuspenseDecision, ProposeSuspenseDecision
from isthmus.domain.validation import first_fault, key_fault, reason_fault, text_fault
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import account_key, case_key, proposal_key
from isthmus.graphql.scalars import Position
from isthmus.read_models.reconciliation import CaseRow
from isthmus.resolvers.reconciliation import ReconciliationCase, case_of
from isthmus.resolvers.wishes import INPUT, KEY, Payload, refused, run
from isthmus.write_models.envelope import Outcome, Refused

_ENTRY_LENGTH_MAX = 128


@strawberry.input(description="Where money in suspense goes: `accountId`, or `returnEntry`.")
class ProposeSuspenseDecisionInput:
    case_id: strawberry.ID = strawberry.field(description="The case's id.")
    account_id: strawberry.ID | None = strawberry.field(
        default=UNSET, description="Whose account it is credited to: never the operator's own."
    )
    return_entry: str | None = strawberry.field(
        default=UNSET,
        description="The bank's own name for the entry by which the money went back to whoever sent it.",
    )
    reason: str = strawberry.field(description="How that was found out, in 500 characters at most.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="What another operator proposed, and is right.")
class ConfirmSuspenseDecisionInput:
    case_id: strawberry.ID = strawberry.field(description="The case's id.")
    proposal_id: strawberry.ID = strawberry.field(description="The proposal's id.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.type(description="What became of a proposal.")
class ProposeSuspenseDecisionPayload(Payload):
    case: ReconciliationCase | None = strawberry.field(description="The case with the proposal; null when refused.")


@strawberry.type(description="What became of the wish to confirm a proposal.")
class ConfirmSuspenseDecisionPayload(Payload):
    case: ReconciliationCase | None = strawberry.field(description="The case, closed; null when refused.")


@strawberry.type
class SuspenseMutations:
    @strawberry.mutation(
        description="Say where the money of an UNASSIGNED case goes, with a reason. Nothing comes of it until another operator confirms "
        "it; a later proposal takes its place. For operators; nobody proposes their own account."
    )
    async def propose_suspense_decision(
        self, info: AppInfo, input: Annotated[ProposeSuspenseDecisionInput, strawberry.argument(description=INPUT)]
    ) -> ProposeSuspenseDecisionPayload:
        account = None if input.account_id is UNSET else input.account_id
        entry = input.return_entry or None
        fault = first_fault(key_fault(input.idempotency_key), reason_fault(input.reason), _place_fault(account, entry))
        row = await _found(info, input.case_id) if fault is None else None
        if row is None:
            return await refused(info, ProposeSuspenseDecisionPayload, fault or missing(), "case")
        wish = ProposeSuspenseDecision(
            row.case_id,
            row.provider,
            row.asset,
            info.context.services.ids(),
            account_key(account) if account is not None else None,
            entry,
            info.context.caller.person_id,
            PersonalText(input.reason),
        )
        body = {
            "caseId": input.case_id,
            "accountId": account,
            "returnEntry": entry,
            "reason": input.reason,
        }
        outcome = await run(info, wish, mutation="proposeSuspenseDecision", key=input.idempotency_key, body=body)
        if isinstance(outcome, Refused):
            return await refused(info, ProposeSuspenseDecisionPayload, outcome.refusal, "case", outcome)
        position, case = await _done(info, outcome, row.case_id)
        return ProposeSuspenseDecisionPayload(position=position, replayed=outcome.replayed, errors=[], case=case)

    @strawberry.mutation(
        description="Confirm where another operator says that money in suspense goes: it is booked, and its case is closed. For operators; "
        "nobody confirms their own proposal, nor one that credits their own account."
    )
    async def confirm_suspense_decision(
        self, info: AppInfo, input: Annotated[ConfirmSuspenseDecisionInput, strawberry.argument(description=INPUT)]
    ) -> ConfirmSuspenseDecisionPayload:
        fault = key_fault(input.idempotency_key)
        row = await _found(info, input.case_id) if fault is None else None
        if row is None:
            return await refused(info, ConfirmSuspenseDecisionPayload, fault or missing(), "case")
        standing = row.proposal.made if row.proposal is not None else None
        wish = ConfirmSuspenseDecision(
            row.case_id,
            row.provider,
            row.asset,
            proposal_key(input.proposal_id),
            standing.account_id if standing is not None else None,
            standing.return_entry if standing is not None else None,
            info.context.caller.person_id,
        )
        body = {"caseId": input.case_id, "proposalId": input.proposal_id}
        outcome = await run(info, wish, mutation="confirmSuspenseDecision", key=input.idempotency_key, body=body)
        if isinstance(outcome, Refused):
            return await refused(info, ConfirmSuspenseDecisionPayload, outcome.refusal, "case", outcome)
        position, case = await _done(info, outcome, row.case_id)
        return ConfirmSuspenseDecisionPayload(position=position, replayed=outcome.replayed, errors=[], case=case)


async def _found(info: AppInfo, case_id: str) -> CaseRow | None:
    key = case_key(case_id)
    return await info.context.services.read.cases.find(key) if key != NOWHERE else None


async def _done(info: AppInfo, outcome: Outcome, case_id: UUID) -> tuple[Position, ReconciliationCase]:
    row = await info.context.services.read.cases.find(case_id)
    assert row is not None, "it was there a moment ago, and cases stay"
    return Position(outcome.position), case_of(row)


def _place_fault(account: str | None, entry: str | None) -> Refusal | None:
    """An id that is empty is one of nothing, as any other that is malformed."""
    path = ("input", "returnEntry")
    if entry is None:
        return InvalidInput("Say whose it is, or by what it was sent back.", path) if account is None else None
    if account is not None:
        return InvalidInput("Money is somebody's, or was sent back: not both.", path)
    if len(entry) > _ENTRY_LENGTH_MAX:
        return InvalidInput(f"No entry is called by more than {_ENTRY_LENGTH_MAX} characters.", path)
    return text_fault(entry, path)
