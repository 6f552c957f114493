"""A run of the log into all projections at once, in one transaction with the positions that say how far they are.

The positions are locked first. Whoever comes late (a consumer that lost its partition and does not know) sees that they moved, and
skips what is there already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import msgspec
import structlog

from isthmus.domain.log import PARTITIONS, Record, logged, partition_of, spread
from isthmus.read_models.projections import accounts, audit, transactions
from isthmus.read_models.projections.accounts import Behind
from isthmus.read_models.projections.facts import Connection, Fact, facts_of
from isthmus.read_models.projections.parked import (
    POISON,
    park,
    parked_in,
    parked_positions,
    sifted,
    unpark,
    why,
)

CURRENT, NEXT = "read_models", "read_models_next"
CHANNEL = "isthmus_projection"

_SELECT = (
    "select position, event_id, aggregate_type, aggregate_id, version, type, schema_version, data::text as data, "
    "metadata::text as metadata, committed_at, hash from event_store"
)
_EVENTS = f"{_SELECT} where position > $1 and position <= $2"

log = structlog.get_logger(__name__)


class Projection(Protocol):
    """What each projection's module has: a name that never changes, and one function."""

    @property
    def NAME(self) -> str: ...  # noqa: N802

    async def apply(self, connection: Connection, schema: str, facts: Sequence[Fact], /) -> None: ...


#: Accounts come first: they notice that something is missing before anything is written.
PROJECTIONS: tuple[Projection, ...] = (accounts, transactions, audit)


@dataclass(frozen=True)
class Step:
    """One partition's complete records of (start, end]."""

    start: int
    end: int
    records: Sequence[Record]


@dataclass(frozen=True)
class Advanced:
    """What a transaction did: the partition stood at `start` and stands at `end`. Both are the same where what had been set aside
    was mended. `parked`: accounts of which something was set aside."""

    partition: int
    start: int
    end: int
    facts: Sequence[Fact]
    parked: frozenset[UUID] = frozenset()


async def ensure_positions(connection: Connection, schema: str = CURRENT) -> None:
    """A row per projection and partition, at zero where it is new: what is locked later must exist."""
    await connection.execute(
        f"insert into {schema}.projection_positions (projection, partition, position) "
        "select n, p, 0 from unnest($1::text[]) n cross join generate_series(0, $2 - 1) p on conflict do nothing",
        [projection.NAME for projection in PROJECTIONS],
        PARTITIONS,
    )


async def advance(
    connection: Connection,
    steps: Mapping[int, Step],
    schema: str = CURRENT,
    *,
    patient: bool = True,
    parking: int = 0,
) -> tuple[list[Advanced], dict[int, int]]:
    """Inside the caller's transaction. Returns what moved, and where every partition of `steps` stands now.

    A step that begins beyond where its partition stands is not taken. Not `patient`: partitions that another is working on are
    left to it (and are not in the answer). `parking`: what cannot be projected is set aside, after so many tries; else one of
    POISON is raised for it.
    """
    stored = await _lock(connection, schema, sorted(steps), patient)
    now = {partition: min(positions.values()) for partition, positions in stored.items()}
    takes = {
        partition: steps[partition]
        for partition, at in now.items()
        if steps[partition].start <= at < steps[partition].end
    }
    if not takes:
        return [], now
    blocked = await parked_in(connection, schema, list(takes))
    records = [record for n, step in takes.items() for record in step.records if record.position > now[n]]
    if parking:
        facts, aside = await _apply_singly(connection, schema, records, stored, blocked)
    else:
        free, aside = sifted(records, blocked)
        facts = facts_of(free)
        await _apply(connection, schema, _by_partition(facts), stored)
    await park(connection, schema, aside, parking)
    await connection.execute(
        f"update {schema}.projection_positions p set position = u.position "
        "from unnest($1::smallint[], $2::bigint[]) as u (partition, position) "
        "where p.partition = u.partition and p.position < u.position",
        list(takes),
        [step.end for step in takes.values()],
    )
    by_partition = _by_partition(facts)
    parked = {record.key for record, _ in aside}
    moved = [
        Advanced(
            partition,
            now[partition],
            step.end,
            by_partition.get(partition, []),
            frozenset(account for account in parked if partition_of(account) == partition),
        )
        for partition, step in takes.items()
    ]
    now |= {partition: step.end for partition, step in takes.items()}
    if schema == CURRENT:
        news = {str(one.partition): one.end for one in moved}
        await connection.execute("select pg_notify($1, $2)", CHANNEL, msgspec.json.encode(news).decode())
    return moved, now


async def advance_or_park(connection: Connection, steps: Mapping[int, Step], schema: str) -> dict[int, int]:
    """For whoever has no time to try again: what cannot be projected is set aside at once."""
    try:
        async with connection.transaction():
            return (await advance(connection, steps, schema))[1]
    except POISON:
        return (await advance(connection, steps, schema, parking=1))[1]


