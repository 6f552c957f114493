"""Payees of the viewer's: to check one, to save one, to remove one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from enum import Enum
from typing import Annotated
from uuid import UUID

import strawberry
from strawberry import UNSET

from isthmus.domain.identifiers import NOWHERE
from isthmus.domain.refusals import PayeeNotFound, Refusal
from isthmus.domain.validation import first_fault, key_fault
from isthmus.graphql.connections import Edge, PageInfo
from isthmus.graphql.context import AppInfo
from isthmus.graphql.errors import RateLimited
from isthmus.graphql.ids import Kind, encode, payee_key
from isthmus.graphql.scalars import Position
from isthmus.read_models.payees import SavedPayeeRow
from isthmus.resolvers.nodes import Node
from isthmus.resolvers.payee_checks import PayeeCheck, told_of
from isthmus.resolvers.payees import PayeeAccountInput, PayeeInput, account_from, shown_account
from isthmus.resolvers.sca import ScaChallenge, ScaMethod, challenge_of, method_body, method_from
from isthmus.resolvers.wishes import INPUT, KEY, AnyPayload, Payload, envelope_of, refused
from isthmus.write_models.envelope import Done, Refused


@strawberry.enum(description="Where a saved payee stands.")
class SavedPayeeState(Enum):
    AWAITING_SCA = strawberry.enum_value("AWAITING_SCA", description="Its challenge is to be answered.")
    SAVED = strawberry.enum_value("SAVED", description="It is saved, and trusted.")
    REMOVED = strawberry.enum_value("REMOVED", description="It was removed.")
    EXPIRED = strawberry.enum_value("EXPIRED", description="Its challenge was not answered in time.")


@strawberry.type(description="A payee that the viewer saved: a trusted beneficiary (RTS 2018/389 Art. 13).")
class SavedPayee(Node):
    row: strawberry.Private[SavedPayeeRow]
    state: SavedPayeeState = strawberry.field(description="Where it stands.")
    trusted: bool = strawberry.field(
        description="Whether payments to it may be asked fewer questions: its challenge was answered, and it was not removed."
    )
    created_at: datetime = strawberry.field(description="When it was wished for.")
    saved_at: datetime | None = strawberry.field(description="Since when it is saved; null where it never was.")

    @strawberry.field(description="Their name; null once the viewer's personal data are erased.")
    async def name(self, info: AppInfo) -> str | None:
        return await info.context.loaders.texts.load(self.row.name)

    @strawberry.field(description="Their account; null once the viewer's personal data are erased.")
    async def account(self, info: AppInfo) -> str | None:
        return shown_account(await info.context.loaders.texts.load(self.row.account))

    @strawberry.field(description="What had to be answered before it was saved.")
    def challenge(self) -> ScaChallenge:
        return challenge_of(self.row.challenge)


def saved_payee_of(row: SavedPayeeRow) -> SavedPayee:
    return SavedPayee(
        id=strawberry.ID(encode(Kind.PAYEE, row.payee_id)),
        row=row,
        state=SavedPayeeState(row.state),
        trusted=row.trusted,
        created_at=row.created_at,
        saved_at=row.saved_at,
    )


@strawberry.type(description="A page of saved payees, newest first.")
class SavedPayeeConnection:
    edges: list[Edge[SavedPayee]] = strawberry.field(description="The payees of this page.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the whole list.")

    @strawberry.field(description="How many there are on all pages.")
    async def total_count(self, info: AppInfo) -> int:
        return await info.context.services.read.payees.count(info.context.caller.person_id)


@strawberry.input(description="A payee to be looked at.")
class CheckPayeeInput:
    name: str = strawberry.field(description="Their name, as it is known at their bank. 140 characters at most.")
    account: PayeeAccountInput = strawberry.field(description="Their account.")


@strawberry.input(description="A payee to be saved.")
class AddPayeeInput:
    payee: PayeeInput = strawberry.field(description="Who it is.")
    method: ScaMethod | None = strawberry.field(
        default=UNSET, description="How to be asked: by a device where there is one, unless told."
    )
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="A saved payee to be removed.")
class RemovePayeeInput:
    payee_id: strawberry.ID = strawberry.field(description="The saved payee's id.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.type(description="What is known of a payee.")
class CheckPayeePayload(Payload):
    check: PayeeCheck | None = strawberry.field(description="What one is told; null when refused.")


@strawberry.type(description="What became of the wish to save a payee.")
class AddPayeePayload(Payload):
    payee: SavedPayee | None = strawberry.field(description="The payee, with its challenge; null when refused.")


@strawberry.type(description="What became of the wish to remove a payee.")
class RemovePayeePayload(Payload):
    payee: SavedPayee | None = strawberry.field(description="The payee; null when refused.")


@strawberry.type
class PayeeMutations:
    @strawberry.mutation(
        description="Ask whether an account is held in a name, and whether it looks like somebody's whom one paid before. Nothing is "
        "kept. There are so many a minute and a day, those of payments counted: more are RATE_LIMITED."
    )
    async def check_payee(
        self, info: AppInfo, input: Annotated[CheckPayeeInput, strawberry.argument(description=INPUT)]
    ) -> CheckPayeePayload:
        account = account_from(PayeeInput(name=input.name, account=input.account))
        if isinstance(account, Refusal):
            fault = replace(account, path=tuple(part for part in account.path if part != "payee"))
            return await refused(info, CheckPayeePayload, fault, "check")
        person = info.context.caller.person_id
        checked = await info.context.services.payees.check(person, input.name, account)
        if isinstance(checked, float):
            raise RateLimited("Too many payees were looked at: wait before the next one.", checked)
        end = await info.context.services.read.log.end()
        return CheckPayeePayload(position=Position(end), replayed=False, errors=[], check=told_of(checked))

    @strawberry.mutation(
        description="Save a payee, who is trusted once the challenge in the answer is answered. Not for API keys."
    )
    async def add_payee(
        self, info: AppInfo, input: Annotated[AddPayeeInput, strawberry.argument(description=INPUT)]
    ) -> AddPayeePayload:
        account, fault = account_from(input.payee), key_fault(input.idempotency_key)
        if isinstance(account, Refusal) or fault is not None:
            first = first_fault(fault, account if isinstance(account, Refusal) else None)
            assert first is not None, "one of the two is a fault"
            return await refused(info, AddPayeePayload, first, "payee")
        name = input.payee.name or ""
        envelope = envelope_of(
            info,
            mutation="addPayee",
            key=input.idempotency_key,
            body={"payee": {"name": name, "account": account.text()}, **method_body(input.method)},
        )
        person = info.context.caller.person_id
        answer = await info.context.services.payees.add(person, name, account, method_from(input.method), envelope)
        if isinstance(answer, Refused):
            return await refused(info, AddPayeePayload, answer.refusal, "payee", answer)
        return await _payload(info, AddPayeePayload, *answer)

    @strawberry.mutation(description="Remove a saved payee, at once: it is trusted no more. Not for API keys.")
    async def remove_payee(
        self, info: AppInfo, input: Annotated[RemovePayeeInput, strawberry.argument(description=INPUT)]
    ) -> RemovePayeePayload:
        payee_id = payee_key(input.payee_id)
        missing = PayeeNotFound("There is no such payee.", ("input", "payeeId")) if payee_id == NOWHERE else None
        fault = first_fault(key_fault(input.idempotency_key), missing)
        if fault is not None:
            return await refused(info, RemovePayeePayload, fault, "payee")
        envelope = envelope_of(
            info, mutation="removePayee", key=input.idempotency_key, body={"payee_id": input.payee_id}
        )
        outcome = await info.context.services.payees.remove(info.context.caller.person_id, payee_id, envelope)
        if isinstance(outcome, Refused):
            return await refused(info, RemovePayeePayload, outcome.refusal, "payee", outcome)
        return await _payload(info, RemovePayeePayload, payee_id, outcome)


async def _payload(info: AppInfo, kind: type[AnyPayload], payee_id: UUID, outcome: Done) -> AnyPayload:
    row = await info.context.loaders.payees.load(payee_id)
    assert row is not None, "it was written just now, in the same database"
    fields = {"payee": saved_payee_of(row)}
    return kind(position=Position(outcome.position), replayed=outcome.replayed, errors=[], **fields)
