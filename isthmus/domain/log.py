"""The log as it crosses the bus: which records an event becomes, where each goes, and how a reader knows that it has them all.

Every event becomes one record per account touched, keyed by that account; an event that touches none is keyed by its aggregate.
After each batch every partition gets a tick: "you have seen `count` records of (`start`, `end`]". A reader moves on by ticks only,
so that what a broker lost is noticed before anything is moved past it (docs/ledger.md, Order).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID

import msgspec

from isthmus.domain.event_codec import decode
from isthmus.domain.events import Event

TOPIC = "isthmus.log.v1"
#: For ever: another number would move accounts between partitions, and positions are kept per partition.
PARTITIONS = 12
_TICK = b"tick"


class Metadata(msgspec.Struct, frozen=True):
    """What the writer knew about the wish behind the event."""

    occurred_at: datetime
    actor: str
    correlation_id: str
    causation_id: str | None = None
    traceparent: str | None = None


class LoggedEvent(msgspec.Struct, frozen=True):
    """A row of the event store. `data` and `metadata` stay the JSON that was stored; `hash` is hexadecimal."""

    position: int
    event_id: UUID
    aggregate_type: str
    aggregate_id: UUID
    version: int
    type: str
    schema_version: int
    data: msgspec.Raw
    metadata: msgspec.Raw
    committed_at: datetime
    hash: str

    def written(self) -> Metadata:
        return _METADATA.decode(self.metadata)

    def told(self) -> Metadata | None:
        """None where what was written is garbled: one event must not keep the others from the bus."""
        try:
            return self.written()
        except msgspec.MsgspecError:
            return None

    def lifted(self) -> Event:
        """Raises UnknownEvent where a newer release wrote it."""
        return decode(self.type, self.schema_version, msgspec.json.decode(self.data))


@dataclass(frozen=True, slots=True)
class Message:
    """Something to publish. `partition` None: whatever the key says."""

    topic: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the broker says that it put a message."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Received:
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: Mapping[str, bytes]


Shift = Callable[[frozenset[int]], Awaitable[None]]


class LogConsumer(Protocol):
    """The port to the bus: one member of a group. Its failures are of the types given to whoever uses it."""

    async def start(self, assigned: Shift, revoked: Shift, /) -> None: ...

    async def aclose(self) -> None: ...

    async def poll(self, timeout_s: float, records_max: int) -> Mapping[int, list[Received]]: ...

    async def remember(self, offsets: Mapping[int, int]) -> None: ...


class Record(msgspec.Struct, frozen=True):
    """One event as one account sees it."""

    key: UUID
    event: LoggedEvent
    #: What the record's header said of the trace that it belongs to.
    traceparent: str | None = None

    @property
    def position(self) -> int:
        return self.event.position


class Tick(msgspec.Struct, frozen=True):
    """A partition has `count` records of the positions after `start` up to `end`."""

    start: int
    end: int
    count: int


class Row(Protocol):
    """A row by column name, whatever the driver calls it."""

    def __getitem__(self, column: str, /) -> Any: ...


class _Account(msgspec.Struct):
    account_id: UUID


class _Touched(msgspec.Struct):
    figures: tuple[_Account, ...] = ()


_METADATA = msgspec.json.Decoder(Metadata)
_TOUCHED = msgspec.json.Decoder(_Touched)
_EVENT = msgspec.json.Decoder(LoggedEvent)
_TICKS = msgspec.json.Decoder(Tick)
_JSON = msgspec.json.Encoder()


def logged(row: Row) -> LoggedEvent:
    """From a row of the event store whose `data` and `metadata` were read as text."""
    return LoggedEvent(
        row["position"],
        row["event_id"],
        row["aggregate_type"],
        row["aggregate_id"],
        row["version"],
        row["type"],
        row["schema_version"],
        msgspec.Raw(row["data"]),
        msgspec.Raw(row["metadata"]),
        row["committed_at"],
        row["hash"].hex(),
    )


def records_of(event: LoggedEvent) -> list[Record]:
    """In key order; the same for the relay, which publishes them, and for a reader that fills a gap from the store."""
    try:
        touched = sorted({figure.account_id for figure in _TOUCHED.decode(event.data).figures})
    except msgspec.MsgspecError:
        touched = []  # whom it touches cannot be told: the reader sets it aside
    return [Record(key, event) for key in touched or [event.aggregate_id]]


def spread(events: Iterable[LoggedEvent]) -> dict[int, list[Record]]:
    """The events' records by partition, each in log order."""
    by_partition: dict[int, list[Record]] = {}
    for event in events:
        for record in records_of(event):
            by_partition.setdefault(partition_of(record.key), []).append(record)
    return by_partition


