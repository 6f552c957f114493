"""Publishing: everything sent is waited for, and nothing is believed that the broker did not acknowledge."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.client import ConnectionGroup
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
        self._topics: dict[str, int] = {}
        self._there: set[str] = set()  # topics that were seen, or made
        self._made = 0  # how often any was made
        self._remade = 0
        self._doubted = False  # whether topics are where they were, after a failure

    @property
    def remade(self) -> int:
        """How often topics had to be made that had been there: a broker that forgot."""
        return self._remade

    async def start(self) -> None:
        producer = AIOKafkaProducer(
            **self._broker.client,
            acks="all",
            enable_idempotence=self._broker.idempotent_producer and not self._broker.embedded,
            linger_ms=0,
            max_batch_size=_BATCH_BYTES,
            max_request_size=4 * 1024 * 1024,
        )
        if self._broker.embedded:
            self._make_topics_first(producer.client)
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
        self._topics |= partitions
        await self._ensure()

    async def end_offsets(self, topic: str, partitions: int) -> Mapping[int, int] | None:
        return await self._broker.end_offsets(topic, partitions)

    async def publish(self, messages: Sequence[Message]) -> list[Placed]:
        """In the order given, per partition. Raises BusUnavailable where any of them was not acknowledged: then send all again.

        A broker that came back empty has no topics, and the library would wait for them until the deadline; so they are made
        while we wait. Part of the messages may have been acknowledged by the one before, and be gone with it.
        """
        remade = self._remade
        try:
            return await self._published(messages, remade)
        finally:
            if self._remade != remade:
                await self.aclose()  # what it still has must not come before what is sent again

    async def _published(self, messages: Sequence[Message], remade: int) -> list[Placed]:
        if self._producer is None:
            await self.start()
        topics = {message.topic: PARTITIONS for message in messages}
        if self._doubted or not topics.keys() <= self._there:
            await self.ensure_topics(topics)
            await within(self._broker.deadline_s, self._producer.client.force_metadata_update)
            self._doubted = False
        self._same_as(remade)
        made, unsure = self._made, False
        sending = asyncio.create_task(self._send(messages))
        try:
            while not (await asyncio.wait({sending}, timeout=_NUDGE_S))[0]:
                try:
                    await self._ensure()
                except BusUnavailable:
                    unsure = True  # how far it came is not known
                self._same_as(remade)
            placed = sending.result()
        finally:
            if not sending.done():
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        self._same_as(remade)
        if unsure or self._made != made:
            raise BusUnavailable("topics were made while it was sent")
        return placed

    def _same_as(self, remade: int) -> None:
        if self._remade != remade:
            raise BusUnavailable("the broker forgot what it had")

    async def _ensure(self) -> None:
        made = await self._broker.ensure_topics(self._topics)
        if made:
            self._made += 1
            self._remade += not self._there.isdisjoint(made)
        self._there |= self._topics.keys()

    def _make_topics_first(self, client: Any) -> None:
        """Nothing is produced over a connection before the topics are known to be where it leads.

        The embedded broker takes what is sent to a topic that it does not have; made after that, the topic counts from zero again,
        refuses what follows (UnknownError) and shows part of what it acknowledged to nobody. The library connects again by itself,
        to whatever broker is there by then, and sends what it still has.
        """
        ready, checked, began = client.ready, None, self._remade

        async def ready_with_topics(node_id: int, *, group: int = ConnectionGroup.DEFAULT) -> bool:
            nonlocal checked
            while await ready(node_id, group=group):
                connection = client._conns.get((node_id, group))
                if connection is checked:
                    return True
                try:
                    await self._ensure()
                except BusUnavailable:
                    return False
                if self._remade != began:
                    return False  # the relay goes back first: nothing may come before what it sends then
                checked = connection
            return False

        client.ready = ready_with_topics

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
            self._doubted = True
            for future in sent:
                future.cancel()
            raise BusUnavailable(f"{type(error).__name__}: {error}") from error
        placed = []
        for one in acknowledged:
            if isinstance(one, BaseException):
                self._doubted = True
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
