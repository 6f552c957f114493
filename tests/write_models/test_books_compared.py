"""Our book beside a bank's: what differs has one case, which is closed when the difference is gone. Money that comes is booked once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from isthmus.domain.banking import Malformed, ProviderUnavailable
from isthmus.domain.clock import SettableClock
from isthmus.domain.funding import funding_reference
from isthmus.domain.identifiers import house_account_id, uuid7_source
from isthmus.domain.pay_ins import suspense_account_id
from isthmus.domain.personal import PersonalText
from isthmus.domain.reconciliation import Class
from isthmus.domain.reconciliation_cases import CloseReconciliationCase
from isthmus.domain.statements import Statement, StatementEntry
from isthmus.runtime.wiring import WriteSide
from isthmus.write_models.pay_ins import Look, PayIns
from isthmus.write_models.reconciliation import NotCompared, Reconciler, TooEarly
from isthmus.write_models.reconciliation_report import Report
from tests.write_models.driver import Driver, assert_sound
from tests.write_models.test_payment_saga import Office, opened

HOUR = timedelta(hours=1)


@dataclass
class Paper:
    """A bank's statement of one account in euros."""

    name: str = "bank"
    assets: frozenset[str] = frozenset({"EUR"})
    some: dict[str, StatementEntry] = field(default_factory=dict)
    down: bool = False
    #: When an entry was booked that cannot be read.
    blotted: datetime | None = None
    #: Where it is there, the statement is not told until it is set, or asked for once more.
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    tells: asyncio.Event | None = None

    async def entries(self, asset: str, since: datetime, until: datetime) -> Statement:
        if self.down:
            raise ProviderUnavailable("down")
        if self.blotted is not None and since <= self.blotted < until:
            raise Malformed("blotted")
        assert asset in self.assets
        if self.tells is not None:
            if self.asked.is_set():
                self.tells.set()
            self.asked.set()
            await self.tells.wait()
        told = tuple(one for one in self.some.values() if since <= one.at < until)
        return Statement(told, sum((one.amount for one in self.some.values()), Decimal(1_000)))

    def book(self, name: str, amount: str, at: datetime, **more: Any) -> None:
        self.some[name] = StatementEntry(name, at, Decimal(amount), "EUR", **more)


@dataclass
class Desk:
    office: Office
    paper: Paper
    clock: SettableClock
    reconciler: Reconciler
    pay_ins: PayIns

    async def paid(self, amount: str = "30.00", *, told: str | None = "") -> str:
        """A payment that left; the statement has it, as much as is `told`, or not at all. Returns the bank's name for it."""
        payment = await self.office.authorised(amount)
        await self.office.saga.advance(payment)
        self.office.bank.execute(payment)
        await self.office.saga.advance(payment)
        if told is not None:
            self.paper.book(f"p-{payment}", f"-{told or amount}", self.clock.now())
        return f"p-{payment}"

    async def run(self, after: timedelta = HOUR) -> Report:
        """Of the day that it is now, after a while."""
        day = self.clock.now().date()
        self.clock.advance(after)
        (report,) = await self.reconciler.run(day)
        return report

    async def cases(self) -> list[tuple[str, str | None]]:
        rows = await self.office.side.pool.fetch(
            "select difference, closed_by from reconciliation_cases order by opened_at, id"
        )
        return [(row["difference"], row["closed_by"]) for row in rows]

    async def posted(self, account: UUID) -> Decimal:
        found = await self.office.side.pool.fetchval(
            "select posted from account_balances where account_id = $1", account
        )
        return found or Decimal(0)

    def look(self, name: str, amount: str) -> bytes:
        return msgspec.json.encode(Look("bank", name, "EUR", Decimal(amount), self.clock.now()))


@pytest.fixture
async def desk(side: WriteSide, ledger: Driver, clock: SettableClock) -> Desk:
    office, paper = await opened(side, ledger), Paper()
    statements = {"bank": paper}
    reconciler = Reconciler(side.pool, side.commands, statements, clock, uuid7_source(clock.now))
    return Desk(office, paper, clock, reconciler, PayIns(side.pool, side.commands, statements, clock))


def counts(report: Report) -> dict[str, tuple[int, int]]:
    return {found.value: (one.ours_count, one.theirs_count) for found, one in report.sums.items()}


