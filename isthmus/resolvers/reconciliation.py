"""Cases of reconciliation, for operators: the list of them, and the word that closes one."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated

import strawberry
from strawberry import UNSET

from isthmus.domain.personal import PersonalText
from isthmus.domain.reconciliation_cases import CloseReconciliationCase, missing
from isthmus.domain.validation import first_fault, key_fault, reason_fault
from isthmus.graphql.connections import (
    AFTER,
    FIRST,
    FIRST_DEFAULT,
    Edge,
    PageInfo,
    page_info,
    page_size,
    timed_cursor,
    timed_position,
)
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import Kind, case_key, encode
from isthmus.graphql.scalars import AssetCode, Position
from isthmus.read_models.reconciliation import CaseRow, SuspenseProposal
from isthmus.resolvers.money import Money, money
from isthmus.resolvers.wishes import INPUT, KEY, Payload, refused, run
from isthmus.write_models.envelope import Refused

_CURSOR = "case"


@strawberry.enum(description="What is wrong between our book and a bank's.")
class ReconciliationDifference(Enum):
    MISSING = strawberry.enum_value("MISSING", description="We booked it, and the bank has not.")
    EXTRA = strawberry.enum_value("EXTRA", description="The bank booked it, and we have not.")
    DIFFERING = strawberry.enum_value("DIFFERING", description="Both booked it, with different amounts.")
    UNASSIGNED = strawberry.enum_value(
        "UNASSIGNED", description="Money came, and whose it is is not clear: it is in suspense."
    )


@strawberry.enum(description="Whether a case waits for somebody.")
class ReconciliationCaseState(Enum):
    OPEN = strawberry.enum_value("OPEN", description="It waits for an operator.")
    CLOSED = strawberry.enum_value("CLOSED", description="An operator closed it, or its difference is gone.")


@strawberry.enum(description="Who closed a case.")
class ReconciliationCloser(Enum):
    RUN = strawberry.enum_value("RUN", description="A later comparison, which found the difference gone.")
    OPERATOR = strawberry.enum_value("OPERATOR", description="An operator, with a reason.")


@strawberry.type(description="Where an operator says that money in suspense goes; another one confirms it.")
class SuspenseDecisionProposal:
    row: strawberry.Private[SuspenseProposal]
    id: strawberry.ID = strawberry.field(description="The proposal's id.")
    account_id: strawberry.ID | None = strawberry.field(
        description="Whose account it is credited to; null where it was sent back."
    )
    return_entry: str | None = strawberry.field(
        description="The bank's own name for the entry by which it was sent back; null where it is credited."
    )
    proposed_by: str = strawberry.field(description="Who proposed it, as the audit trail names them.")
    at: datetime = strawberry.field(description="When.")

    @strawberry.field(
        description="The operator's reason, in their own words; null once their personal data are erased."
    )
    async def reason(self, info: AppInfo) -> str | None:
        return await info.context.loaders.texts.load(str(self.row.made.reason))


@strawberry.type(description="A difference between our book and a bank's, or money that came and is nobody's yet.")
class ReconciliationCase:
    row: strawberry.Private[CaseRow]
    id: strawberry.ID = strawberry.field(description="The case's id. The same difference has the same case.")
    difference: ReconciliationDifference = strawberry.field(description="What is wrong.")
    state: ReconciliationCaseState = strawberry.field(description="Whether it waits for somebody.")
    why: str | None = strawberry.field(
        description="Why money is in suspense: UNKNOWN_REFERENCE, OTHER_AMOUNT, or the code of why the account does not take it."
    )
    provider: str = strawberry.field(description="At whose bank account of ours it is.")
    asset: AssetCode = strawberry.field(description="In which asset.")
    journal_id: strawberry.ID | None = strawberry.field(
        description="The journal of our book; null where there is none."
    )
    entry: str | None = strawberry.field(description="The bank's own name for its entry; null where there is none.")
    booked_at: datetime = strawberry.field(description="When it was booked, by whoever booked it first.")
    opened_at: datetime = strawberry.field(description="When it was found first.")
    closed_at: datetime | None = strawberry.field(description="When it was closed; null while it is open.")
    closed_by: ReconciliationCloser | None = strawberry.field(description="Who closed it; null while it is open.")

    @strawberry.field(
        description="Of what is UNASSIGNED: what waits for another operator to confirm it; null where nothing does."
    )
    def proposal(self) -> SuspenseDecisionProposal | None:
        return None if self.row.proposal is None else _proposal(self.row.proposal)

    @strawberry.field(description="How much we booked, plus is money in; null where we booked nothing.")
    async def ours(self, info: AppInfo) -> Money | None:
        return await _money(info, self.row.ours, self.row.asset)

    @strawberry.field(
        description="How much the bank booked, or, of what is unassigned, how much we were told would come; null where there is none."
    )
    async def theirs(self, info: AppInfo) -> Money | None:
        return await _money(info, self.row.theirs, self.row.asset)

    @strawberry.field(description="The operator's words; null where a run closed it, or nobody did.")
    async def reason(self, info: AppInfo) -> str | None:
        return None if self.row.reason is None else await info.context.loaders.texts.load(self.row.reason)


@strawberry.type(description="A page of cases, those found first come first.")
class ReconciliationCaseConnection:
    is_open: strawberry.Private[bool | None]
    edges: list[Edge[ReconciliationCase]] = strawberry.field(description="The cases of this page.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the whole list.")

    @strawberry.field(description="How many there are on all pages.")
    async def total_count(self, info: AppInfo) -> int:
        return await info.context.services.read.cases.count(is_open=self.is_open)


@strawberry.input(description="A case that is dealt with.")
class CloseReconciliationCaseInput:
    case_id: strawberry.ID = strawberry.field(description="The case's id.")
    reason: str = strawberry.field(description="What was found out and done, in 500 characters at most.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.type(description="What became of the wish to close a case.")
class CloseReconciliationCasePayload(Payload):
    case: ReconciliationCase | None = strawberry.field(description="The case; null when refused.")


@strawberry.type
class ReconciliationQueries:
    @strawberry.field(
        description="Differences between our book and the banks', and money that is nobody's yet, oldest first. For operators."
    )
    async def reconciliation_cases(
        self,
        info: AppInfo,
        first: Annotated[int, strawberry.argument(description=FIRST)] = FIRST_DEFAULT,
        after: Annotated[str | None, strawberry.argument(description=AFTER)] = UNSET,
        state: Annotated[
            ReconciliationCaseState | None, strawberry.argument(description="Only cases in it; all unless told.")
        ] = UNSET,
    ) -> ReconciliationCaseConnection:
        size, place = page_size(first), timed_position(_CURSOR, after or None)
        is_open = state is ReconciliationCaseState.OPEN if state else None
        rows, more = await info.context.services.read.cases.page(size, place, is_open=is_open)
        edges = [Edge(node=case_of(row), cursor=timed_cursor(_CURSOR, row.opened_at, row.case_id)) for row in rows]
        return ReconciliationCaseConnection(
            is_open=is_open,
            edges=edges,
            page_info=page_info([edge.cursor for edge in edges], more=more, after=after or None),
        )


@strawberry.type
class ReconciliationMutations:
    @strawberry.mutation(
        description="Close a case that is dealt with. One of money in suspense is closed where that goes: `proposeSuspenseDecision`. "
        "For operators."
    )
    async def close_reconciliation_case(
        self, info: AppInfo, input: Annotated[CloseReconciliationCaseInput, strawberry.argument(description=INPUT)]
    ) -> CloseReconciliationCasePayload:
        fault = first_fault(key_fault(input.idempotency_key), reason_fault(input.reason))
        if fault is not None:
            return await refused(info, CloseReconciliationCasePayload, fault, "case")
        row = await info.context.services.read.cases.find(case_key(input.case_id))
        if row is None:
            return await refused(info, CloseReconciliationCasePayload, missing(), "case")
        outcome = await run(
            info,
            CloseReconciliationCase(row.case_id, info.context.caller.person_id, PersonalText(input.reason)),
            mutation="closeReconciliationCase",
            key=input.idempotency_key,
            # As it was when an account could be named here: a key that was sent before then is still known.
            body={"caseId": input.case_id, "accountId": None, "reason": input.reason},
        )
        if isinstance(outcome, Refused):
            return await refused(info, CloseReconciliationCasePayload, outcome.refusal, "case", outcome)
        closed = await info.context.services.read.cases.find(row.case_id)
        assert closed is not None, "it was there a moment ago, and cases stay"
        return CloseReconciliationCasePayload(
            position=Position(outcome.position), replayed=outcome.replayed, errors=[], case=case_of(closed)
        )


async def _money(info: AppInfo, amount: Decimal | None, asset: str) -> Money | None:
    return None if amount is None else await money(info.context, amount, asset)


def case_of(row: CaseRow) -> ReconciliationCase:
    is_open = row.closed_at is None
    return ReconciliationCase(
        row=row,
        id=strawberry.ID(encode(Kind.RECONCILIATION_CASE, row.case_id)),
        difference=ReconciliationDifference[row.difference],
        state=ReconciliationCaseState.OPEN if is_open else ReconciliationCaseState.CLOSED,
        why=row.why,
        provider=row.provider,
        asset=AssetCode(row.asset),
        journal_id=None if row.journal_id is None else strawberry.ID(encode(Kind.JOURNAL, row.journal_id)),
        entry=row.entry_id,
        booked_at=row.booked_at,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        closed_by=None if row.closed_by is None else ReconciliationCloser[row.closed_by],
    )


def _proposal(found: SuspenseProposal) -> SuspenseDecisionProposal:
    made = found.made
    return SuspenseDecisionProposal(
        row=found,
        id=strawberry.ID(str(made.proposal_id)),
        account_id=None if made.account_id is None else strawberry.ID(encode(Kind.ACCOUNT, made.account_id)),
        return_entry=made.return_entry,
        proposed_by=f"person:{made.operator}",
        at=found.at,
    )