async def mend(connection: Connection, partition: int) -> Advanced | None:
    """Inside the caller's transaction: try again what was set aside in a partition. None where nothing could be mended."""
    stored = await _lock(connection, CURRENT, [partition], patient=True)
    places = await parked_positions(connection, CURRENT, partition)
    if not places:
        return None
    rows = await connection.fetch(f"{_SELECT} where position = any($1::bigint[])", [place[0] for place in places])
    events = {row["position"]: logged(row) for row in rows}
    records = [Record(account, events[position]) for position, account in places]
    from_the_start = {partition: dict.fromkeys(stored[partition], 0)}
    facts, aside = await _apply_singly(connection, CURRENT, records, from_the_start, {})
    await unpark(connection, CURRENT, [(fact.position, fact.key) for fact in facts])
    await park(connection, CURRENT, aside, 1)
    at = min(stored[partition].values())
    return Advanced(partition, at, at, facts) if facts else None


async def _apply_singly(
    connection: Connection,
    schema: str,
    records: Sequence[Record],
    stored: Mapping[int, Mapping[str, int]],
    blocked: Mapping[UUID, int],
) -> tuple[list[Fact], list[tuple[Record, str]]]:
    """Record by record, so that what cannot be projected harms no other. Returns what was applied, and what not and why."""
    waiting_behind = dict(blocked)
    done: list[Fact] = []
    aside: list[tuple[Record, str]] = []
    for record in sorted(records, key=lambda one: (one.position, one.key)):
        _, waiting = sifted([record], waiting_behind)
        if waiting:
            aside += waiting
            continue
        try:
            async with connection.transaction():
                facts = facts_of([record])
                await _apply(connection, schema, _by_partition(facts), stored)
        except POISON as error:
            log.error("set aside: it cannot be projected", position=record.position, reason=why(error))
            waiting_behind[record.key] = record.position
            aside.append((record, why(error)))
        else:
            done += facts
    return done, aside


def _by_partition(facts: Sequence[Fact]) -> dict[int, list[Fact]]:
    found: dict[int, list[Fact]] = {}
    for fact in facts:
        found.setdefault(partition_of(fact.key), []).append(fact)
    return found


async def _lock(
    connection: Connection, schema: str, partitions: Sequence[int], patient: bool
) -> dict[int, dict[str, int]]:
    rows = await connection.fetch(
        f"select projection, partition, position from {schema}.projection_positions "
        f"where partition = any($1::smallint[]) order by partition, projection for update{'' if patient else ' skip locked'}",
        partitions,
    )
    stored: dict[int, dict[str, int]] = {}
    for row in rows:
        stored.setdefault(row["partition"], {})[row["projection"]] = row["position"]
    names = {projection.NAME for projection in PROJECTIONS}
    return {partition: found for partition, found in stored.items() if names <= found.keys()}


async def _apply(
    connection: Connection, schema: str, facts: Mapping[int, Sequence[Fact]], stored: Mapping[int, Mapping[str, int]]
) -> None:
    missing: list[Fact] = []
    for projection in PROJECTIONS:
        run = [
            fact
            for partition, some in facts.items()
            for fact in some
            if fact.position > stored[partition][projection.NAME]
        ]
        if not run and not missing:
            continue
        try:
            await projection.apply(connection, schema, _together(missing, run))
        except Behind as behind:
            missing = await _missing(connection, behind.accounts, max(fact.position for fact in run))
            await projection.apply(connection, schema, _together(missing, run))


def _together(*runs: Sequence[Fact]) -> list[Fact]:
    """In log order, each fact once."""
    facts = {(fact.position, fact.key): fact for run in runs for fact in run}
    return [facts[place] for place in sorted(facts)]


async def _missing(connection: Connection, behind: Mapping[UUID, int], end: int) -> list[Fact]:
    """An account's row lacks movements although its partition has passed them. Never seen; mended from the event store."""
    log.error("accounts lack movements; filling from the event store", accounts=len(behind))
    found: list[Fact] = []
    for account, after in behind.items():
        rows = await connection.fetch(
            f"{_EVENTS} and (aggregate_id = $3::uuid or data @> jsonb_build_object('figures', "
            "jsonb_build_array(jsonb_build_object('account_id', $3::uuid)))) order by position",
            after,
            end,
            account,
        )
        found += facts_of(Record(account, logged(row)) for row in rows)
    return found


async def read_steps(connection: Connection, partitions: Mapping[int, int], end: int) -> dict[int, Step]:
    """From the event store: for each of `partitions` (number -> where it stands below `end`) its records up to `end`."""
    rows = await connection.fetch(f"{_EVENTS} order by position", min(partitions.values()), end)
    records = spread(logged(row) for row in rows)
    return {
        partition: Step(at, end, [record for record in records.get(partition, []) if record.position > at])
        for partition, at in partitions.items()
    }