async def test_each_way_to_differ_opens_one_case_however_often_it_is_found(desk: Desk) -> None:
    await desk.paid("10.00")
    await desk.paid("20.00", told=None)
    await desk.paid("30.00", told="30.01")
    desk.paper.book("behind", "-5.00", desk.clock.now())

    report = await desk.run()

    assert counts(report) == {"matched": (1, 1), "missing": (1, 0), "extra": (0, 1), "differing": (1, 1)}
    assert (report.sums[Class.MISSING].ours, report.sums[Class.EXTRA].theirs) == (-20, -5)
    assert (report.opening, report.booked, report.closing) == (0, -60, -60), "the classes are the ledger's own movement"
    assert (report.opened, report.sound) == (3, False)
    assert sorted(await desk.cases()) == [("DIFFERING", None), ("EXTRA", None), ("MISSING", None)]
    case = await desk.office.side.pool.fetchval("select id from reconciliation_cases where difference = 'MISSING'")
    wish = CloseReconciliationCase(UUID(str(case)), uuid4(), PersonalText("paid by hand"))
    await desk.office.side.commands.run(wish, desk.office.envelope("closeReconciliationCase"))
    again = await desk.run()
    assert (again.opened, again.resolved, again.sound) == (0, 0, False)
    assert sorted(await desk.cases(), key=str) == [("DIFFERING", None), ("EXTRA", None), ("MISSING", "OPERATOR")]
    await assert_sound(desk.office.side.pool)


async def test_what_the_bank_books_late_closes_its_case_days_after(desk: Desk) -> None:
    name = await desk.paid(told=None)
    assert (await desk.run(timedelta(seconds=30))).sound, "it is too young to be judged"
    assert (await desk.run(timedelta(seconds=31))).opened == 1
    with pytest.raises(TooEarly):
        await desk.reconciler.run(desk.clock.now().date() + timedelta(days=1))
    desk.clock.advance(timedelta(days=2))
    desk.paper.book(name, "-30.00", desk.clock.now())

    report = await desk.run()

    assert (report.resolved, report.sound, await desk.cases()) == (1, True, [("MISSING", "RUN")])
    del desk.paper.some[name]
    (again,) = await desk.reconciler.run(desk.clock.now().date() - timedelta(days=2))
    assert (again.opened, await desk.cases()) == (1, [("MISSING", None)]), "it differs again: the same case"


async def test_every_day_is_compared_once_it_is_over_also_one_that_was_missed(desk: Desk) -> None:
    desk.clock.set(datetime(2026, 11, 25, 5, 59, tzinfo=UTC))
    assert await desk.reconciler.run_due() == [], "the other halves of what is near midnight may be to come"
    desk.clock.advance(timedelta(minutes=1))
    assert [day.day for day in await desk.reconciler.run_due()] == [24]
    assert await desk.reconciler.run_due() == []
    desk.clock.advance(timedelta(days=3))
    desk.paper.down = True
    with pytest.raises(NotCompared, match="bank EUR: down"):
        await desk.reconciler.run_due()
    desk.paper.down = False
    await desk.reconciler.run(
        desk.reconciler.yesterday()
    )  # an operator's, since an alert told that nothing was compared

    assert [day.day for day in await desk.reconciler.run_due()] == [25, 26], "the days before are not skipped by that"
    assert await desk.reconciler.run_due() == []


async def test_a_day_that_cannot_be_read_keeps_no_other_day_from_being_compared(desk: Desk) -> None:
    desk.clock.set(datetime(2026, 11, 25, 7, tzinfo=UTC))
    assert [day.day for day in await desk.reconciler.run_due()] == [24]
    desk.paper.blotted = datetime(2026, 11, 25, 12, tzinfo=UTC)
    desk.clock.advance(timedelta(days=3))
    with pytest.raises(NotCompared, match="bank EUR: blotted"):
        await desk.reconciler.run_due()
    desk.paper.blotted = None

    assert [day.day for day in await desk.reconciler.run_due()] == [25], "the others were"


