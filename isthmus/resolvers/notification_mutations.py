"""To mark notifications as read, and to say which are wanted."""

from __future__ import annotations

from typing import Annotated

import strawberry

from isthmus.domain.notices import NoticeKind
from isthmus.domain.notifications import Channel
from isthmus.graphql.context import AppInfo
from isthmus.graphql.scalars import Position
from isthmus.resolvers.notifications import (
    NotificationChannel,
    NotificationKind,
    NotificationPreference,
    preferences_of,
)
from isthmus.resolvers.user_errors import user_error
from isthmus.resolvers.wishes import INPUT, Payload


@strawberry.input(description="How far notifications were read.")
class MarkNotificationsReadInput:
    through: Position = strawberry.field(
        description="The `position` of the newest that was read: it is marked, and all before it."
    )


@strawberry.input(description="Whether notifications of a kind are to come by a channel.")
class SetNotificationPreferenceInput:
    kind: NotificationKind = strawberry.field(description="What they tell.")
    channel: NotificationChannel = strawberry.field(description="By which way.")
    wanted: bool = strawberry.field(description="Whether they are to come. What is fixed cannot be switched off.")


@strawberry.type(description="What became of the wish to mark notifications as read.")
class MarkNotificationsReadPayload(Payload):
    unread_count: int = strawberry.field(description="How many are not marked now.")


@strawberry.type(description="What became of the wish to be told, or not.")
class SetNotificationPreferencePayload(Payload):
    preferences: list[NotificationPreference] = strawberry.field(
        description="All the viewer's preferences, as they are now."
    )


@strawberry.type
class NotificationMutations:
    @strawberry.mutation(description="Mark notifications as read. The same again is the same, so that it has no key.")
    async def mark_notifications_read(
        self, info: AppInfo, input: Annotated[MarkNotificationsReadInput, strawberry.argument(description=INPUT)]
    ) -> MarkNotificationsReadPayload:
        services, person = info.context.services, info.context.caller.person_id
        await services.notices.mark_read(person, input.through)
        _, unread = await services.read.notices.counts(person)
        end = Position(await services.read.log.end())
        return MarkNotificationsReadPayload(unread_count=unread, position=end, replayed=False, errors=[])

    @strawberry.mutation(
        description="Say whether notifications of a kind are to come by a channel. The viewer is told, by every way, of what is switched "
        "off. The same again is the same, so that it has no key. Not for API keys: whoever stole one would not be heard of."
    )
    async def set_notification_preference(
        self, info: AppInfo, input: Annotated[SetNotificationPreferenceInput, strawberry.argument(description=INPUT)]
    ) -> SetNotificationPreferencePayload:
        services, person = info.context.services, info.context.caller.person_id
        kind, channel = NoticeKind(input.kind.name), Channel(input.channel.name)
        refusal = await services.notices.prefer(person, kind, channel, wanted=input.wanted)
        return SetNotificationPreferencePayload(
            preferences=preferences_of(await services.read.notices.unwanted(person)),
            position=Position(await services.read.log.end()),
            replayed=False,
            errors=[] if refusal is None else [await user_error(info.context, refusal)],
        )
