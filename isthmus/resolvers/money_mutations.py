"""Wishes that move money: a customer's internal transfer, an operator's settled deposit."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import strawberry
from strawberry import UNSET

from isthmus.domain.deposits import SettleDeposit
from isthmus.domain.identifiers import NOWHERE
from isthmus.domain.internal_transfers import TransferInternally
from isthmus.domain.ledger import JournalPosted
from isthmus.domain.personal import PersonalText
from isthmus.domain.refusals import Refusal
from isthmus.domain.validation import asset_fault, first_fault, key_fault, money_fault, reference_fault
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import account_key
from isthmus.graphql.scalars import Position
from isthmus.resolvers.journals import Journal, posted_journal
from isthmus.resolvers.money import MoneyInput, canonical
from isthmus.resolvers.wishes import INPUT, KEY, AnyPayload, Payload, refused, run
from isthmus.write_models.envelope import PLATFORM, Done, Refused

_AMOUNT = ("input", "amount", "amount")
_ASSET = ("input", "amount", "asset")
#: Which bank account of ours the money arrived at, until there is more than one.
_PROVIDER = "operator"


@strawberry.input(description="Money to be moved between two accounts of the platform.")
class TransferInternallyInput:
    from_account_id: strawberry.ID = strawberry.field(description="One of the viewer's accounts.")
    to_account_id: strawberry.ID = strawberry.field(
        description="Any open account in the same asset; another person's up to so much at once, above it by `initiatePayment`."
    )
    amount: MoneyInput = strawberry.field(description="How much, in the asset of both accounts.")
    reference: str | None = strawberry.field(
        default=UNSET, description="A note for both sides, of 140 characters at most."
    )
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="Fiat money that arrived at a bank of ours for a customer.")
class SettleDepositInput:
    account_id: strawberry.ID = strawberry.field(description="The customer's account.")
    amount: MoneyInput = strawberry.field(description="How much, in the account's asset.")
    reference: str = strawberry.field(description="The bank's reference: a deposit is settled once for each.")
    idempotency_key: str | None = strawberry.field(
        default=UNSET, description="Not needed and not looked at: the reference says which deposit it is."
    )


@strawberry.type(description="What became of the wish to move money.")
class TransferInternallyPayload(Payload):
    journal: Journal | None = strawberry.field(description="The journal that moved it; null when refused.")


@strawberry.type(description="What became of the wish to settle a deposit.")
class SettleDepositPayload(Payload):
    journal: Journal | None = strawberry.field(description="The journal that booked it; null when refused.")


async def amount_fault(info: AppInfo, amount: MoneyInput) -> Refusal | None:
    asset = await info.context.services.read.assets.find(amount.asset)
    unknown = asset_fault(amount.asset, asset, _ASSET)
    return unknown if asset is None else money_fault(amount.amount, asset, _AMOUNT)


async def _journal_payload(info: AppInfo, kind: type[AnyPayload], outcome: Done | Refused) -> AnyPayload:
    if isinstance(outcome, Refused):
        return await refused(info, kind, outcome.refusal, "journal", outcome)
    journal = next(
        posted_journal(info, recorded, recorded.event)
        for recorded in outcome.events
        if isinstance(recorded.event, JournalPosted)
    )
    fields = {"journal": journal}
    return kind(position=Position(outcome.position), replayed=outcome.replayed, errors=[], **fields)


@strawberry.type
class MoneyMutations:
    @strawberry.mutation(description="Move money from one of the viewer's accounts to another account of the platform.")
    async def transfer_internally(
        self, info: AppInfo, input: Annotated[TransferInternallyInput, strawberry.argument(description=INPUT)]
    ) -> TransferInternallyPayload:
        reference = input.reference or None
        fault = first_fault(
            key_fault(input.idempotency_key), await amount_fault(info, input.amount), reference_fault(reference)
        )
        if fault is not None:
            return await refused(info, TransferInternallyPayload, fault, "journal")
        command = TransferInternally(
            journal_id=info.context.services.ids(),
            payer=info.context.caller.person_id,
            from_account_id=account_key(input.from_account_id),
            to_account_id=account_key(input.to_account_id),
            amount=input.amount.amount,
            asset=input.amount.asset,
            reference=PersonalText(reference) if reference else None,
            unasked=info.context.services.transfer_above.get(input.amount.asset, Decimal(0)),
        )
        body = {
            "fromAccountId": input.from_account_id,
            "toAccountId": input.to_account_id,
            "amount": canonical(input.amount),
            "reference": reference,
        }
        outcome = await run(info, command, mutation="transferInternally", key=input.idempotency_key, body=body)
        return await _journal_payload(info, TransferInternallyPayload, outcome)

    @strawberry.mutation(description="Book fiat money that arrived for a customer: once per reference. For operators.")
    async def settle_deposit(
        self, info: AppInfo, input: Annotated[SettleDepositInput, strawberry.argument(description=INPUT)]
    ) -> SettleDepositPayload:
        fault = first_fault(await amount_fault(info, input.amount), reference_fault(input.reference, required=True))
        if fault is not None:
            return await refused(info, SettleDepositPayload, fault, "journal")
        account_id = account_key(input.account_id)
        owned = await info.context.services.read.accounts.owner_of(account_id)
        command = SettleDeposit(
            journal_id=info.context.services.ids(),
            account_id=account_id,
            owner=owned[0] if owned is not None else NOWHERE,
            amount=input.amount.amount,
            asset=input.amount.asset,
            provider=_PROVIDER,
            reference=PersonalText(input.reference),
        )
        body = {"accountId": input.account_id, "amount": canonical(input.amount), "reference": input.reference}
        outcome = await run(info, command, mutation="settleDeposit", key=input.reference, body=body, scope=PLATFORM)
        return await _journal_payload(info, SettleDepositPayload, outcome)
