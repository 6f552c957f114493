"""What came over the bus and was refused: garbled, forged, or not what the event store says. It changes nothing; it is kept as evidence.

Kept are its place, size, SHA-256 and reason, and none of its bytes, which may be anybody's: the broker has them as long as it keeps
the topic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import Counter

from isthmus.domain.log import Received
from isthmus.read_models.projections.facts import Connection, columns

#: Whoever floods the topic fills no disk of ours: of more than this the counter tells alone.
KEPT_MAX = 1_000

_refused = Counter(
    "isthmus_projector_refused_total", "Records of the bus that were refused: garbled, or not what the store says."
)

_KEEP = """
insert into refused_records as r (partition, broker_offset, digest, bytes, reason)
select partition, broker_offset, digest, bytes, reason
from unnest($1::smallint[], $2::bigint[], $3::bytea[], $4::integer[], $5::text[]) as u (partition, broker_offset, digest, bytes, reason)
where (select count(*) from refused_records) < $6
on conflict (partition, broker_offset, digest) do update set times = r.times + 1, last_seen = clock_timestamp()"""


@dataclass(frozen=True)
class RefusedRecord:
    partition: int
    broker_offset: int
    digest: str
    bytes: int
    reason: str
    times: int
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True)
class Refused:
    """`broker_offset` -1 where it is not known any more."""

    partition: int
    broker_offset: int
    value: bytes
    reason: str

    @classmethod
    def of(cls, message: Received, reason: str) -> Refused:
        return cls(message.partition, message.offset, message.value, reason)


async def keep(connection: Connection, found: Sequence[Refused]) -> None:
    if not found:
        return
    _refused.inc(len(found))
    once = {(one.partition, one.broker_offset, hashlib.sha256(one.value).digest()): one for one in found}
    rows = [(*place, len(one.value), one.reason) for place, one in sorted(once.items(), key=lambda item: item[0])]
    await connection.execute(_KEEP, *columns(rows[:KEPT_MAX], 5), KEPT_MAX)


async def refused_records(connection: Connection, limit: int = KEPT_MAX) -> list[RefusedRecord]:
    """The newest first."""
    rows = await connection.fetch(
        "select partition, broker_offset, encode(digest, 'hex') as digest, bytes, reason, times, first_seen, last_seen "
        "from refused_records order by last_seen desc limit $1",
        limit,
    )
    return [RefusedRecord(**row) for row in rows]
