"""Which days of an account at a bank are to be compared, and that one process at a time compares it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta

from isthmus.domain.case_review import OpenCase
from isthmus.write_models.connection import Connection

#: Provider and asset: there is one account of ours for each.
Account = tuple[str, str]
#: Sorts our advisory locks from everybody else's; the other half is of the account.
_LOCK = 0x7265636F
_FIRST = "select since from reconciliation_runs where provider = $1 and asset = $2 order by ran_at limit 1"
#: Whole days, and late enough: what was looked at before is looked at again when the other halves of what is near midnight are there.
_WHOLE = """
select since, max(ran_at) as ran_at from reconciliation_runs
where provider = $1 and asset = $2 and ran_at >= $3 and since >= $3 and until = since + interval '24 hours' and ran_at >= until + $4
group by since"""


class Compared(Exception):
    """Somebody else does so right now."""


@asynccontextmanager
async def alone(connection: Connection, account: Account) -> AsyncIterator[None]:
    """Raises Compared. Whoever dies lets go with their connection."""
    if not await connection.fetchval("select pg_try_advisory_lock($1, hashtext($2))", _LOCK, " ".join(account)):
        raise Compared("another process compares it right now; wait until that ends")
    try:
        yield
    finally:
        await connection.fetchval("select pg_advisory_unlock($1, hashtext($2))", _LOCK, " ".join(account))


async def due(
    connection: Connection,
    account: Account,
    window: Sequence[date],
    now: datetime,
    late: timedelta,
    again: timedelta,
) -> list[date]:
    """Of the days of `window`, oldest first. Of an account that never was compared the last one; else all that were not since it was for
    the first time, whoever compared the days around them; and the last once more where it was `again` ago and what differs in it stands.
    `late`: how long after its end a day can be compared for good."""
    first = await connection.fetchval(_FIRST, *account)
    if first is None:
        return [window[-1]]
    begin, last = _begin(window[0]), window[-1]
    rows = await connection.fetch(_WHOLE, *account, begin, late)
    compared = {row["since"].astimezone(UTC).date(): row["ran_at"] for row in rows}
    since = min(first.astimezone(UTC).date(), last)
    missing = [day for day in window if day not in compared and day >= since]
    if last in missing or now - compared[last] < again:
        return missing
    return [*missing, last] if await open_cases(connection, *account, _begin(last) - late) else missing


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


async def open_cases(connection: Connection, provider: str, asset: str, since: datetime) -> Sequence[OpenCase]:
    """Those that a run may close."""
    rows = await connection.fetch(
        "select id, booked_at, journal_id, entry_id from reconciliation_cases where provider = $1 and asset = $2 and closed_at is null "
        "and difference <> 'UNASSIGNED' and booked_at >= $3",
        provider,
        asset,
        since,
    )
    return [OpenCase(row["id"], row["booked_at"], row["journal_id"], row["entry_id"]) for row in rows]
