"""O7, on the bus: everything stored is there at least once, complete, and for each account in order.

Read from the broker itself, by a consumer of its own that belongs to no group. A broker that forgot begins anew: what every
projection had by then need not come again, but from the first position that did there must be no hole.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from isthmus.torture.verdict import Violation

_LOG_TOPIC = "isthmus.log.v1"
_READ_S = 60.0
_SILENCE_S = 10.0
_SHOWN_MAX = 5

_EXPECTED = """
select position, greatest(1, (select count(distinct f->>'account_id') from jsonb_array_elements(data->'figures') f)) as records
from event_store where position between $1 and $2"""


@dataclass
class BusReader:
    """`bootstrap` is the broker's address; `log` says which database's records are meant."""

    bootstrap: str
    log: str
    records: int = 0
    _forgot: bool = False
    _offsets: dict[TopicPartition, int] = field(default_factory=dict)
    _keys: dict[int, set[bytes]] = field(default_factory=dict)
    _public: set[str] = field(default_factory=set)
    _newest: dict[bytes, int] = field(default_factory=dict)
    _out_of_order: list[Violation] = field(default_factory=list)

    def forgot(self) -> None:
        """The broker was started anew, and is empty."""
        self._forgot = True
        self._offsets.clear()
        self._keys.clear()
        self._public.clear()
        self._newest.clear()

    async def judge(self, connection: asyncpg.Connection) -> list[Violation]:
        """Call it once the relay has caught up. What the platform records of its own accord meanwhile, as that a payment's time is over, is
        looked for the next time."""
        relayed = await connection.fetchval("select position from relay_state where name = 'relay'")
        unreadable = await self._read()
        return [*unreadable, *self._out_of_order, *await self._holes(connection, relayed or 0)]

    async def _holes(self, connection: asyncpg.Connection, last: int) -> list[Violation]:
        found: list[Violation] = []
        # Where nothing was forgotten the log is there from its beginning.
        first = min(self._keys, default=None) if self._forgot else 1
        if first is None:
            return []
        for row in await connection.fetch(_EXPECTED, first, last):
            records = len(self._keys.get(row["position"], ()))
            if records != row["records"] and len(found) < _SHOWN_MAX:
                found.append(
                    Violation("O7", f"event {row['position']} is on the bus in {records} of {row['records']} records")
                )
        public = "select id, type, position from outbox where position between $1 and $2"
        for row in await connection.fetch(public, first, last):
            if str(row["id"]) not in self._public and len(found) < _SHOWN_MAX:
                found.append(Violation("O7", f"{row['type']} of position {row['position']} was not published"))
        return found

    async def _read(self) -> list[Violation]:
        """From where the last reading ended to where the broker ends now; what it promises and does not give is a violation.

        Raises KafkaError, TimeoutError.
        """
        async with asyncio.timeout(_READ_S):
            # Asked by name about a topic that it does not know, the embedded broker would make it.
            admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
            await admin.start()
            try:
                topics = await admin.describe_topics()
            finally:
                await admin.close()
            places = [TopicPartition(one["topic"], p["partition"]) for one in topics for p in one["partitions"]]
            places = [place for place in places if not place.topic.startswith("__")]
            if not places:
                return []
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self.bootstrap,
                enable_auto_commit=False,
                fetch_max_wait_ms=20,
                auto_offset_reset="earliest",
            )
            await consumer.start()
            try:
                consumer.assign(places)
                return await self._read_all(consumer, places)
            finally:
                await consumer.stop()

    async def _read_all(self, consumer: Any, places: list[TopicPartition]) -> list[Violation]:
        ends = await consumer.end_offsets(places)
        for place in places:
            consumer.seek(place, self._offsets.get(place, 0))
        came_at = asyncio.get_running_loop().time()
        while missing := [place for place in places if self._offsets.get(place, 0) < ends[place]]:
            for place, messages in (await consumer.getmany(timeout_ms=500, max_records=5_000)).items():
                came_at = asyncio.get_running_loop().time()
                for message in messages:
                    self._take(place, message)
                    self._offsets[place] = message.offset + 1
            if asyncio.get_running_loop().time() - came_at > _SILENCE_S:
                return [
                    Violation(
                        "O7",
                        f"{place.topic}/{place.partition} ends at {ends[place]}, read to {self._offsets.get(place, 0)}",
                    )
                    for place in missing[:_SHOWN_MAX]
                ]
        return []

    def _take(self, place: TopicPartition, message: Any) -> None:
        headers: dict[str, bytes] = dict(message.headers)
        if place.topic != _LOG_TOPIC:
            self._public.add(headers["event_id"].decode())
            return
        if headers.get("log") != self.log.encode() or "kind" in headers:
            return
        self.records += 1
        position = int(headers["position"])
        keys = self._keys.setdefault(position, set())
        again, newest = message.key in keys, self._newest.get(message.key, 0)
        keys.add(message.key)
        self._newest[message.key] = max(position, newest)
        if position < newest and not again and len(self._out_of_order) < _SHOWN_MAX:
            self._out_of_order.append(Violation("O7", f"event {position} came after {newest} of the same account"))
