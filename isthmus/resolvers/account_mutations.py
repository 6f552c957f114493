"""Wishes about accounts: open, rename, close one's own; freeze and unfreeze anyone's, as an operator."""

from __future__ import annotations

from typing import Annotated, TypeVar
from uuid import UUID

import strawberry

from isthmus.domain import accounts as domain
from isthmus.domain.accounts import AccountOpened
from isthmus.domain.personal import PersonalText
from isthmus.domain.refusals import Refusal
from isthmus.domain.validation import asset_fault, first_fault, key_fault, text_fault
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import account_key
from isthmus.graphql.scalars import AssetCode, Position
from isthmus.resolvers.accounts import Account, AccountStatus
from isthmus.resolvers.ledger_accounts import changed_account, opened_account
from isthmus.resolvers.wishes import INPUT, KEY, Payload, refused, run
from isthmus.write_models.envelope import Refused

_NAME = ("input", "name")
_ACCOUNT_ID = "The account's id."


@strawberry.input(description="An account to be opened.")
class OpenAccountInput:
    asset: AssetCode = strawberry.field(description="What it will hold, for ever.")
    name: str = strawberry.field(description="A name for it, of 100 characters at most.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="A new name for an account.")
class RenameAccountInput:
    account_id: strawberry.ID = strawberry.field(description=_ACCOUNT_ID)
    name: str = strawberry.field(description="The new name, of 100 characters at most.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="An account to be closed.")
class CloseAccountInput:
    account_id: strawberry.ID = strawberry.field(description=_ACCOUNT_ID)
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="An account to be frozen.")
class FreezeAccountInput:
    account_id: strawberry.ID = strawberry.field(description=_ACCOUNT_ID)
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="An account to be unfrozen.")
class UnfreezeAccountInput:
    account_id: strawberry.ID = strawberry.field(description=_ACCOUNT_ID)
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.type(description="What became of the wish to open an account.")
class OpenAccountPayload(Payload):
    account: Account | None = strawberry.field(description="The account as it was opened; null when refused.")


@strawberry.type(description="What became of the wish to rename an account.")
class RenameAccountPayload(Payload):
    account: Account | None = strawberry.field(description="The account; null when refused.")


@strawberry.type(description="What became of the wish to close an account.")
class CloseAccountPayload(Payload):
    account: Account | None = strawberry.field(description="The account; null when refused.")


@strawberry.type(description="What became of the wish to freeze an account.")
class FreezeAccountPayload(Payload):
    account: Account | None = strawberry.field(description="The account; null when refused.")


@strawberry.type(description="What became of the wish to unfreeze an account.")
class UnfreezeAccountPayload(Payload):
    account: Account | None = strawberry.field(description="The account; null when refused.")


Changed = TypeVar("Changed", bound=Payload)


def _name_fault(name: str) -> Refusal | None:
    return first_fault(domain.name_fault(name), text_fault(name, _NAME))


async def _change(
    info: AppInfo,
    payload: type[Changed],
    command: object,
    account_id: UUID,
    input: object,
    *,
    mutation: str,
    status: AccountStatus | None = None,
    fault: Refusal | None = None,
) -> Changed:
    """A wish that changes an account; what was wrong with the input itself is not even asked of the ledger."""
    body = {name: value for name, value in vars(input).items() if name != "idempotency_key"}
    key: str = vars(input)["idempotency_key"]
    fault = first_fault(key_fault(key), fault)
    if fault is not None:
        return await refused(info, payload, fault, "account")
    outcome = await run(info, command, mutation=mutation, key=key, body=body)
    if isinstance(outcome, Refused):
        return await refused(info, payload, outcome.refusal, "account", outcome)
    fields = {"account": changed_account(account_id, outcome, status=status)}
    return payload(position=Position(outcome.position), replayed=outcome.replayed, errors=[], **fields)


@strawberry.type
class AccountMutations:
    @strawberry.mutation(description="Open an account of own money. It begins empty.")
    async def open_account(
        self, info: AppInfo, input: Annotated[OpenAccountInput, strawberry.argument(description=INPUT)]
    ) -> OpenAccountPayload:
        services, owner = info.context.services, info.context.caller.person_id
        fault = first_fault(
            key_fault(input.idempotency_key),
            asset_fault(input.asset, await services.read.assets.find(input.asset), ("input", "asset")),
            _name_fault(input.name),
        )
        if fault is not None:
            return await refused(info, OpenAccountPayload, fault, "account")
        outcome = await run(
            info,
            domain.OpenAccount(services.ids(), owner, input.asset, PersonalText(input.name)),
            mutation="openAccount",
            key=input.idempotency_key,
            body={"asset": input.asset, "name": input.name},
        )
        if isinstance(outcome, Refused):
            return await refused(info, OpenAccountPayload, outcome.refusal, "account", outcome)
        account = next(
            opened_account(recorded, recorded.event)
            for recorded in outcome.events
            if isinstance(recorded.event, AccountOpened)
        )
        return OpenAccountPayload(
            account=account, position=Position(outcome.position), replayed=outcome.replayed, errors=[]
        )

    @strawberry.mutation(description="Give one of the viewer's accounts another name.")
    async def rename_account(
        self, info: AppInfo, input: Annotated[RenameAccountInput, strawberry.argument(description=INPUT)]
    ) -> RenameAccountPayload:
        key = account_key(input.account_id)
        command = domain.RenameAccount(key, info.context.caller.person_id, PersonalText(input.name))
        return await _change(
            info, RenameAccountPayload, command, key, input, mutation="renameAccount", fault=_name_fault(input.name)
        )

    @strawberry.mutation(description="Close one of the viewer's accounts, for good. It must be empty.")
    async def close_account(
        self, info: AppInfo, input: Annotated[CloseAccountInput, strawberry.argument(description=INPUT)]
    ) -> CloseAccountPayload:
        key = account_key(input.account_id)
        command = domain.CloseAccount(key, info.context.caller.person_id)
        return await _change(
            info, CloseAccountPayload, command, key, input, mutation="closeAccount", status=AccountStatus.CLOSED
        )

    @strawberry.mutation(description="Freeze anyone's account: it then only receives. For operators.")
    async def freeze_account(
        self, info: AppInfo, input: Annotated[FreezeAccountInput, strawberry.argument(description=INPUT)]
    ) -> FreezeAccountPayload:
        key = account_key(input.account_id)
        return await _change(
            info,
            FreezeAccountPayload,
            domain.FreezeAccount(key),
            key,
            input,
            mutation="freezeAccount",
            status=AccountStatus.FROZEN,
        )

    @strawberry.mutation(description="Let a frozen account pay again. For operators.")
    async def unfreeze_account(
        self, info: AppInfo, input: Annotated[UnfreezeAccountInput, strawberry.argument(description=INPUT)]
    ) -> UnfreezeAccountPayload:
        key = account_key(input.account_id)
        command = domain.UnfreezeAccount(key)
        return await _change(info, UnfreezeAccountPayload, command, key, input, mutation="unfreezeAccount")
