"""Notifications as they are shown, and which of them somebody wants."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import strawberry

from isthmus.domain.money import printed
from isthmus.domain.notices import SAFETY, Facts, NoticeKind, words
from isthmus.domain.notifications import Channel
from isthmus.graphql.connections import Edge, PageInfo
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import Kind, encode
from isthmus.graphql.scalars import Position
from isthmus.read_models.notices import NoticeRow
from isthmus.resolvers.nodes import Node


@strawberry.enum(description="What a notification tells.")
class NotificationKind(Enum):
    PAYMENT_EXECUTED = strawberry.enum_value("PAYMENT_EXECUTED", description="A payment was sent.")
    PAYMENT_SETTLED = strawberry.enum_value("PAYMENT_SETTLED", description="A payment has arrived.")
    PAYMENT_REJECTED = strawberry.enum_value("PAYMENT_REJECTED", description="A payment was not made.")
    PAYMENT_FAILED = strawberry.enum_value("PAYMENT_FAILED", description="A payment could not be made.")
    PAYMENT_EXPIRED = strawberry.enum_value("PAYMENT_EXPIRED", description="A payment was not confirmed in time.")
    PAYMENT_CANCELLED = strawberry.enum_value(
        "PAYMENT_CANCELLED", description="A payment was cancelled, and not by the viewer in person."
    )
    SCA_BLOCKED = strawberry.enum_value(
        "SCA_BLOCKED", description="After too many wrong answers nothing can be authorised for a while."
    )
    DEVICE_ENROLLED = strawberry.enum_value("DEVICE_ENROLLED", description="A device can now authorise payments.")
    DEVICE_REMOVED = strawberry.enum_value("DEVICE_REMOVED", description="A device authorises nothing any more.")
    AUTHENTICATOR_ENROLLED = strawberry.enum_value(
        "AUTHENTICATOR_ENROLLED", description="Codes of an authenticator app can now authorise payments."
    )
    AUTHENTICATOR_REMOVED = strawberry.enum_value(
        "AUTHENTICATOR_REMOVED", description="An authenticator app's codes authorise nothing any more."
    )
    API_KEY_MADE = strawberry.enum_value("API_KEY_MADE", description="An API key can now be used.")
    PAYEE_SAVED = strawberry.enum_value("PAYEE_SAVED", description="A payee was saved.")
    LIMIT_CHANGED = strawberry.enum_value("LIMIT_CHANGED", description="The viewer's own limit is another now.")
    NOTIFICATIONS_SWITCHED_OFF = strawberry.enum_value(
        "NOTIFICATIONS_SWITCHED_OFF", description="Something is not told by one of the ways any more."
    )
    CONSENT_EXPIRY_NEAR = strawberry.enum_value("CONSENT_EXPIRY_NEAR", description="A consent ends soon.")
    CONSENT_EXPIRED = strawberry.enum_value("CONSENT_EXPIRED", description="A consent has ended.")
    CONSENT_REVOKED = strawberry.enum_value("CONSENT_REVOKED", description="A consent was taken back.")
    CONSENT_RENEWAL_NEEDED = strawberry.enum_value(
        "CONSENT_RENEWAL_NEEDED", description="A bank wants its customer to sign in again."
    )


@strawberry.enum(description="By which way somebody is told.")
class NotificationChannel(Enum):
    PUSH = strawberry.enum_value("PUSH", description="To their devices.")
    EMAIL = strawberry.enum_value("EMAIL", description="To their mailbox.")


_ABOUT = {"PAYMENT": Kind.PAYMENT, "DEVICE": Kind.DEVICE, "CONSENT": Kind.CONSENT}


@strawberry.type(description="Something that the viewer was told of.")
class Notification(Node):
    row: strawberry.Private[NoticeRow]
    kind: NotificationKind = strawberry.field(description="What it tells.")
    at: datetime = strawberry.field(description="When it happened.")
    read_at: datetime | None = strawberry.field(description="When it was marked as read; null where it was not.")
    position: Position = strawberry.field(
        description="Its place among the viewer's own, not in the log: what to resume `notificationReceived` after."
    )

    @strawberry.field(description="In a few words; null once the viewer's personal data are erased.")
    async def title(self, info: AppInfo) -> str | None:
        said = await self._said(info)
        return None if said is None else said[0]

    @strawberry.field(description="In a sentence or two; null once the viewer's personal data are erased.")
    async def body(self, info: AppInfo) -> str | None:
        said = await self._said(info)
        return None if said is None else said[1]

    @strawberry.field(
        description="The id of the payment, the device or the consent that it is about; null where it is about none of them."
    )
    def about(self) -> strawberry.ID | None:
        kind = _ABOUT.get(self.row.kind.partition("_")[0])
        return None if kind is None else strawberry.ID(encode(kind, self.row.subject_id))

    async def _said(self, info: AppInfo) -> tuple[str, str] | None:
        row, texts = self.row, info.context.loaders.texts
        amount = None
        if row.amount is not None and row.asset is not None:
            amount = f"{printed(row.amount, await info.context.scale(row.asset))} {row.asset}"
        facts = Facts(
            amount=amount,
            payee=None if row.payee_name is None else await texts.load(row.payee_name),
            device=None if row.device_name is None else await texts.load(row.device_name),
            bank=row.bank_name,
            ends=None if row.ends_at is None else row.ends_at.date().isoformat(),
        )
        return words(NoticeKind(row.kind), facts)


def notification_of(row: NoticeRow) -> Notification:
    return Notification(
        id=strawberry.ID(encode(Kind.NOTIFICATION, row.notification_id)),
        row=row,
        kind=NotificationKind(row.kind),
        at=row.happened_at,
        read_at=row.read_at,
        position=Position(row.number),
    )


@strawberry.type(description="A page of notifications, newest first.")
class NotificationConnection:
    edges: list[Edge[Notification]] = strawberry.field(description="The notifications of this page.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the whole list.")

    @strawberry.field(description="How many there are on all pages.")
    async def total_count(self, info: AppInfo) -> int:
        return (await info.context.services.read.notices.counts(info.context.caller.person_id))[0]

    @strawberry.field(description="How many of them were not marked as read.")
    async def unread_count(self, info: AppInfo) -> int:
        return (await info.context.services.read.notices.counts(info.context.caller.person_id))[1]


@strawberry.type(
    description="Whether notifications of a kind come by a channel. They are listed whether or not any comes."
)
class NotificationPreference:
    kind: NotificationKind = strawberry.field(description="What they tell.")
    channel: NotificationChannel = strawberry.field(description="By which way.")
    wanted: bool = strawberry.field(description="Whether they come.")
    fixed: bool = strawberry.field(
        description="True where they always come, since they are about the account's safety."
    )


def preferences_of(unwanted: frozenset[tuple[str, str]]) -> list[NotificationPreference]:
    return [
        NotificationPreference(
            kind=NotificationKind(kind.value),
            channel=NotificationChannel(channel.value),
            wanted=kind in SAFETY or (kind.value, channel.value) not in unwanted,
            fixed=kind in SAFETY,
        )
        for kind in NoticeKind
        for channel in Channel
    ]
