"""Comparing our book with the bank's, a day at a time; what differs becomes a case, and a case whose difference is gone is closed.

The bank is read first: what it has we may have booked meanwhile, and what it does so after that is too young to be judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta

import orjson
import structlog
from prometheus_client import Counter, Gauge

from isthmus.domain.banking import Malformed, ProviderFault
from isthmus.domain.case_review import by_key, case_of, over
from isthmus.domain.clock import Clock
from isthmus.domain.identifiers import IdSource
from isthmus.domain.pay_ins import pay_in_journal_id
from isthmus.domain.reconciliation import Class, Entry, pairs_of, sums_of, within
from isthmus.domain.reconciliation_cases import (
    Difference,
    OpenReconciliationCase,
    ResolveReconciliationCase,
)
from isthmus.domain.statements import StatementEntry, Statements
from isthmus.write_models.bank_mirror import system_envelope
from isthmus.write_models.commands import CommandBus, Done
from isthmus.write_models.connection import Pool
from isthmus.write_models.reconciliation_days import Account, Compared, alone, due, open_cases
from isthmus.write_models.reconciliation_report import Report, told_sums
from isthmus.write_models.reconciliation_rows import lay_there, our_entries

#: So far on either side of a day the other half of what was booked in it is looked for.
TOLERANCE = timedelta(hours=6)
#: What is younger may be on its way from one book to the other.
YOUNG = timedelta(minutes=1)
#: Cases are looked at again for so long; older ones are closed by hand.
_CASES_LAST = timedelta(days=35)
_DAY = timedelta(days=1)
_MISSED_MAX = 7
#: While a difference of the last day stands that is compared again so often: what the bank booked late is no difference any more.
_AGAIN = timedelta(hours=1)

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


class TooEarly(Exception):
    """There is nothing to compare yet of that day."""


class NotCompared(Exception):
    """Some accounts could not be, each told with why; the others were."""

    def __init__(self, why: Mapping[Account, str]) -> None:
        told = "; ".join(f"{provider} {asset}: {each}" for (provider, asset), each in why.items())
        super().__init__(f"not compared: {told}")
        self.why = why


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

    @property
    def accounts(self) -> list[Account]:
        return sorted((provider, asset) for provider, one in self._statements.items() for asset in one.assets)

    def yesterday(self) -> date:
        return (self._clock.now().astimezone(UTC) - _DAY).date()

    async def run_due(self) -> list[date]:
        """Of each account the days that are over and were not compared yet, also those that were missed, for a week; and the last once
        more where differences stand. Returns the days. Raises as `run`."""
        latest, now = self.yesterday(), self._clock.now().astimezone(UTC)
        if now < _begin(latest) + _DAY + TOLERANCE:
            return []
        window, done, why = [latest - n * _DAY for n in reversed(range(_MISSED_MAX))], set[date](), dict[Account, str]()
        for account in self.accounts:
            async with self._pool.acquire() as connection:
                days = await due(connection, account, window, now, TOLERANCE, _AGAIN)
            for day in days:
                try:
                    await self._compare(account, _begin(day), _begin(day) + _DAY)
                    done.add(day)
                except (ProviderFault, Compared) as fault:
                    why[account] = str(fault)
                    if not isinstance(fault, Malformed):
                        break  # it does not answer, whatever the day; else the next day's statement may be whole
        if why:
            raise NotCompared(why)
        return sorted(done)

    async def run(self, day: date, each: Callable[[Report], None] = lambda _: None) -> tuple[Report, ...]:
        """Every account that we have at a bank. Raises TooEarly; and NotCompared once all others were. `each` is told as they come."""
        since = _begin(day)
        until = min(since + _DAY, self._clock.now() - self._young)
        if until <= since:
            raise TooEarly(f"nothing of {day} can be compared yet")
        reports, why = list[Report](), dict[Account, str]()
        for account in self.accounts:
            try:
                reports.append(await self._compare(account, since, until))
                each(reports[-1])
            except (ProviderFault, Compared) as fault:
                why[account] = str(fault)
        if why:
            raise NotCompared(why)
        return tuple(reports)

    async def _compare(self, account: Account, since: datetime, until: datetime) -> Report:
        """Nobody else meanwhile: what read the statement earlier would open again what another has closed."""
        async with self._pool.acquire() as connection, alone(connection, account):
            return await self._compared(*account, since, until)

    async def _compared(self, provider: str, asset: str, since: datetime, until: datetime) -> Report:
        async with self._pool.acquire() as connection:
            cases = await open_cases(connection, provider, asset, since - _CASES_LAST)
        first = min([since, *(case.at for case in cases)]) - TOLERANCE
        last = until + TOLERANCE
        statement = await self._statements[provider].entries(asset, first, last)
        async with self._pool.acquire() as connection:
            ours = await our_entries(connection, provider, asset, first, last)
            opening = await lay_there(connection, provider, asset, since)
            closing = await lay_there(connection, provider, asset, until)
        pairs = pairs_of(ours, [_theirs(provider, one) for one in statement.entries])
        seen = within(pairs, since, until)
        different = tuple(pair for pair in seen if pair.found is not Class.MATCHED)
        opened = [await self._done(OpenReconciliationCase(case_of(provider, asset, pair))) for pair in different]
        resolved, known = 0, by_key(pairs)
        for case in cases:
            others = over(provider, asset, case, known)
            if others is not None:
                opened += [await self._done(OpenReconciliationCase(other)) for other in others]
                resolved += await self._done(ResolveReconciliationCase(case.case_id))
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
            resolved,
        )
        await self._keep(report)
        return report

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
                "insert into reconciliation_runs (provider, asset, since, until, ran_at, found) values ($1, $2, $3, $4, $5, $6::jsonb)",
                report.provider,
                report.asset,
                report.since,
                report.until,
                self._clock.now(),
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
        accounts = self.accounts
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


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _theirs(provider: str, entry: StatementEntry) -> Entry:
    """Known to us by its own names, or as the journal that follows from one of them: money that was sent to us by the entry's, a top-up
    by the payment's."""
    names = entry.names | {entry.entry_id}
    return Entry(
        entry.entry_id, entry.at, entry.amount, names | {str(pay_in_journal_id(provider, name)) for name in names}
    )
