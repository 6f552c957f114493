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

CURRENT, NEXT = "read_models", "read_models_next"
CHANNEL = "isthmus_projection"

_EVENTS = (
    "select position, event_id, aggregate_type, aggregate_id, version, type, schema_version, data::text as data, "
    "metadata::text as metadata, committed_at, hash from event_store where position > $1 and position <= $2"
)

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
    """What a transaction did: the partition stood at `start` and stands at `end`."""

    partition: int
    start: int
    end: int
    facts: Sequence[Fact]


async def ensure_positions(connection: Connection, schema: str = CURRENT) -> None:
    """A row per projection and partition, at zero where it is new: what is locked later must exist."""
    await connection.execute(
        f"insert into {schema}.projection_positions (projection, partition, position) "
        "select n, p, 0 from unnest($1::text[]) n cross join generate_series(0, $2 - 1) p on conflict do nothing",
        [projection.NAME for projection in PROJECTIONS],
        PARTITIONS,
    )


async def advance(
    connection: Connection, steps: Mapping[int, Step], schema: str = CURRENT, *, patient: bool = True
) -> tuple[list[Advanced], dict[int, int]]:
    """Inside the caller's transaction. Returns what moved, and where every partition of `steps` stands now.

    A step that begins beyond where its partition stands is not taken. Not `patient`: partitions that another is working on are
    left to it (and are not in the answer).
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
    facts = _facts(takes)
    await _apply(connection, schema, facts, stored)
    await connection.execute(
        f"update {schema}.projection_positions p set position = u.position "
        "from unnest($1::smallint[], $2::bigint[]) as u (partition, position) "
        "where p.partition = u.partition and p.position < u.position",
        list(takes),
        [step.end for step in takes.values()],
    )
    moved = [
        Advanced(
            partition, now[partition], step.end, [fact for fact in facts[partition] if fact.position > now[partition]]
        )
        for partition, step in takes.items()
    ]
    now |= {partition: step.end for partition, step in takes.items()}
    if schema == CURRENT:
        news = {str(one.partition): one.end for one in moved}
        await connection.execute("select pg_notify($1, $2)", CHANNEL, msgspec.json.encode(news).decode())
    return moved, now


def _facts(steps: Mapping[int, Step]) -> dict[int, list[Fact]]:
    """By partition. Lifted together: the accounts of one event are mostly in different partitions."""
    facts: dict[int, list[Fact]] = {partition: [] for partition in steps}
    for fact in facts_of(record for step in steps.values() for record in step.records):
        facts[partition_of(fact.key)].append(fact)
    return facts


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
