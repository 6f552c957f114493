"""The invariants on a stretch of the log: the events of (start, end], and what they touched, in one snapshot.

Most questions are those of invariants.py, asked of less: a CTE with a table's name stands in its place. Where the whole question sums
up from the beginning, the stretch is asked for the step instead: what every movement left is what the one before it left plus its own
entries, and an account's row is what its last movement left. Steps that hold everywhere make the sum.

Only the whole verification finds rows that no event points at, and looks at idempotency keys and read models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.write_models.connection import Connection
from isthmus.write_models.invariants import (
    ACCOUNT_STATE,
    CHECKS,
    FLOOR_NOW,
    HASHED,
    HEAD_IS_END,
    MOVEMENTS,
    NO_HASH,
)

SHOWN_MAX = 20

_SLICE = """with slice as materialized (
    select * from public.event_store where position > $1::bigint and position <= $2::bigint
)"""
_TOUCHED = f"""{_SLICE}, touched as materialized (
    select (f->>'account_id')::uuid as account_id from slice s cross join lateral jsonb_array_elements(s.data->'figures') f
    where s.data ? 'figures'
    union
    select aggregate_id from slice where aggregate_type = 'account'
), accounts as materialized (
    select * from public.accounts where id in (select account_id from touched)
), account_balances as materialized (
    select * from public.account_balances where account_id in (select account_id from touched)
)"""
#: Partitions of `entries` that the stretch does not reach into are not opened.
_IN_TIME = "posted_at between (select min(committed_at) from slice) and (select max(committed_at) from slice)"
_STRETCH = f"""{_TOUCHED}, event_store as (
    select * from slice
), journal_entries as materialized (
    select * from public.journal_entries where id in (
        select case type when 'HoldVoided' then event_id else (data->>'journal_id')::uuid end from slice where aggregate_type = 'journal')
), entries as materialized (
    select * from public.entries where journal_id in (select id from journal_entries) and {_IN_TIME}
), pending_entries as materialized (
    select * from public.pending_entries where journal_id in (select id from journal_entries)
), outbox as (
    select * from public.outbox where position > $1 and position <= $2
)"""
#: The whole streams of the accounts touched (opened, renamed, frozen, closed): they are short.
_STREAMS = f"""{_TOUCHED}, event_store as materialized (
    select * from public.event_store where aggregate_id in (select account_id from touched)
), entries as (
    select * from public.entries where false
), pending_entries as (
    select * from public.pending_entries where false
)"""


def _last_of(account: str, more: str = "") -> str:
    """An account's last movement, by index."""
    figures = "posted_after, pending_in_after, pending_out_after, account_version, posted_at"
    both = " union all ".join(
        f"(select {figures} from public.{table} where account_id = {account}{more} "
        "order by posted_at desc, account_version desc limit 1)"
        for table in ("entries", "pending_entries")
    )
    return f"select * from ({both}) l order by account_version desc limit 1"


_ORDER = f"""
select format('positions %s to %s hold %s events', $1 + 1, $2, count(*)) from slice having count(*) <> $2 - $1
union all
select format('position %s is stamped no later than the one before', position) from (
    select position, committed_at, lag(committed_at) over (order by position) as before
    from event_store where position >= $1 and position <= $2) p where committed_at <= before
union all {HEAD_IS_END}"""

_CHAIN = f"""
select format('event %s (position %s, %s %s version %s) is not what was stored', event_id, position, aggregate_type, aggregate_id, version)
from (
    select s.*, p.hash as before from slice s
    left join event_store p on p.aggregate_id = s.aggregate_id and p.version = s.version - 1
) c
where (version > 1 and before is null) or hash <> sha256(coalesce(before, {NO_HASH}) || {HASHED})"""

