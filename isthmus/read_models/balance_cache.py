"""Current balances in Redis: one hash per partition, believed only where it is as new as the database is known to be.

Redis may be flushed, killed, restored from an old copy, or written to late, at any moment. So a hash says up to which position it is
complete (`@position`), and whose log it is of (`@log`); a writer that finds a gap empties it first; and a reader takes nothing from
a hash that stands below what it knows to be committed. What is not believed is read from PostgreSQL. No personal text is in here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any, Protocol
from uuid import UUID

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from isthmus.domain.log import partition_of
from isthmus.domain.money import text_of

_APPLY = files("isthmus.read_models").joinpath("lua", "apply_balances.lua").read_text(encoding="utf-8")
_TIMEOUT_S = 0.25
_OUT_OF_USE_S = 1.0

_asked = Counter("isthmus_balance_cache_total", "Balances asked of Redis, by what came of it.", ["result"])

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CachedBalance:
    posted: Decimal
    pending_in: Decimal
    pending_out: Decimal
    version: int
    as_of: datetime


class Balanced(Protocol):
    """Anything that has a balance: a row of the projection, a figure of an event."""

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


def key_of(partition: int) -> str:
    return f"isthmus:balances:{partition}"


class BalanceCache:
    """The reader. `identity` is the log's (`positions.log_identity`). Nothing here ever raises because of Redis."""

    def __init__(self, redis: Redis, identity: str, timeout_s: float = _TIMEOUT_S) -> None:
        self._redis = redis
        self._identity = identity
        self._timeout_s = timeout_s
        self._out_of_use_until = 0.0

    async def get_many(self, account_ids: Sequence[UUID], at_least: Mapping[int, int]) -> dict[UUID, CachedBalance]:
        """Those that can be believed. `at_least`: per partition the position that is known to be committed; a partition that is
        missing there is not believed at all."""
        wanted: dict[int, list[UUID]] = {}
        for account_id in dict.fromkeys(account_ids):
            if (partition := partition_of(account_id)) in at_least:
                wanted.setdefault(partition, []).append(account_id)
        found: dict[UUID, CachedBalance] = {}
        answers = await self._ask(wanted)
        for (partition, accounts), (identity, position, *values) in zip(wanted.items(), answers, strict=False):
            if _text(identity) != self._identity or position is None or int(position) < at_least[partition]:
                continue
            for account_id, value in zip(accounts, values, strict=True):
                if value is not None and (balance := _read(_text(value))) is not None:
                    found[account_id] = balance
        _asked.labels("hit").inc(len(found))
        _asked.labels("miss").inc(len(account_ids) - len(found))
        return found

    async def _ask(self, wanted: Mapping[int, Sequence[UUID]]) -> list[Any]:
        if not wanted or time.monotonic() < self._out_of_use_until:
            return []
        try:
            async with asyncio.timeout(self._timeout_s):
                pipeline = self._redis.pipeline(transaction=False)
                for partition, accounts in wanted.items():
                    pipeline.execute_command("HMGET", key_of(partition), "@log", "@position", *map(str, accounts))
                return await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            # A Redis that hangs must not cost every query its whole time-out.
            self._out_of_use_until = time.monotonic() + _OUT_OF_USE_S
            log.warning("balances are read from the database meanwhile", error=type(error).__name__)
            return []


def apply_to(
    pipeline: Pipeline,
    identity: str,
    partition: int,
    start: int,
    end: int,
    changes: Iterable[tuple[UUID, Balanced | None]],
) -> None:
    """Queue what one transaction changed in a partition; of several balances of one account the last is enough. None: the
    account's balance is not known from now on."""
    arguments: list[str] = []
    for account_id, balance in changes:
        arguments += [str(account_id), "" if balance is None else _written(balance)]
    pipeline.execute_command("EVAL", _APPLY, 1, key_of(partition), identity, str(start), str(end), *arguments)


def _written(balance: Balanced) -> str:
    figures = (text_of(balance.posted), text_of(balance.pending_in), text_of(balance.pending_out))
    return "|".join((str(balance.version), *figures, balance.as_of.isoformat()))


def _read(value: str) -> CachedBalance | None:
    try:
        version, posted, pending_in, pending_out, as_of = value.split("|")
        return CachedBalance(
            Decimal(posted), Decimal(pending_in), Decimal(pending_out), int(version), datetime.fromisoformat(as_of)
        )
    except (ValueError, ArithmeticError):
        return None


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
