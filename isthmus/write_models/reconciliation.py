"""Comparing our book with the bank's, a day at a time; what differs becomes a case, and a case whose difference is gone is closed.

The bank is read first: what it has we may have booked meanwhile, and what it does so after that is too young to be judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import orjson
import structlog
from prometheus_client import Counter, Gauge

from isthmus.domain.clock import Clock
from isthmus.domain.identifiers import IdSource
from isthmus.domain.money import add, text_of
from isthmus.domain.pay_ins import pay_in_journal_id
from isthmus.domain.reconciliation import Class, Entry, Pair, Sums, pairs_of, sums_of, within
from isthmus.domain.reconciliation_cases import (
    Difference,
    OpenReconciliationCase,
    ReconciliationCaseOpened,
    ResolveReconciliationCase,
    case_id_of,
)
from isthmus.domain.statements import StatementEntry, Statements
from isthmus.write_models.bank_mirror import system_envelope
from isthmus.write_models.commands import CommandBus, Done
from isthmus.write_models.connection import Connection, Pool
from isthmus.write_models.reconciliation_rows import lay_there, our_entries

#: So far on either side of a day the other half of what was booked in it is looked for.
TOLERANCE = timedelta(hours=6)
#: What is younger may be on its way from one book to the other.
YOUNG = timedelta(minutes=1)
#: Cases are looked at again for so long; older ones are closed by hand.
_CASES_LAST = timedelta(days=35)
_DAY = timedelta(days=1)
_MISSED_MAX = 7
#: The last whole day that was.
_COMPARED = """
select max(since) from reconciliation_runs where provider = $1 and asset = $2 and until = since + interval '24 hours'"""

_entries = Counter(
    "isthmus_reconciliation_entries_total",
    "Entries of a bank's statement and of our own book that a run compared, by class: matched, missing, extra, differing.",
    ["class"],
)
for _class in Class:
    _entries.labels(_class)
_cases = Gauge(
    "isthmus_reconciliation_open_cases",
    "Cases of reconciliation that wait for an operator, by difference: MISSING, EXTRA, DIFFERING, UNASSIGNED.",
    ["difference"],
)
_ran = Gauge(
    "isthmus_reconciliation_ran_timestamp_seconds",
    "When an account at a bank was compared with our book last; of several, the one that waits longest. Until it ever was: since "
    "when this process waits for it. 0 where there is no such account.",
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Report:
    """Of one account at a bank and one day. `pairs`: what differs. `opening`, `closing`: what our book says lay there. `balance`: what the
    bank says lies there now."""

    provider: str
    asset: str
    since: datetime
    until: datetime
    sums: Mapping[Class, Sums]
    differences: tuple[Pair, ...]
    opening: Decimal
    closing: Decimal
    balance: Decimal | None
    opened: int
    resolved: int

    @property
    def booked(self) -> Decimal:
        """What our book moved there in that time, by the sums of the classes."""
        moved = Decimal(0)
        for one in self.sums.values():
            moved = add(moved, one.ours)
        return moved

    @property
    def sound(self) -> bool:
        return not self.differences and add(self.opening, self.booked) == self.closing


class TooEarly(Exception):
    """There is nothing to compare yet of that day."""


class Reconciler:
    """`statements`: by provider. `young`: as YOUNG."""

    def __init__(
        self,
        pool: Pool,
        commands: CommandBus,
        statements: Mapping[str, Statements],
        clock: Clock,
        ids: IdSource,
        young: timedelta = YOUNG,
    ) -> None:
        self._pool = pool
        self._commands = commands
        self._statements = statements
        self._clock = clock
        self._ids = ids
        self._young = young
        self._waits_since = clock.now()

    def yesterday(self) -> date:
        return (self._clock.now().astimezone(UTC) - _DAY).date()

    async def run_due(self) -> list[date]:
        """The days that are over and were not compared yet; days that were missed as well, for a week. Returns them. Raises as `run`."""
        latest, first = self.yesterday(), await self._first_due()
        if self._clock.now().astimezone(UTC) < datetime.combine(latest, time(), UTC) + _DAY + TOLERANCE:
            return []
        days = [latest - n * _DAY for n in reversed(range(_MISSED_MAX)) if latest - n * _DAY >= (first or latest)]
        for day in days:
            await self.run(day)
        return days

    async def _first_due(self) -> date | None:
        """None where some account was never compared."""
        accounts = [(provider, asset) for provider, one in self._statements.items() for asset in one.assets]
        async with self._pool.acquire() as connection:
            last = [await connection.fetchval(_COMPARED, *account) for account in accounts]
        known = [at.astimezone(UTC).date() for at in last if at is not None]
        return min(known) + _DAY if known and len(known) == len(last) else None

    async def run(self, day: date) -> tuple[Report, ...]:
        """Every account that we have at a bank. Raises TooEarly, and ProviderFault where a bank does not tell; what was compared before
        stays so."""
        since = datetime.combine(day, time(), UTC)
        until = min(since + _DAY, self._clock.now() - self._young)
        if until <= since:
            raise TooEarly(f"nothing of {day} can be compared yet")
        reports = [
            await self._compare(provider, statements, asset, since, until)
            for provider, statements in sorted(self._statements.items())
            for asset in sorted(statements.assets)
        ]
        return tuple(reports)

    async def _compare(
        self, provider: str, statements: Statements, asset: str, since: datetime, until: datetime
    ) -> Report:
        async with self._pool.acquire() as connection:
            cases = await _open_cases(connection, provider, asset, since - _CASES_LAST)
        first = min([since, *(at for _, at in cases)]) - TOLERANCE
        last = until + TOLERANCE
        statement = await statements.entries(asset, first, last)
        async with self._pool.acquire() as connection:
            ours = await our_entries(connection, provider, asset, first, last)
            opening = await lay_there(connection, provider, asset, since)
            closing = await lay_there(connection, provider, asset, until)
        pairs = pairs_of(ours, [_theirs(provider, one) for one in statement.entries])
        seen = within(pairs, since, until)
        different = tuple(pair for pair in seen if pair.found is not Class.MATCHED)
        opened = [await self._open(provider, asset, pair) for pair in different]
        standing = {_found(provider, asset, pair).case_id for pair in pairs if pair.found is not Class.MATCHED}
        resolved = [await self._resolve(case_id) for case_id, _ in cases if case_id not in standing]
        sums = sums_of(seen, since, until)
        for found, one in sums.items():
            _entries.labels(found).inc(one.ours_count + one.theirs_count)
        report = Report(
            provider,
            asset,
            since,
            until,
            sums,
            different,
            opening,
            closing,
            statement.balance,
            sum(opened),
            sum(resolved),
        )
        await self._keep(report)
        return report

    async def _open(self, provider: str, asset: str, pair: Pair) -> bool:
        return await self._done(OpenReconciliationCase(_found(provider, asset, pair)))

    async def _resolve(self, case_id: UUID) -> bool:
        return await self._done(ResolveReconciliationCase(case_id))

    async def _done(self, wish: OpenReconciliationCase | ResolveReconciliationCase) -> bool:
        which = f"{type(wish).__name__} {wish.case_id} {self._ids()}"
        done = await self._commands.run(wish, system_envelope(wish, which, f"case-{wish.case_id}"))
        if not isinstance(done, Done):  # somebody else compares at the same time, and was first
            log.warning("a case could not be written", case=str(wish.case_id), code=done.refusal.code)
            return False
        return bool(done.events)

    async def _keep(self, report: Report) -> None:
        async with self._pool.acquire() as connection:
            await connection.execute(
                "insert into reconciliation_runs (provider, asset, since, until, found) values ($1, $2, $3, $4, $5::jsonb)",
                report.provider,
                report.asset,
                report.since,
                report.until,
                orjson.dumps(told_sums(report.sums)).decode(),
            )
        if not report.sound:
            log.warning(
                "our book and the bank's differ",
                provider=report.provider,
                asset=report.asset,
                day=f"{report.since:%Y-%m-%d}",
                differences=len(report.differences),
            )

    async def tell(self) -> None:
        """Sets the gauges: what waits, and since when nothing was compared."""
        accounts = [(provider, asset) for provider, one in self._statements.items() for asset in one.assets]
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(
                "select difference, count(*) as open from reconciliation_cases where closed_at is null group by difference"
            )
            last = [
                await connection.fetchval(
                    "select max(ran_at) from reconciliation_runs where provider = $1 and asset = $2", *account
                )
                for account in accounts
            ]
        waiting = {row["difference"]: row["open"] for row in rows}
        for difference in Difference:
            _cases.labels(difference).set(waiting.get(difference, 0))
        if accounts:
            _ran.set(min((at or self._waits_since).timestamp() for at in last))


def told_sums(sums: Mapping[Class, Sums]) -> dict[str, dict[str, object]]:
    """As JSON has it: amounts are texts."""
    return {
        found.value: {
            "ours": {"entries": one.ours_count, "amount": text_of(one.ours)},
            "theirs": {"entries": one.theirs_count, "amount": text_of(one.theirs)},
        }
        for found, one in sums.items()
    }


def _theirs(provider: str, entry: StatementEntry) -> Entry:
    """Known to us by its own names, or as the journal that follows from one of them: money that was sent to us by the entry's, a top-up
    by the payment's."""
    names = entry.names | {entry.entry_id}
    return Entry(
        entry.entry_id, entry.at, entry.amount, names | {str(pay_in_journal_id(provider, name)) for name in names}
    )


def _found(provider: str, asset: str, pair: Pair) -> ReconciliationCaseOpened:
    difference = Difference(pair.found.name)
    journal_id = UUID(pair.ours.key) if pair.ours is not None else None
    entry_id = pair.theirs.key if pair.theirs is not None else None
    return ReconciliationCaseOpened(
        case_id_of(provider, asset, difference, journal_id, entry_id),
        provider,
        asset,
        difference,
        journal_id,
        entry_id,
        pair.ours.amount if pair.ours is not None else None,
        pair.theirs.amount if pair.theirs is not None else None,
        pair.at,
    )


async def _open_cases(
    connection: Connection, provider: str, asset: str, since: datetime
) -> Sequence[tuple[UUID, datetime]]:
    """Those that a run may close, with when what they are about was booked."""
    rows = await connection.fetch(
        "select id, booked_at from reconciliation_cases where provider = $1 and asset = $2 and closed_at is null "
        "and difference <> 'UNASSIGNED' and booked_at >= $3",
        provider,
        asset,
        since,
    )
    return [(UUID(str(row["id"])), row["booked_at"]) for row in rows]
