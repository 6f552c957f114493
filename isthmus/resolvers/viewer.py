"""Who is asking, and anything by its id."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import strawberry
from strawberry import UNSET

from isthmus.graphql.connections import AFTER, FIRST, FIRST_DEFAULT, edges_of, page_info, page_size, position_of
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import Kind, decode, encode
from isthmus.read_models.accounts import AccountRow
from isthmus.read_models.bank_accounts import BankAccountRow
from isthmus.resolvers.accounts import Account, AccountConnection, AccountFilter, AccountKind
from isthmus.resolvers.api_keys import api_key_of
from isthmus.resolvers.apps import AuthenticatorApp, app_of
from isthmus.resolvers.bank_accounts import bank_account_of
from isthmus.resolvers.consents import BankConsentConnection, consent_of
from isthmus.resolvers.devices import Device, device_of
from isthmus.resolvers.journals import journal_of
from isthmus.resolvers.ledger_accounts import account_from
from isthmus.resolvers.limits import PersonalLimit, limit_of
from isthmus.resolvers.nodes import Node
from isthmus.resolvers.notifications import (
    NotificationConnection,
    NotificationPreference,
    notification_of,
    preferences_of,
)
from isthmus.resolvers.payments import PaymentConnection, payment_of
from isthmus.resolvers.saved_payees import SavedPayeeConnection, saved_payee_of
from isthmus.resolvers.transactions import bank_transaction_of, transaction_of

_CURSOR, _CONSENTS, _PAYMENTS = "account", "consent", "payment"
_NOTIFICATIONS, _PAYEES = "notification", "payee"


@strawberry.enum(description="What someone is to the platform.")
class Role(Enum):
    CUSTOMER = strawberry.enum_value("customer", description="Owns accounts.")
    OPERATOR = strawberry.enum_value("operator", description="Runs the platform: settles deposits, freezes accounts.")
    AUDITOR = strawberry.enum_value("auditor", description="Sees everyone's audit trail and changes nothing.")
    DEVELOPER = strawberry.enum_value("developer", description="Builds clients: may read the schema in production.")
    SERVICE = strawberry.enum_value("service", description="A program.")


@strawberry.type(description="Whoever is signed in.")
class Viewer(Node):
    subject: str = strawberry.field(
        description="Who that is to the issuer that signed them in; the part of an API key that is no secret, where one calls."
    )
    roles: list[Role] = strawberry.field(description="What they are to the platform.")

    @strawberry.field(description="Their accounts, oldest first.")
    async def accounts(
        self,
        info: AppInfo,
        first: Annotated[int, strawberry.argument(description=FIRST)] = FIRST_DEFAULT,
        after: Annotated[str | None, strawberry.argument(description=AFTER)] = UNSET,
        filter: Annotated[AccountFilter | None, strawberry.argument(description="Only some of them.")] = UNSET,
    ) -> AccountConnection:
        size, position = page_size(first), position_of(_CURSOR, after or None)
        kinds = (
            [kind.name for kind in filter.kinds]
            if filter and filter.kinds is not None and filter.kinds is not UNSET
            else None
        )
        read, owner = info.context.services.read, info.context.caller.person_id
        ours, more = await read.accounts.page(owner, size, position, kinds)
        rows: list[AccountRow | BankAccountRow] = [*ours]
        if kinds is None or AccountKind.BANK.name in kinds:
            theirs, more_theirs = await read.bank_accounts.page(owner, size, position)
            rows = sorted([*ours, *theirs], key=lambda row: row.opened_position)
            more, rows = more or more_theirs or len(rows) > size, rows[:size]
        edges = edges_of(_CURSOR, rows, lambda row: row.opened_position, _any_account)
        return AccountConnection(
            kinds=kinds,
            edges=edges,
            page_info=page_info([edge.cursor for edge in edges], more=more, after=after or None),
        )

    @strawberry.field(description="What they let us see at banks, oldest first.")
    async def bank_consents(
        self,
        info: AppInfo,
        first: Annotated[int, strawberry.argument(description=FIRST)] = FIRST_DEFAULT,
        after: Annotated[str | None, strawberry.argument(description=AFTER)] = UNSET,
    ) -> BankConsentConnection:
        size, position = page_size(first), position_of(_CONSENTS, after or None)
        rows, more = await info.context.services.read.consents.page(info.context.caller.person_id, size, position)
        edges = edges_of(_CONSENTS, rows, lambda row: row.requested_position, consent_of)
        return BankConsentConnection(
            edges=edges, page_info=page_info([edge.cursor for edge in edges], more=more, after=after or None)
        )

    @strawberry.field(description="Their payments, newest first.")
    async def payments(
        self,
        info: AppInfo,
        first: Annotated[int, strawberry.argument(description=FIRST)] = FIRST_DEFAULT,
        after: Annotated[str | None, strawberry.argument(description=AFTER)] = UNSET,
    ) -> PaymentConnection:
        size, position = page_size(first), position_of(_PAYMENTS, after or None)
        rows, more = await info.context.services.read.payments.page(info.context.caller.person_id, size, position)
        edges = edges_of(_PAYMENTS, rows, lambda row: row.created_position, payment_of)
        return PaymentConnection(
            edges=edges, page_info=page_info([edge.cursor for edge in edges], more=more, after=after or None)
        )

    @strawberry.field(description="What they were told of, newest first.")
    async def notifications(
        self,
        info: AppInfo,
        first: Annotated[int, strawberry.argument(description=FIRST)] = FIRST_DEFAULT,
        after: Annotated[str | None, strawberry.argument(description=AFTER)] = UNSET,
    ) -> NotificationConnection:
        size, position = page_size(first), position_of(_NOTIFICATIONS, after or None)
        rows, more = await info.context.services.read.notices.page(info.context.caller.person_id, size, position)
        edges = edges_of(_NOTIFICATIONS, rows, lambda row: row.number, notification_of)
        return NotificationConnection(
            edges=edges, page_info=page_info([edge.cursor for edge in edges], more=more, after=after or None)
        )

    @strawberry.field(description="Which notifications they want by which way: one of each kind and channel.")
    async def notification_preferences(self, info: AppInfo) -> list[NotificationPreference]:
        return preferences_of(await info.context.services.read.notices.unwanted(info.context.caller.person_id))

    @strawberry.field(description="The payees that they saved, newest first.")
    async def payees(
        self,
        info: AppInfo,
        first: Annotated[int, strawberry.argument(description=FIRST)] = FIRST_DEFAULT,
        after: Annotated[str | None, strawberry.argument(description=AFTER)] = UNSET,
    ) -> SavedPayeeConnection:
        size, position = page_size(first), position_of(_PAYEES, after or None)
        rows, more = await info.context.services.read.payees.page(info.context.caller.person_id, size, position)
        edges = edges_of(_PAYEES, rows, lambda row: row.created_position, saved_payee_of)
        return SavedPayeeConnection(
            edges=edges, page_info=page_info([edge.cursor for edge in edges], more=more, after=after or None)
        )

    @strawberry.field(description="Their devices that sign what they authorise, oldest first.")
    async def devices(self, info: AppInfo) -> list[Device]:
        rows = await info.context.services.read.devices.of_owner(info.context.caller.person_id)
        return [device_of(row) for row in rows]

    @strawberry.field(
        description="Their authenticator app, or the last one that they had or asked for; null where there was none."
    )
    async def authenticator_app(self, info: AppInfo) -> AuthenticatorApp | None:
        row = await info.context.services.read.apps.of_owner(info.context.caller.person_id)
        return None if row is None else app_of(row)

    @strawberry.field(description="The limits that they set themselves, or ask to raise, by asset.")
    async def limits(self, info: AppInfo) -> list[PersonalLimit]:
        return [
            limit_of(row) for row in await info.context.services.read.limits.of_owner(info.context.caller.person_id)
        ]


def _any_account(row: AccountRow | BankAccountRow) -> Account:
    return bank_account_of(row) if isinstance(row, BankAccountRow) else account_from(row)


def viewer_of(info: AppInfo) -> Viewer:
    caller = info.context.caller
    return Viewer(
        id=strawberry.ID(encode(Kind.PERSON, caller.person_id)),
        subject=caller.subject,
        roles=[Role[role.name] for role in sorted(caller.roles)],
    )


@strawberry.type
class ViewerQueries:
    @strawberry.field(description="Whoever is signed in.")
    def viewer(self, info: AppInfo) -> Viewer:
        return viewer_of(info)

    @strawberry.field(
        description="Anything by its id; null for what does not exist, is someone else's, or is not an id at all."
    )
    async def node(
        self,
        info: AppInfo,
        id: Annotated[strawberry.ID, strawberry.argument(description="An id as any field gave it.")],
    ) -> Node | None:
        loaders = info.context.loaders
        match decode(id):
            case (Kind.ACCOUNT, (key,)):
                account = await loaders.accounts.load(key)
                return None if account is None else account_from(account)
            case (Kind.JOURNAL, (key,)):
                journal = await loaders.journals.load(key)
                return None if journal is None else journal_of(journal)
            case (Kind.TRANSACTION, (account_id, journal_id)):
                transaction = await loaders.transactions.load((account_id, journal_id))
                return None if transaction is None else transaction_of(transaction)
            case (Kind.BANK_ACCOUNT, (key,)):
                bank_account = await loaders.bank_accounts.load(key)
                return None if bank_account is None else bank_account_of(bank_account)
            case (Kind.BANK_TRANSACTION, (key,)):
                told = await loaders.bank_transactions.load(key)
                return None if told is None else bank_transaction_of(told)
            case (Kind.CONSENT, (key,)):
                consent = await loaders.consents.load(key)
                return None if consent is None else consent_of(consent)
            case (Kind.PAYMENT, (key,)):
                payment = await loaders.payments.load(key)
                return None if payment is None else payment_of(payment)
            case (Kind.DEVICE, (key,)):
                device = await loaders.devices.load(key)
                return None if device is None else device_of(device)
            case (Kind.NOTIFICATION, (key,)):
                notice = await loaders.notices.load(key)
                return None if notice is None else notification_of(notice)
            case (Kind.PAYEE, (key,)):
                payee = await loaders.payees.load(key)
                return None if payee is None else saved_payee_of(payee)
            case (Kind.API_KEY, (key,)) if info.context.caller.api_key_id is None:
                api_key = await loaders.api_keys.load(key)
                return None if api_key is None else api_key_of(api_key)
            case (Kind.PERSON, (person,)) if person == info.context.caller.person_id:
                return viewer_of(info)
            case _:
                return None
