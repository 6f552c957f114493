"""Publishing: everything sent is waited for, and nothing is believed that the broker did not acknowledge."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from isthmus.domain.log import PARTITIONS, Message, Placed
from isthmus.integrations.bus.connection import Broker, BusUnavailable, within

_BATCH_BYTES = 256 * 1024
_NUDGE_S = 0.5


class KafkaPublisher:
    """`start` and `aclose` frame its life; it may be started anew after a failure."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._producer: Any = None
        self._made: set[str] = set()

    async def start(self) -> None:
        producer = AIOKafkaProducer(
            **self._broker.client,
            acks="all",
            enable_idempotence=self._broker.idempotent_producer and not self._broker.embedded,
            linger_ms=0,
            max_batch_size=_BATCH_BYTES,
            max_request_size=4 * 1024 * 1024,
        )
        try:
            await within(self._broker.deadline_s, producer.start)
        except BaseException:
            await _stop(producer)
            raise
        self._producer = producer

    async def aclose(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stop(producer)

    async def ensure_topics(self, partitions: Mapping[str, int]) -> None:
        await self._broker.ensure_topics(partitions)

    async def end_offsets(self, topic: str, partitions: int) -> Mapping[int, int] | None:
        return await self._broker.end_offsets(topic, partitions)

    async def publish(self, messages: Sequence[Message]) -> list[Placed]:
        """In the order given, per partition. Raises BusUnavailable where any of them was not acknowledged: then send all again.

        A broker that came back empty has no topics, and the library would wait for them until the deadline; so they are made
        while we wait. Part of the messages may have been acknowledged by the one before, and be gone with it.
        """
        if self._producer is None:
            await self.start()
        topics = {message.topic: PARTITIONS for message in messages}
        if not topics.keys() <= self._made:
            await self._broker.ensure_topics(topics)
            await within(self._broker.deadline_s, self._producer.client.force_metadata_update)
            self._made |= topics.keys()
        sending, made = asyncio.create_task(self._send(messages)), False
        try:
            while not (await asyncio.wait({sending}, timeout=_NUDGE_S))[0]:
                try:
                    made = await self._broker.ensure_topics(topics) or made
                except BusUnavailable:
                    made = True  # how far it came is not known
            placed = sending.result()
        finally:
            if not sending.done():
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        if made:
            raise BusUnavailable("topics were made while it was sent")
        return placed

    async def _send(self, messages: Sequence[Message]) -> list[Placed]:
        deadline_s = self._broker.deadline_s + 1.0
        sent: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(deadline_s):
                for message in messages:
                    sent.append(  # noqa: PERF401 - what was sent must be known when the next one fails
                        await self._producer.send(
                            message.topic, message.value, message.key, message.partition, headers=list(message.headers)
                        )
                    )
                acknowledged = await asyncio.gather(*sent, return_exceptions=True)
        except (KafkaError, OSError, TimeoutError, AssertionError) as error:
            # The library asserts that it knows the partition: its picture of the broker is old.
            self._made.clear()
            for future in sent:
                future.cancel()
            raise BusUnavailable(f"{type(error).__name__}: {error}") from error
        placed = []
        for one in acknowledged:
            if isinstance(one, BaseException):
                self._made.clear()
                raise BusUnavailable(f"not acknowledged: {type(one).__name__}") from one
            placed.append(Placed(one.topic, one.partition, one.offset))
        return placed


async def _stop(producer: Any) -> None:
    """`stop` waits for what is still to be sent, which may be for ever."""
    try:
        async with asyncio.timeout(1.0):
            await producer.stop()
    except (TimeoutError, KafkaError, OSError):
        await producer.client.close()
