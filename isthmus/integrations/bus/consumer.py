"""Reading the log: partitions come and go through Kafka's consumer group; what was read is the reader's own business."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from isthmus.domain.log import PARTITIONS, TOPIC, Received, Shift
from isthmus.integrations.bus.connection import Broker, BusUnavailable, within

_PATIENT_MS = 500


class KafkaLogConsumer:
    """One member of the group. Offsets committed here only save reading again; nothing depends on them. One that is `patient` does not
    need what comes at once, and asks less often for it."""

    def __init__(self, broker: Broker, group: str, *, patient: bool = False) -> None:
        self._broker = broker
        self._group = group
        self._fetch_wait_ms = _PATIENT_MS if patient else broker.fetch_wait_ms
        self._consumer: Any = None

    async def start(self, assigned: Shift, revoked: Shift) -> None:
        await self._broker.ensure_topics({TOPIC: PARTITIONS})
        consumer = AIOKafkaConsumer(
            **self._broker.client,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_uncommitted" if self._broker.embedded else "read_committed",
            fetch_max_wait_ms=self._fetch_wait_ms,
            fetch_min_bytes=1,
            session_timeout_ms=self._broker.session_ms,
            heartbeat_interval_ms=max(200, self._broker.session_ms // 5),
            max_poll_interval_ms=60_000,
        )
        consumer.subscribe([TOPIC], listener=_Listener(assigned, revoked))
        self._consumer = consumer
        await within(self._broker.deadline_s * 2, consumer.start)

    async def aclose(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        try:
            async with asyncio.timeout(2.0):
                await consumer.stop()
        except (TimeoutError, KafkaError, OSError):
            await consumer._client.close()

    async def poll(self, timeout_s: float, records_max: int) -> Mapping[int, list[Received]]:
        """What has arrived, by partition; empty after `timeout_s`."""
        try:
            polled = await self._consumer.getmany(timeout_ms=int(timeout_s * 1_000), max_records=records_max)
        except KafkaError as error:
            raise BusUnavailable(type(error).__name__) from error
        return {
            place.partition: [
                Received(place.partition, one.offset, one.key, one.value, dict(one.headers)) for one in messages
            ]
            for place, messages in polled.items()
        }

    async def remember(self, offsets: Mapping[int, int]) -> None:
        """Commit where to go on reading. Failing is no matter."""
        mine = self._consumer.assignment()
        places = {TopicPartition(TOPIC, number): offset for number, offset in offsets.items()}
        wanted = {place: OffsetAndMetadata(offset, "") for place, offset in places.items() if place in mine}
        if not wanted:
            return
        try:
            async with asyncio.timeout(self._broker.deadline_s):
                await self._consumer.commit(wanted)
        except (KafkaError, OSError, TimeoutError):
            return


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the library has no types
    def __init__(self, assigned: Shift, revoked: Shift) -> None:
        self._assigned = assigned
        self._revoked = revoked

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await self._assigned(frozenset(place.partition for place in assigned))

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._revoked(frozenset(place.partition for place in revoked))
