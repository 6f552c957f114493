"""Publishing to a broker that came back empty: what counts is what it has in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from isthmus.domain.log import Message, Placed
from isthmus.integrations.bus import Broker, BusUnavailable, KafkaPublisher
from isthmus.runtime.servers import EmbeddedServers


async def test_a_topic_is_not_made_by_asking_about_it(servers: EmbeddedServers) -> None:
    """It would have as many partitions as the broker likes, and what is acknowledged there would go when it is made anew."""
    broker, topic = Broker(servers.kafka_url, embedded=True), f"unheard.of.{uuid4()}"
    producer = AIOKafkaProducer(**broker.client)
    await producer.start()
    try:
        with pytest.raises(KafkaError):
            await producer.send_and_wait(topic, b"x")
    finally:
        await producer.stop()
    assert await broker.end_offsets(topic, 1) is None


async def test_what_was_acknowledged_while_topics_had_to_be_made_is_sent_again(
    servers: EmbeddedServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of it may lie with the broker before."""
    publisher = KafkaPublisher(Broker(servers.kafka_url, embedded=True))
    topic, send, sent = f"made.meanwhile.{uuid4()}", KafkaPublisher._send, []

    async def slowly(self: KafkaPublisher, messages: Sequence[Message]) -> list[Placed]:
        sent.append(await send(self, messages))
        if len(sent) == 1:
            admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka_url)
            await admin.start()
            await admin.delete_topics([topic])
            await admin.close()
            await asyncio.sleep(2)
        return sent[-1]

    monkeypatch.setattr(KafkaPublisher, "_send", slowly)
    message = Message(topic, b"key", b"value", ())
    with pytest.raises(BusUnavailable):
        await publisher.publish([message])
    assert [one.offset for one in await publisher.publish([message])] == [0]
    await publisher.aclose()
