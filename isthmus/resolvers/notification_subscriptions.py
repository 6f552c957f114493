"""Live: what the viewer is told of."""

from __future__ import annotations

from collections.abc import AsyncIterable, Hashable
from typing import Annotated

import strawberry
from strawberry import UNSET

from isthmus.graphql.context import AppInfo, SharedContext
from isthmus.graphql.scalars import Position
from isthmus.read_models.notices import REPLAY_MAX, NoticeRow
from isthmus.resolvers.notifications import Notification, notification_of
from isthmus.resolvers.streams import Stream


class NotificationStream(Stream[NoticeRow, Notification]):
    def mark(self, row: NoticeRow) -> Hashable:
        return row.notification_id, row.read_at

    def place(self, row: NoticeRow) -> str:
        return str(row.number)

    async def value(self, context: SharedContext, row: NoticeRow) -> Notification:  # noqa: ARG002 - as the port has it
        return notification_of(row)


@strawberry.type
class NotificationSubscriptions:
    @strawberry.subscription(
        description="The viewer's notifications from now on, whatever they want by other ways; with `after`, first those that came behind "
        f"that one, the newest {REPLAY_MAX} of them."
    )
    async def notification_received(
        self,
        info: AppInfo,
        after: Annotated[
            Position | None,
            strawberry.argument(description="The `position` of the last notification that was received."),
        ] = UNSET,
    ) -> AsyncIterable[Notification]:
        context = info.context
        position = context.resume_after
        if position is None and isinstance(after, int):
            position = after
        return NotificationStream(await context.services.notice_feed.subscribe(context.sight, position))
