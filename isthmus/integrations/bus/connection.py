"""Which broker, and what all clients of it share: deadlines, topics, where they end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import aiokafka.client
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code

from isthmus.domain.log import PARTITIONS, TOPIC

DEADLINE_S = 5.0
_TOPIC_EXISTS = 36

Answer = TypeVar("Answer")

# The library lets brokers make what it asks about, and has no setting for that. One that came back empty made topics with as many
# partitions as it liked and acknowledged into them; what was in those went when they were made as they must be.
aiokafka.client.MetadataRequest = partial(aiokafka.client.MetadataRequest, allow_auto_topic_creation=False)


class BusUnavailable(Exception):
    """The broker does not answer, or refused; nothing is known about what was sent."""


@dataclass(frozen=True)
class Broker:
    """`embedded`: the one that `up` starts. It refuses idempotent producers, and holds a fetch for its whole wait even when
    something has arrived, so that the wait is kept short there. Not shorter: each fetch is work for both, though nothing happens."""

    bootstrap: str
    embedded: bool = False
    idempotent_producer: bool = True
    replication_factor: int = 1
    deadline_s: float = DEADLINE_S

    @property
    def fetch_wait_ms(self) -> int:
        return 25 if self.embedded else 500

    @property
    def session_ms(self) -> int:
        """How long a silent consumer keeps its partitions. The embedded broker also answers a join after half of this."""
        return 2_000 if self.embedded else 10_000

    @property
    def client(self) -> dict[str, Any]:
        return {
            "bootstrap_servers": self.bootstrap,
            "request_timeout_ms": int(self.deadline_s * 1_000),
            "retry_backoff_ms": 50,
            # A broker that forgot its topics is noticed this fast.
            "metadata_max_age_ms": 1_000 if self.embedded else 30_000,
        }

    async def ensure_topics(self, partitions: Mapping[str, int]) -> frozenset[str]:
        """Make those that are missing; the others stay as they are. Which were made: what was in one of that name is gone."""
        return await within(self.deadline_s, lambda: self._create(partitions))

    async def _create(self, partitions: Mapping[str, int]) -> frozenset[str]:
        async with _closing(AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            there = {one["topic"]: len(one["partitions"]) for one in await admin.describe_topics()}
            wrong = [name for name, count in partitions.items() if there.get(name, count) != count]
            if wrong and self.embedded:
                # It makes a topic, with four partitions, for whoever asks about one; we never do, and nothing there is ours.
                await admin.delete_topics(wrong)
            elif TOPIC in wrong:
                raise BusUnavailable(f"{TOPIC} has {there[TOPIC]} partitions, and must have {PARTITIONS} for ever")
            missing = [name for name in partitions if name not in there or (self.embedded and name in wrong)]
            if not missing:
                return frozenset()
            answer = await admin.create_topics(
                [NewTopic(name, partitions[name], self.replication_factor) for name in missing]
            )
            for topic, code, *_ in answer.topic_errors:
                if code not in (0, _TOPIC_EXISTS):
                    raise BusUnavailable(f"the broker would not make the topic {topic}: {for_code(code).__name__}")
            return frozenset(missing)

    async def end_offsets(self, topic: str, partitions: int) -> Mapping[int, int] | None:
        """Where each partition ends; None where the broker does not know the topic."""
        return await within(self.deadline_s, lambda: self._ends(topic, partitions))

    async def _ends(self, topic: str, partitions: int) -> Mapping[int, int] | None:
        async with _closing(AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            if topic not in await admin.list_topics():
                return None
        async with _closing(AIOKafkaConsumer(**self.client)) as consumer:
            ends = await consumer.end_offsets([TopicPartition(topic, number) for number in range(partitions)])
            return {place.partition: offset for place, offset in ends.items()}


async def within(deadline_s: float, work: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
    """The library's own retries have no end: every call has a deadline here, and one kind of failure."""
    try:
        async with asyncio.timeout(deadline_s):
            return await work()
    except (KafkaError, OSError, TimeoutError, AssertionError) as error:
        raise BusUnavailable(f"{type(error).__name__}: {error}") from error


class _closing:  # noqa: N801 - reads as the standard library's does
    """Starts a client, and stops it whatever happened, also when its start failed half-way."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._stop = getattr(client, "stop", None) or client.close

    async def __aenter__(self) -> Any:
        try:
            await self._client.start()
        except BaseException:
            await self._stop()
            raise
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._stop()
