"""What a broker has of a database's log, judged."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from uuid import UUID

import asyncpg

from isthmus.domain.log import PARTITIONS, TOPIC, Record, Tick, partition_of, read_messages
from isthmus.write_models.outbox import TOPICS
from isthmus.write_models.relay import log_identity
from tests.conftest import Database
from tests.read_models.bus import Bootstrap, read_topics


async def assert_published_in_order(
    servers: Bootstrap, database: Database, head: int, *, check_crcs: bool = True
) -> None:
    """Every event on the bus at least once, per account and per aggregate in order, with no stretch that lacks its tick."""
    connection = await asyncpg.connect(database.url)
    identity = await log_identity(connection)
    stored = await connection.fetch("select position, event_id from event_store where position <= $1", head)
    await connection.close()
    found = await read_topics(servers, TOPIC, *TOPICS, check_crcs=check_crcs)
    partitions: dict[int, list[Record | Tick]] = defaultdict(list)
    for message in found[TOPIC]:
        partitions[message.partition] += read_messages(identity, [message])
    positions = set()
    for partition in range(PARTITIONS):
        records = [one for one in partitions[partition] if isinstance(one, Record)]
        assert all(partition_of(one.key) == partition for one in records)
        first_seen = first([(one.key, one.position) for one in records])
        for key in {one.key for one in records}:
            order = [position for whose, position in first_seen if whose == key]
            assert order == sorted(order), "per account in log order"
        positions |= {one.position for one in records}
        ticks = [one for one in partitions[partition] if isinstance(one, Tick)]
        assert all(after.start <= before.end for before, after in pairwise(ticks)), "no stretch without a tick"
        assert ticks[-1].end == head
    assert positions == {row["position"] for row in stored}, "none skipped"
    ours = {str(row["event_id"]) for row in stored}  # house accounts have the same ids in every database
    published = {message.headers["event_id"].decode() for topic in TOPICS for message in found[topic]}
    assert ours <= published
    for topic in TOPICS:
        order_of = defaultdict(list)
        for message in found[topic]:
            if message.headers["event_id"].decode() in ours:
                order_of[message.key].append(int(message.headers["position"]))
        for order in order_of.values():
            first_seen_at = list(dict.fromkeys(order))  # a batch whose acknowledgement was late is published again
            assert first_seen_at == sorted(first_seen_at), "per aggregate in order"


def first(items: list[tuple[UUID, int]]) -> list[tuple[UUID, int]]:
    return list(dict.fromkeys(items))
