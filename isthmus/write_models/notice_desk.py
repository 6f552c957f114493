"""What a person wishes about their notices: which of them to be told by which way, and that they have read some."""

from __future__ import annotations

from uuid import UUID

from isthmus.domain.clock import Clock
from isthmus.domain.identifiers import IdSource
from isthmus.domain.notices import SAFETY, NoticeKind
from isthmus.domain.notifications import Channel
from isthmus.domain.personal import PersonalTexts
from isthmus.domain.refusals import InvalidInput, Refusal
from isthmus.write_models.connection import Pool
from isthmus.write_models.notices import Notices


class NoticeDesk:
    """Each wish is the same however often it is made, so that none has a key."""

    def __init__(self, pool: Pool, notices: Notices, texts: PersonalTexts, ids: IdSource, clock: Clock) -> None:
        self._pool = pool
        self._notices = notices
        self._texts = texts
        self._ids = ids
        self._clock = clock

    async def prefer(self, person: UUID, kind: NoticeKind, channel: Channel, *, wanted: bool) -> Refusal | None:
        """Of what is switched off they are told, by every way: whoever took over a session would silence it first."""
        if kind in SAFETY and not wanted:
            return InvalidInput("This is about the safety of the account, and is always told.", ("input", "wanted"))
        statement = (
            "delete from notification_preferences where owner = $1 and kind = $2 and channel = $3"
            if wanted
            else "insert into notification_preferences (owner, kind, channel) values ($1, $2, $3) on conflict do nothing"
        )
        async with self._pool.acquire() as connection, connection.transaction():
            status = await connection.execute(statement, person, kind, channel)
            if not wanted and status != "INSERT 0 0":
                # Who has no key counts as erased, and is told nothing: they have one from here on.
                await self._texts.seal_many(connection, [(person, "")])
                await self._notices.tell(connection, person, NoticeKind.NOTIFICATIONS_SWITCHED_OFF, self._ids())
        return None

    async def mark_read(self, person: UUID, through: int) -> None:
        """The person's own up to that number of theirs."""
        async with self._pool.acquire() as connection:
            await connection.execute(
                "update notifications set read_at = coalesce($3::timestamptz, statement_timestamp()) "
                "where owner = $1 and number <= $2 and read_at is null",
                person,
                through,
                self._clock.stamp(),
            )
