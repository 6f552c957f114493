"""Sending what was noted: its words are made when it is sent, of what can still be read then.

A message has one key, however often it is sent, so that a process which dies before it writes down that it was sent does no harm:
the next one sends it again under that key, and the person has it once. A provider that is away is tried again, later and later, until
what there is to tell is too old to be told.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import asyncpg
import structlog

from isthmus.domain.clock import Clock
from isthmus.domain.money import Asset, printed
from isthmus.domain.notices import SAFETY, Facts, NoticeKind, delivery_key, wait_after, words
from isthmus.domain.notifications import Channel, Message, Notifier, Undeliverable
from isthmus.domain.personal import PersonalTexts
from isthmus.failpoints import failpoint_async
from isthmus.write_models.connection import Connection, Pool
from isthmus.write_models.notices import SEND_NOTICE, job_of, told
from isthmus.write_models.timers import enqueue

_DUE = """
select d.tries, m.kind as told_kind, n.*, coalesce($3::timestamptz, statement_timestamp()) - m.happened_at as age,
    exists (select from notification_preferences p where p.owner = m.owner and p.kind = m.kind and p.channel = d.channel) as unwanted
from notification_deliveries d join notifications m on m.id = d.notification_id
left join listed_notifications n on n.id = m.id
where d.notification_id = $1 and d.channel = $2 and d.state = 'WAITING'"""

log = structlog.get_logger(__name__)


class NoticeDelivery:
    """`assets`: what each asset's amounts look like. What happened longer ago than `within` is not sent any more."""

    def __init__(
        self,
        pool: Pool,
        texts: PersonalTexts,
        notifier: Notifier,
        assets: dict[str, Asset],
        within: timedelta,
        clock: Clock,
    ) -> None:
        self._pool = pool
        self._texts = texts
        self._notifier = notifier
        self._assets = assets
        self._within = within
        self._clock = clock

    async def deliver(self, notification_id: UUID, channel: Channel) -> str:
        """Returns the outcome's name, `over` where there was nothing to do. Again and again is once."""
        async with self._pool.acquire() as connection:
            row = await connection.fetchrow(_DUE, notification_id, channel, self._clock.stamp())
            said = await self._words(connection, row) if row is not None and row["id"] is not None else None
        if row is None:
            return "over"
        kind, after = NoticeKind(row["told_kind"]), timedelta(0)
        if said is None:
            outcome = "erased"
        elif row["age"] > self._within:
            outcome = "late"
        elif row["unwanted"] and kind not in SAFETY:
            outcome = "unwanted"
        else:
            message = Message(row["owner"], delivery_key(notification_id, channel), *said, channel)
            outcome, after = await self._send(message, kind)
        await failpoint_async("notices.sent")
        await self._settle(notification_id, channel, outcome, row["tries"] + 1, after)
        told.labels(kind, channel, outcome).inc()
        return outcome

    async def _send(self, message: Message, kind: NoticeKind) -> tuple[str, timedelta]:
        """The outcome, and for how long the carrier wants to be left alone."""
        try:
            await self._notifier.send(message)
        except Undeliverable as fault:
            log.warning("a notification is not delivered", kind=kind, why=str(fault), again=fault.again)
            return "again" if fault.again else "failed", timedelta(seconds=fault.after_s)
        return "sent", timedelta(0)

    async def _settle(
        self, notification_id: UUID, channel: Channel, outcome: str, tries: int, after: timedelta
    ) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            if outcome != "again":
                await connection.execute(
                    "update notification_deliveries set state = $3, tries = $4 where notification_id = $1 and channel = $2",
                    notification_id,
                    channel,
                    outcome.upper(),
                    tries,
                )
                return
            wait, payload = max(wait_after(tries), after), job_of(notification_id, channel)
            await connection.execute(
                "update notification_deliveries set tries = $3, look_at = now() + $4::interval where notification_id = $1 and channel = $2",
                notification_id,
                channel,
                tries,
                wait,
            )
            await enqueue(connection, SEND_NOTICE, payload, wait, f"{SEND_NOTICE}:{payload.decode()}")

    async def _words(self, connection: Connection, row: asyncpg.Record) -> tuple[str, str] | None:
        sealed = [text for text in (row["payee_name"], row["device_name"]) if text is not None]
        plain = dict(zip(sealed, await self._texts.open_many(connection, sealed), strict=True))
        asset = self._assets.get(row["asset"])
        facts = Facts(
            amount=f"{printed(row['amount'], asset.scale)} {asset.code}" if asset is not None else None,
            payee=plain.get(row["payee_name"]),
            device=plain.get(row["device_name"]),
            bank=row["bank_name"],
            ends=row["expires_at"].date().isoformat() if row["expires_at"] is not None else None,
        )
        return words(NoticeKind(row["kind"]), facts)
