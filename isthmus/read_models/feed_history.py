"""What the feed reads from the database: balances as they are, and every version that there was since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import asyncpg

from isthmus.read_models.balances import ZERO
from isthmus.read_models.database import ACQUIRE_TIMEOUT_S
from isthmus.read_models.feed_wire import BalanceMessage, Cause

_CURRENT = """
select account_id, owner, asset, version, position, posted, pending_in, pending_out, as_of, opened_at, opened_position
from read_models.accounts
where (owner = any($1::uuid[]) or account_id = any($2::uuid[])) and opened_position > $3 order by opened_position"""
_COLUMNS = (
    "account_id, version, position, committed_at, posted, pending_in, pending_out, event_id, event_type, correlation_id"
)
_SINCE_VERSION = f"""
select h.* from unnest($1::uuid[], $2::bigint[]) as s (account_id, version)
cross join lateral (
    select {_COLUMNS} from read_models.balance_history b where b.account_id = s.account_id and b.version > s.version
    order by b.version limit $3
) h
order by h.position, h.account_id limit $3"""
# The newest versions of each account, by its primary key: how far back is bounded, however old the position is.
_SINCE_POSITION = f"""
select h.* from unnest($1::uuid[], $2::bigint[], $3::bigint[]) as s (account_id, version, position)
cross join lateral (
    select {_COLUMNS} from read_models.balance_history b
    where b.account_id = s.account_id and b.version <= s.version and b.version > s.version - $4 and b.position > s.position
) h
order by h.position, h.account_id"""


@dataclass(frozen=True, slots=True)
class Current:
    """An account's balance as it is, and what it was when it was opened: nothing, at version 0."""

    message: BalanceMessage
    owner: UUID | None
    opening: BalanceMessage

    @property
    def account_id(self) -> UUID:
        return self.message.account_id


async def current(pool: Any, owners: Iterable[UUID], accounts: Iterable[UUID], after: int) -> list[Current]:
    """These owners' accounts, and these accounts whosever they are, of those opened after a position; oldest first."""
    async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        rows = await connection.fetch(_CURRENT, list(owners), list(accounts), after)
    return [_current(row) for row in rows]


async def history(
    pool: Any, cursors: Mapping[UUID, int], assets: Mapping[UUID, str], page: int
) -> list[BalanceMessage]:
    """At most a page of what came after the cursors (account -> version), in log order: of each account the next ones."""
    if not cursors:
        return []
    async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        rows = await connection.fetch(_SINCE_VERSION, list(cursors), list(cursors.values()), page)
    return [_version(row, assets[row["account_id"]]) for row in rows]


async def missed(
    pool: Any, since: Mapping[UUID, tuple[BalanceMessage, int]], most: int
) -> dict[UUID, list[BalanceMessage]]:
    """Of each account (with its current balance and a position) what came after the position, oldest first: the newest `most`."""
    if not since:
        return {}
    async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        rows = await connection.fetch(
            _SINCE_POSITION,
            list(since),
            [message.version for message, _ in since.values()],
            [position for _, position in since.values()],
            most,
        )
    found: dict[UUID, list[BalanceMessage]] = {}
    for row in rows:
        account = row["account_id"]
        found.setdefault(account, []).append(_version(row, since[account][0].asset))
    return found


def first_of(
    after: int | None, accounts: Sequence[Current], since: Mapping[UUID, Sequence[BalanceMessage]], most: int
) -> dict[UUID, list[BalanceMessage]]:
    """What to say of each account first: its balance; or what came after a position, as long as that is `most` messages in all.

    `since` is what `missed` found, up to `most` + 1 of each account. An account with too many gets its balance, which says so.
    """
    if after is None:
        return {one.account_id: [one.message] for one in accounts}
    first: dict[UUID, list[BalanceMessage]] = {}
    for one in accounts:
        rows = [
            row for row in since.get(one.account_id, ()) if row.position > after and row.version <= one.message.version
        ]
        first[one.account_id] = [one.opening, *rows] if one.opening.position > after else rows
    left = most
    for one in sorted(accounts, key=lambda one: len(first[one.account_id])):
        left -= len(first[one.account_id])
        if left < 0 and first[one.account_id]:
            first[one.account_id] = [replace(one.message, lagged_from=after)]
    return first


def _current(row: asyncpg.Record) -> Current:
    account, asset = row["account_id"], row["asset"]
    now = BalanceMessage(
        account,
        asset,
        row["version"],
        row["position"],
        row["posted"],
        row["pending_in"],
        row["pending_out"],
        row["as_of"],
        None,
    )
    opening = BalanceMessage(account, asset, 0, row["opened_position"], ZERO, ZERO, ZERO, row["opened_at"], None)
    return Current(now, row["owner"], opening)


def _version(row: asyncpg.Record, asset: str) -> BalanceMessage:
    return BalanceMessage(
        row["account_id"],
        asset,
        row["version"],
        row["position"],
        row["posted"],
        row["pending_in"],
        row["pending_out"],
        row["committed_at"],
        Cause(row["event_id"], row["event_type"], row["correlation_id"]),
    )