async def test_a_day_that_was_looked_at_too_early_is_compared_when_it_is_over_for_good(desk: Desk) -> None:
    desk.clock.set(datetime(2026, 11, 25, 0, 10, tzinfo=UTC))
    (early,) = await desk.reconciler.run(desk.reconciler.yesterday())
    assert early.sound
    desk.paper.book("behind", "-5.00", datetime(2026, 11, 24, 23, 59, tzinfo=UTC))  # the bank tells of it in the night
    desk.clock.advance(7 * HOUR)

    assert [day.day for day in await desk.reconciler.run_due()] == [24]

    assert await desk.cases() == [("EXTRA", None)]


async def test_while_a_difference_stands_the_last_day_is_compared_every_hour_and_not_longer(desk: Desk) -> None:
    desk.clock.set(datetime(2026, 11, 24, 12, tzinfo=UTC))
    name = await desk.paid(told=None)
    desk.clock.advance(19 * HOUR)
    assert [day.day for day in await desk.reconciler.run_due()] == [24]
    assert await desk.cases() == [("MISSING", None)]
    desk.clock.advance(timedelta(minutes=50))
    assert await desk.reconciler.run_due() == []
    desk.paper.book(name, "-30.00", datetime(2026, 11, 24, 13, tzinfo=UTC))  # the bank was late with it
    desk.clock.advance(timedelta(minutes=10))

    assert [day.day for day in await desk.reconciler.run_due()] == [24]

    assert await desk.cases() == [("MISSING", "RUN")]
    desk.clock.advance(2 * HOUR)
    assert await desk.reconciler.run_due() == []


async def test_what_one_account_cannot_tell_keeps_no_other_from_being_compared_and_credited(desk: Desk) -> None:
    away = Paper("away", down=True)
    statements = {"away": away, "bank": desk.paper}
    both = Reconciler(
        desk.office.side.pool, desk.office.side.commands, statements, desk.clock, uuid7_source(desk.clock.now)
    )
    pay_ins = PayIns(desk.office.side.pool, desk.office.side.commands, statements, desk.clock)
    reference = f"for {funding_reference(desk.office.account)}"
    desk.paper.book("in-1", "25.00", desk.clock.now(), pay_in=True, reference=reference)
    desk.clock.advance(HOUR)
    with pytest.raises(ProviderUnavailable):
        await pay_ins.sweep()
    assert await desk.posted(desk.office.account) == 125
    told = list[Report]()

    with pytest.raises(NotCompared) as caught:
        await both.run(desk.clock.now().date(), told.append)

    assert caught.value.why == {("away", "EUR"): "down"}
    assert [(one.provider, one.sound) for one in told] == [("bank", True)]
    desk.clock.set(datetime(2026, 11, 27, 7, tzinfo=UTC))
    with pytest.raises(NotCompared):
        await both.run_due()
    away.down = False
    assert [day.day for day in await both.run_due()] == [26], "only what is not compared yet is: the other account was"
    days = await desk.office.side.pool.fetch("select since from reconciliation_runs where provider = 'away'")
    assert len(days) == 1


async def test_what_a_run_does_not_see_stays_a_case_and_what_both_books_tell_ends_one(desk: Desk) -> None:
    desk.clock.set(datetime(2026, 11, 24, 12, tzinfo=UTC))
    name = await desk.paid(told=None)
    desk.paper.book("behind", "-5.00", desk.clock.now())
    assert (await desk.run()).opened == 2
    whole = dict(desk.paper.some)

    desk.paper.some.clear()  # a page of the statement is not told
    assert (await desk.run()).resolved == 0
    desk.paper.some.update(whole)
    (before,) = await desk.reconciler.run(desk.clock.now().date() - timedelta(days=3))
    assert before.resolved == 0, "days before it say nothing of it"
    assert sorted(await desk.cases()) == [("EXTRA", None), ("MISSING", None)]

    desk.clock.advance(timedelta(days=2))
    desk.paper.book(name, "-29.00", desk.clock.now())  # late, and with another amount
    assert (await desk.run()).resolved == 1
    assert sorted(await desk.cases(), key=str) == [("DIFFERING", None), ("EXTRA", None), ("MISSING", "RUN")]
    desk.clock.advance(timedelta(days=2))
    desk.paper.book(name, "-30.00", desk.clock.now() - timedelta(days=2))
    assert (await desk.run()).resolved == 1, "corrected"
    assert sorted(await desk.cases(), key=str) == [("DIFFERING", "RUN"), ("EXTRA", None), ("MISSING", "RUN")]


