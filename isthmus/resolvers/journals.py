"""Journals: balanced, immutable movements of money, as far as the viewer may see into them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from uuid import UUID

import strawberry

from isthmus.domain.ledger import JournalPosted
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import Kind, encode
from isthmus.read_models.journals import JournalRow, LineRow
from isthmus.resolvers.accounts import Account
from isthmus.resolvers.ledger_accounts import account_after, account_from
from isthmus.resolvers.money import Money, money
from isthmus.resolvers.nodes import Node
from isthmus.resolvers.transactions import Direction
from isthmus.write_models.envelope import Recorded


@strawberry.enum(description="What a journal was made for.")
class JournalKind(Enum):
    DEPOSIT = strawberry.enum_value("DEPOSIT", description="Money that arrived at a bank of ours.")
    INTERNAL_TRANSFER = strawberry.enum_value("INTERNAL_TRANSFER", description="Between two accounts of the platform.")
    RESERVATION = strawberry.enum_value("RESERVATION", description="A hold, or the posting of one.")
    PAYMENT = strawberry.enum_value(
        "PAYMENT", description="A payment to a payee elsewhere: its money reserved, or gone."
    )
    REVERSAL = strawberry.enum_value("REVERSAL", description="The mirror of another journal, as its correction.")


@strawberry.enum(description="How far a journal has come.")
class JournalStatus(Enum):
    PENDING = strawberry.enum_value("PENDING", description="Reserves; not posted or voided yet.")
    POSTED = strawberry.enum_value("POSTED", description="Booked for good.")
    VOIDED = strawberry.enum_value("VOIDED", description="A hold that was released.")


@strawberry.type(description="One debit or credit of a journal.")
class JournalEntry:
    line: strawberry.Private[LineRow]
    pinned: strawberry.Private[Mapping[UUID, Account] | None]

    @strawberry.field(description="The account it moves; null where that is not the viewer's own.")
    async def account(self, info: AppInfo) -> Account | None:
        if self.pinned is not None:
            return self.pinned.get(self.line.account_id)
        row = await info.context.loaders.accounts.load(self.line.account_id)
        return None if row is None else account_from(row)

    @strawberry.field(description="Debit or credit.")
    def direction(self) -> Direction:
        return Direction(self.line.direction)

    @strawberry.field(description="How much; always more than zero.")
    async def amount(self, info: AppInfo) -> Money:
        return await money(info.context, self.line.amount, self.line.asset)


@strawberry.type(description="A balanced, immutable movement of money: per asset, its debits equal its credits.")
class Journal(Node):
    row: strawberry.Private[JournalRow]
    pinned: strawberry.Private[Mapping[UUID, Account] | None]

    @strawberry.field(description="What it was made for.")
    def kind(self) -> JournalKind:
        return JournalKind(self.row.kind)

    @strawberry.field(description="How far it has come.")
    def status(self) -> JournalStatus:
        return JournalStatus(self.row.status)

    @strawberry.field(description="What its payer wrote; null where nothing, or once those personal data are erased.")
    async def reference(self, info: AppInfo) -> str | None:
        return await info.context.loaders.texts.load(self.row.reference) if self.row.reference else None

    @strawberry.field(description="When it was committed.")
    def posted_at(self) -> datetime:
        return self.row.posted_at

    @strawberry.field(description="Finds the request that made it in the audit trail.")
    def correlation_id(self) -> strawberry.ID:
        return strawberry.ID(self.row.correlation_id)

    @strawberry.field(description="Its debits and credits.")
    def entries(self) -> list[JournalEntry]:
        return [JournalEntry(line=line, pinned=self.pinned) for line in self.row.lines]


def journal_of(row: JournalRow, pinned: Mapping[UUID, Account] | None = None) -> Journal:
    return Journal(id=strawberry.ID(encode(Kind.JOURNAL, row.journal_id)), row=row, pinned=pinned)


def posted_journal(info: AppInfo, recorded: Recorded, event: JournalPosted) -> Journal:
    """A journal as its event has it: right before the projection knows it, and the same when the answer is replayed."""
    lines = tuple(LineRow(leg.account_id, leg.direction.value, leg.amount, leg.asset) for leg in event.legs)
    row = JournalRow(
        event.journal_id,
        event.kind.value,
        "POSTED",
        event.reference,
        recorded.committed_at,
        recorded.correlation_id,
        lines,
    )
    sight = info.context.sight
    own = {
        after.account_id: account_after(after, recorded)
        for after in event.figures
        if after.owner == sight.person or sight.all_accounts
    }
    return journal_of(row, own)