@lru_cache(maxsize=65_536)
def partition_of(key: UUID) -> int:
    """Kafka's own partitioner over the key as text, so that other clients agree."""
    return (murmur2(str(key).encode()) & 0x7FFFFFFF) % PARTITIONS


def record_messages(
    log: str, events: Iterable[LoggedEvent], traces: Mapping[str, str] | None = None
) -> tuple[list[Message], dict[int, int]]:
    """The events' records as messages, and how many each partition gets. `log` says which database they are from; `traces`, whose
    place in a trace (W3C's traceparent) another takes in the headers."""
    messages: list[Message] = []
    counts: dict[int, int] = {}
    for event in events:
        value = _JSON.encode(event)
        written = event.told()
        headers: tuple[tuple[str, bytes], ...] = (
            ("log", log.encode()),
            ("event_id", str(event.event_id).encode()),
            ("position", str(event.position).encode()),
            ("aggregate", f"{event.aggregate_type}:{event.aggregate_id}".encode()),
            ("version", str(event.version).encode()),
        )
        if written is not None:
            headers += (("correlation_id", written.correlation_id.encode()),)
        if written is not None and written.traceparent is not None:
            headers += (("traceparent", (traces or {}).get(written.traceparent, written.traceparent).encode()),)
        for record in records_of(event):
            partition = partition_of(record.key)
            counts[partition] = counts.get(partition, 0) + 1
            messages.append(Message(TOPIC, str(record.key).encode(), value, headers, partition))
    return messages, counts


def tick_messages(log: str, start: int, end: int, counts: Mapping[int, int]) -> list[Message]:
    headers = (("log", log.encode()), ("kind", _TICK), ("position", str(end).encode()))
    return [
        Message(TOPIC, None, _JSON.encode(Tick(start, end, counts.get(partition, 0))), headers, partition)
        for partition in range(PARTITIONS)
    ]


def read_messages(
    log: str, received: Sequence[Received], garbled: Callable[[Received, Exception], None] | None = None
) -> list[Record | Tick]:
    """What another database's relay put on the same topic is no news of this log, and what is garbled none at all: left out.
    `garbled` is told of it, with what was wrong."""
    mine = log.encode()
    found: list[Record | Tick] = []
    for message in received:
        if message.headers.get("log") != mine:
            continue
        try:
            if message.headers.get("kind") == _TICK:
                found.append(_TICKS.decode(message.value))
            else:
                trace = message.headers.get("traceparent")
                key = UUID((message.key or b"").decode())
                found.append(Record(key, _EVENT.decode(message.value), None if trace is None else trace.decode()))
        except (msgspec.MsgspecError, ValueError) as error:
            # As good as lost: the next tick's count will not match, and the store has it.
            if garbled is not None:
                garbled(message, error)
    return found


def murmur2(data: bytes) -> int:
    """Kafka's hash of a key (MurmurHash2, seed 0x9747b28c), as an unsigned 32-bit number."""
    mask, multiplier, length = 0xFFFFFFFF, 0x5BD1E995, len(data)
    value = 0x9747B28C ^ length
    whole = length - length % 4
    for index in range(0, whole, 4):
        word = int.from_bytes(data[index : index + 4], "little") * multiplier & mask
        word = (word ^ word >> 24) * multiplier & mask
        value = (value * multiplier & mask) ^ word
    if whole < length:
        value = (value ^ int.from_bytes(data[whole:], "little")) * multiplier & mask
    value = (value ^ value >> 13) * multiplier & mask
    return value ^ value >> 15