async def test_two_who_compare_at_once_are_one_and_the_other_is_told_so(desk: Desk) -> None:
    desk.paper.tells = asyncio.Event()
    await desk.paid(told=None)
    desk.clock.advance(HOUR)
    today = desk.clock.now().date()
    first = asyncio.create_task(desk.reconciler.run(today))
    await desk.paper.asked.wait()

    with pytest.raises(NotCompared, match="another process compares it right now"):
        await desk.reconciler.run(today)

    desk.paper.tells.set()
    (report,) = await first
    assert report.opened == 1
    assert (await desk.reconciler.run(today))[0].opened == 0, "it let go"


async def test_what_is_booked_on_either_side_of_midnight_is_no_difference(desk: Desk) -> None:
    desk.clock.set(datetime(2026, 11, 23, 23, 59, tzinfo=UTC))
    name = await desk.paid()
    desk.paper.book(name, "-30.00", desk.clock.now() + 3 * HOUR)

    assert (await desk.run(9 * HOUR)).sound
    (next_day,) = await desk.reconciler.run(desk.clock.now().date())
    assert (next_day.sound, counts(next_day)["matched"]) == (True, (0, 1))


async def test_money_that_comes_is_credited_once_and_matches_the_statement(desk: Desk) -> None:
    reference = f"for {funding_reference(desk.office.account)}"
    desk.paper.book("in-1", "25.00", desk.clock.now(), pay_in=True, reference=reference)
    look = desk.look("in-1", "25.00")

    told = await asyncio.gather(*(desk.pay_ins.look(look) for _ in range(20)))

    assert sorted(set(told)) == ["credited", "known"]
    assert told.count("credited") == 1
    assert await desk.posted(desk.office.account) == 125
    assert (await desk.run()).sound
    desk.paper.book("in-2", "1.00", desk.clock.now(), pay_in=True, reference=reference)
    desk.clock.advance(timedelta(minutes=1))
    assert await desk.pay_ins.sweep() == 0, "one is known, and of the other a webhook may be on its way"
    desk.clock.advance(HOUR)
    assert (await desk.pay_ins.sweep(), await desk.pay_ins.sweep()) == (1, 0), "nobody told of it"
    assert await desk.posted(desk.office.account) == 126
    await assert_sound(desk.office.side.pool)


async def test_money_that_is_nobodys_or_not_as_it_was_told_is_in_suspense_with_a_case_that_no_run_closes(
    desk: Desk,
) -> None:
    ours = funding_reference(desk.office.account)
    for name, reference, told in (("in-1", "rent", "25.00"), ("in-2", "", "25.00"), ("in-3", ours, "25.01")):
        desk.paper.book(name, "25.00", desk.clock.now(), pay_in=True, reference=reference)
        assert await desk.pay_ins.look(desk.look(name, told)) == "suspense"

    assert await desk.posted(desk.office.account) == 100
    assert await desk.posted(suspense_account_id("bank", "EUR")) == 75
    assert await desk.posted(house_account_id("bank:bank:EUR")) == 75
    assert (await desk.run()).sound, "it is booked on both sides"
    assert await desk.cases() == [("UNASSIGNED", None)] * 3
    await assert_sound(desk.office.side.pool)


async def test_money_that_is_told_of_and_is_not_there_is_looked_for_again(desk: Desk) -> None:
    look = desk.look("in-1", "25.00")

    assert await desk.pay_ins.look(look) == "not_there"
    desk.paper.down = True
    assert await desk.pay_ins.look(look) == "not_there"

    waiting = "select count(*) from pgqueuer where entrypoint = 'look_for_pay_in'"
    assert await desk.office.side.pool.fetchval(waiting) == 2
    over = msgspec.json.encode(replace_looks(look, 20))
    assert await desk.pay_ins.look(over) == "not_there"
    assert await desk.office.side.pool.fetchval(waiting) == 2, "it is not looked for for ever"
    assert await desk.posted(desk.office.account) == 100, "what was told of moves nothing by itself"


def replace_looks(look: bytes, looks: int) -> Look:
    return msgspec.structs.replace(msgspec.json.decode(look, type=Look), looks=looks)