_STEPS = f"""
select format('account %s, version %s: what it left is not what version %s left and its entries', account_id, account_version, was_version)
from (
    select m.*, coalesce(m.lag_version, l.account_version, 0) as was_version, coalesce(m.lag_posted, l.posted_after, 0) as was_posted,
        coalesce(m.lag_in, l.pending_in_after, 0) as was_in, coalesce(m.lag_out, l.pending_out_after, 0) as was_out,
        coalesce(c.change, 0) as change, coalesce(h.change_in, 0) as change_in, coalesce(h.change_out, 0) as change_out
    from (
        select m.*, lag(account_version) over w as lag_version, lag(posted_after) over w as lag_posted,
            lag(pending_in_after) over w as lag_in, lag(pending_out_after) over w as lag_out
        from ({MOVEMENTS}) m window w as (partition by account_id order by account_version)
    ) m
    left join lateral ({_last_of("m.account_id", " and posted_at < m.posted_at")}) l on m.lag_version is null
    left join (
        select e.account_id, e.account_version, sum(case when e.direction = a.normal_balance then e.amount else -e.amount end) as change
        from entries e join accounts a on a.id = e.account_id group by 1, 2
    ) c on c.account_id = m.account_id and c.account_version = m.account_version
    left join (
        select p.account_id, p.account_version,
            sum(r.change) filter (where p.direction = a.normal_balance) as change_in,
            sum(r.change) filter (where p.direction <> a.normal_balance) as change_out
        from pending_entries p cross join lateral (
            select case p.effect when 'RESERVE' then p.amount else -p.amount end as change) r
        join accounts a on a.id = p.account_id group by 1, 2
    ) h on h.account_id = m.account_id and h.account_version = m.account_version
) s
where account_version <> was_version + 1 or posted_after <> was_posted + change
    or pending_in_after <> was_in + change_in or pending_out_after <> was_out + change_out"""

_ROWS = f"""
select format('account %s: balance row is at version %s of %s with %s, its last movement is version %s of %s with %s', b.account_id,
    b.version, b.as_of, b.posted, coalesce(l.account_version, 0), l.posted_at, coalesce(l.posted_after, 0))
from account_balances b left join lateral ({_last_of("b.account_id")}) l on true
where b.version <> coalesce(l.account_version, 0) or b.posted <> coalesce(l.posted_after, 0) or b.as_of <> l.posted_at
    or b.pending_in <> coalesce(l.pending_in_after, 0) or b.pending_out <> coalesce(l.pending_out_after, 0)"""


@dataclass(frozen=True)
class SliceCheck:
    """`name` is that of the invariant in invariants.py. `sql` takes (start, end) and gives one sentence a row."""

    name: str
    sql: str


_WHOLE = {check.name: check.violations for check in CHECKS}

SLICE_CHECKS: tuple[SliceCheck, ...] = (
    SliceCheck("one_order", _SLICE + _ORDER),
    SliceCheck("hash_chains", _SLICE + _CHAIN),
    *(
        SliceCheck(name, _STRETCH + _WHOLE[name])
        for name in ("balanced_journals", "journals_are_events", "movements_are_events", "published_from_events", "text_is_sealed")
    ),
    SliceCheck("balances_at_every_version", _STRETCH + _STEPS),
    SliceCheck("balances_are_entries", _TOUCHED + _ROWS),
    SliceCheck("never_below_the_floor", _TOUCHED + FLOOR_NOW),
    SliceCheck("accounts_are_events", _STREAMS + _WHOLE["accounts_are_events"]),
    SliceCheck("balances_are_events", _STREAMS + ACCOUNT_STATE),
)  # fmt: skip


@dataclass(frozen=True)
class Violation:
    """`invariant` is a check's name; the sentence names rows by their ids, and nobody."""

    invariant: str
    sentence: str


async def verify_slice(connection: Connection, start: int, end: int) -> Sequence[Violation]:
    """Inside the caller's snapshot (REPEATABLE READ), in which `end` is at most the log's end. At most SHOWN_MAX of each invariant."""
    found = []
    for check in SLICE_CHECKS:
        rows = await connection.fetch(f"{check.sql}\nlimit {SHOWN_MAX}", start, end)
        found += [Violation(check.name, row[0]) for row in rows]
    return found
