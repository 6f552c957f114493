"""Which records an event becomes, where they go, and how a reader tells that some are missing."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
from aiokafka.partitioner import murmur2 as kafkas_own

from isthmus.domain.accounts import AccountClosed
from isthmus.domain.log import (
    PARTITIONS,
    LoggedEvent,
    Message,
    Received,
    Record,
    Tick,
    murmur2,
    partition_of,
    read_messages,
    record_messages,
    records_of,
    spread,
    tick_messages,
)


def event(position: int, *accounts: UUID, aggregate: UUID | None = None) -> LoggedEvent:
    data = (
        {"figures": [{"account_id": str(account)} for account in accounts]}
        if accounts
        else {"account_id": str(aggregate)}
    )
    written = {"occurred_at": "2026-11-23T12:00:00Z", "actor": "person:1", "correlation_id": "c-1"}
    return LoggedEvent(
        position,
        uuid4(),
        "journal" if accounts else "account",
        aggregate or uuid4(),
        1,
        "JournalPosted" if accounts else "AccountClosed",
        1,
        msgspec.Raw(msgspec.json.encode(data)),
        msgspec.Raw(msgspec.json.encode(written)),
        datetime(2026, 11, 23, tzinfo=UTC),
        "00" * 32,
    )


def received(message: Message) -> Received:
    assert message.partition is not None
    return Received(message.partition, 0, message.key, message.value, dict(message.headers))


def test_the_partitioner_is_kafkas_own() -> None:
    for length in range(64):
        data = os.urandom(length)
        assert murmur2(data) == kafkas_own(data) & 0xFFFFFFFF


def test_accounts_spread_over_all_partitions() -> None:
    counts = Counter(partition_of(UUID(int=n * 7919)) for n in range(6_000))

    assert len(counts) == PARTITIONS
    assert min(counts.values()) > 350


def test_one_record_per_account_touched_keyed_by_it() -> None:
    one, two = uuid4(), uuid4()

    assert [record.key for record in records_of(event(1, two, one, two))] == sorted([one, two])


def test_an_event_that_touches_no_account_is_keyed_by_its_aggregate() -> None:
    aggregate = uuid4()

    assert [record.key for record in records_of(event(1, aggregate=aggregate))] == [aggregate]


def test_what_is_published_is_what_a_reader_of_the_store_expects() -> None:
    events = [event(n, *(uuid4() for _ in range(n % 4))) for n in range(1, 30)]
    messages, counts = record_messages("log", events)
    ticks = tick_messages("log", 0, 29, counts)

    got = {
        n: read_messages("log", [received(one) for one in (*messages, *ticks) if one.partition == n])
        for n in range(PARTITIONS)
    }

    for partition, items in got.items():
        *records, tick = items
        assert records == spread(events).get(partition, [])
        assert tick == Tick(0, 29, len(records))


def test_a_record_carries_what_others_filter_by() -> None:
    sent = event(7, uuid4())
    (message,), _ = record_messages("log", [sent])

    headers = dict(message.headers)

    assert headers["position"] == b"7"
    assert headers["correlation_id"] == b"c-1"
    assert headers["event_id"] == str(sent.event_id).encode()
    assert headers["aggregate"] == f"journal:{sent.aggregate_id}".encode()
    assert headers["version"] == b"1"


def test_foreign_and_garbled_messages_are_left_out() -> None:
    (message,), _ = record_messages("log", [event(7, uuid4())])
    good = received(message)

    items = read_messages(
        "log",
        [
            replace(good, headers={**good.headers, "log": b"other"}),
            replace(good, value=b"{"),
            replace(good, key=b"?"),
            good,
        ],
    )

    assert [item.position for item in items if isinstance(item, Record)] == [7]


def test_a_logged_event_is_lifted_to_todays_shape() -> None:
    account = uuid4()
    closed = event(1, aggregate=account)
    with_owner = msgspec.structs.replace(
        closed, data=msgspec.Raw(msgspec.json.encode({"account_id": account, "owner": None}))
    )

    assert with_owner.lifted() == AccountClosed(account, None)
