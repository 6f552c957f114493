"""Balances: current ones, and the one at any instant.

`balance(asOf: t)` is the figures at the highest position committed at or before t (docs/ledger.md, Order). Entries and pending
entries hold the figures after them, so it is one index descent each, however old the account is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

import asyncpg

from isthmus.read_models.database import ACQUIRE_TIMEOUT_S, Sight

ZERO = Decimal(0)


@dataclass(frozen=True)
class Balance:
    posted: Decimal
    pending_in: Decimal
    pending_out: Decimal
    version: int
    as_of: datetime


class FutureInstant(Exception):
    """A balance was asked for as of a time that is not over."""


class Figures(Protocol):
    """A balance, wherever it comes from."""

    @property
    def posted(self) -> Decimal: ...

    @property
    def pending_in(self) -> Decimal: ...

    @property
    def pending_out(self) -> Decimal: ...

    @property
    def version(self) -> int: ...

    @property
    def as_of(self) -> datetime: ...


class Cache(Protocol):
    async def get_many(self, account_ids: Sequence[UUID], at_least: Mapping[int, int]) -> Mapping[UUID, Figures]: ...


class Positions(Protocol):
    def known(self) -> Mapping[int, int]: ...


class BalanceReader:
    """`stamp` gives what SQL takes for now (`Clock.stamp`)."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        cache: Cache,
        positions: Positions,
        stamp: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._cache = cache
        self._positions = positions
        self._stamp = stamp
        self._seen = 0  # the log's end at the newest reading: what comes from the cache must not be older

    async def load_many(self, sight: Sight, keys: Sequence[UUID]) -> list[Figures | None]:
        """Current balances, in the order of the keys. Several are always those of one moment, so that sums over them are true.

        Each partition's projection and cache moves by itself: balances put together from them show money twice or not at all while
        a transfer is between two. So only a lone balance comes from the cache, and none that is older than what was shown here.
        """
        if len(keys) == 1:
            seen = self._seen
            known = {partition: max(at, seen) for partition, at in self._positions.known().items()}
            cached = await self._cache.get_many(keys, known)
            if keys[0] in cached:
                return [cached[keys[0]]]
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(_NOW, list(keys), *_of(sight))
        self._seen = max([self._seen, *(row["position"] for row in rows)])
        found = {row["account_id"]: _balance(row) for row in rows}
        return [found.get(key) for key in keys]

    async def load_many_at(self, sight: Sight, keys: Sequence[tuple[UUID, datetime]]) -> list[Balance | Exception]:
        """Per (account, instant). FutureInstant in the place of a key whose instant is not over."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            clocks = await connection.fetchrow(
                "select committed_at as head, coalesce($1, clock_timestamp()) as now from log_head", self._stamp()
            )
            assert clocks is not None, "log_head has its one row"
            limit = max(clocks["head"], clocks["now"])
            if any(clocks["head"] < instant <= limit for _, instant in keys):
                # A stamp that is still on its way lies above the head, and its writer holds this row until the commit: wait for
                # that, and let go at once (no transaction here), since whoever comes after stamps later.
                await connection.execute("select from log_head for share")
            rows = await connection.fetch(AT_SQL, [key[0] for key in keys], [key[1] for key in keys], *_of(sight))
        found = {row["n"]: row for row in rows}
        answers: list[Balance | Exception] = []
        for n, (_, instant) in enumerate(keys, start=1):
            if instant > limit:
                answers.append(FutureInstant())
            elif (row := found.get(n)) is None:
                answers.append(Balance(ZERO, ZERO, ZERO, 0, instant))
            else:
                answers.append(_balance(row))
        return answers


def _of(sight: Sight) -> tuple[UUID, bool]:
    return sight.person, sight.all_accounts


# One statement, one snapshot: the ledger's own rows, which are never behind.
_NOW = """
select b.account_id, b.posted, b.pending_in, b.pending_out, b.version, b.as_of, h.position
from account_balances b join accounts a on a.id = b.account_id cross join log_head h
where b.account_id = any($1::uuid[]) and (a.owner = $2 or $3)
"""
# Before its first movement an account is at zero since it was opened; before that (no row), at zero at the instant asked for.
AT_SQL = """
select k.n, coalesce(f.posted, 0) as posted, coalesce(f.pending_in, 0) as pending_in, coalesce(f.pending_out, 0) as pending_out,
    coalesce(f.version, 0) as version, coalesce(f.as_of, o.committed_at) as as_of
from unnest($1::uuid[], $2::timestamptz[]) with ordinality as k (account_id, instant, n)
join accounts a on a.id = k.account_id and (a.owner = $3 or $4)
join event_store o on o.aggregate_id = a.id and o.version = 1 and o.committed_at <= k.instant
left join lateral (
    select posted, pending_in, pending_out, version, as_of from (
        (select e.posted_after as posted, e.pending_in_after as pending_in, e.pending_out_after as pending_out,
            e.account_version as version, e.posted_at as as_of
        from entries e where e.account_id = k.account_id and e.posted_at <= k.instant
        order by e.posted_at desc, e.account_version desc limit 1)
        union all
        (select p.posted_after, p.pending_in_after, p.pending_out_after, p.account_version, p.posted_at
        from pending_entries p where p.account_id = k.account_id and p.posted_at <= k.instant
        order by p.posted_at desc, p.account_version desc limit 1)
    ) as both_phases order by version desc limit 1
) f on true
"""


def _balance(row: asyncpg.Record) -> Balance:
    return Balance(row["posted"], row["pending_in"], row["pending_out"], row["version"], row["as_of"])
