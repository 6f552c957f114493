"""Row F24 of payments: whatever a process believes what time it is, a challenge and a payment end by the clock that all share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from isthmus.domain.clock import SettableClock
from isthmus.domain.identifiers import uuid7_source
from isthmus.domain.payment_events import PaymentState
from isthmus.domain.payment_news import ProviderPayment
from isthmus.domain.payments_at_bank import RecordAsked
from isthmus.domain.personal import PersonalText
from isthmus.domain.refusals import ScaRejected
from isthmus.domain.sca import ChallengeState
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import load_settings
from isthmus.write_models.code_delivery import CodeDelivery
from isthmus.write_models.envelope import Refused
from isthmus.write_models.handlers import HANDLERS
from isthmus.write_models.one_time_codes import OneTimeCodes
from isthmus.write_models.payee_desk import PayeeDesk
from isthmus.write_models.sca_desk import Answer, Answered
from tests.conftest import Database
from tests.write_models import test_bank_payment_saga as at_bank
from tests.write_models import test_payment_saga as own
from tests.write_models.driver import Driver
from tests.write_models.test_code_delivery import Always, Inbox, envelope

S = PaymentState
APART = [timedelta(minutes=-5), timedelta(seconds=30), timedelta(minutes=5), timedelta(days=91)]


class Node(SettableClock):
    """Of one process: `by` so much wrong. What all share is the database's clock, in whose place `shared` is."""

    def __init__(self, shared: SettableClock, by: timedelta) -> None:
        super().__init__(shared.now())
        self._shared, self._by = shared, by

    def now(self) -> datetime:
        return self._shared.now() + self._by

    def stamp(self) -> datetime:
        return self._shared.now()


@asynccontextmanager
async def nodes(database: Database, tmp_path: Path, shared: SettableClock) -> AsyncIterator[list[WriteSide]]:
    """One that is right, and one for each way to be wrong."""
    settings = load_settings(data_dir=tmp_path / "data")
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(write_side(settings, database.url, Node(shared, by)))
            for by in (timedelta(0), *APART)
        ]


def of(side: WriteSide) -> SettableClock:
    assert isinstance(side.clock, SettableClock)
    return side.clock


async def answered(office: own.Office, person: UUID, challenge: UUID) -> Answered | Refused:
    """Rightly."""
    digest = await office.side.pool.fetchval("select digest from sca_challenges where id = $1", challenge)
    code, office.person = Answer(office.sca._codes.code(challenge, digest)), person
    return await office.sca.answer(person, challenge, code, office.envelope("answerScaChallenge"))


async def test_f24_a_code_lives_five_minutes_whichever_node_issues_it_and_whichever_hears_the_answer(
    database: Database, tmp_path: Path, clock: SettableClock
) -> None:
    """Each node issues three, the next hears the answers, and all of them sweep."""
    async with nodes(database, tmp_path, clock) as sides:
        offices = [await own.opened(side, Driver(side.commands)) for side in sides]
        made = [(one.person, [await one.initiate("1.00") for _ in range(3)]) for one in offices]
        hearing = [*offices[1:], offices[0]]

        clock.advance(timedelta(minutes=4, seconds=59))
        for (person, ((_, challenge), _, (payment, _))), hears in zip(made, hearing, strict=True):
            assert [await one.saga.advance(payment) for one in offices] == ["waiting"] * len(offices)
            assert isinstance(await answered(hears, person, challenge), Answered)
        clock.advance(timedelta(seconds=1))
        for (person, (_, (_, challenge), (payment, _))), hears in zip(made, hearing, strict=True):
            late = await answered(hears, person, challenge)
            assert isinstance(late, Refused)
            assert isinstance(late.refusal, ScaRejected)
            assert late.refusal.challenge_state is ChallengeState.EXPIRED
            assert await hears.saga.advance(payment) == "expired"

        jobs = await sides[0].pool.fetch("select execute_after - created as after from pgqueuer")
        assert jobs
        assert all(timedelta(0) <= row["after"] <= timedelta(minutes=5) for row in jobs), "none of them negative"


async def test_f24_nothing_is_taken_back_at_a_bank_before_its_time_nor_authorised_there_after_it(
    database: Database, tmp_path: Path, clock: SettableClock
) -> None:
    async with nodes(database, tmp_path, clock) as sides:
        offices = [await at_bank.opened(side, of(side)) for side in sides]
        bank = offices[0].bank
        for office in offices:
            assert office.desk._banks is not None
            office.desk._banks.providers = {"bank": bank}
            office.bank = bank
        payments = [await office.initiate() for office in offices]

        clock.advance(timedelta(minutes=14, seconds=59))
        for payment in payments:
            assert [await office.saga.advance(payment) for office in offices] == ["looked"] * len(offices)
            assert bank.states[str(payment)] is ProviderPayment.AWAITING, "somebody may yet authorise it"
        clock.advance(timedelta(seconds=1))
        for payment, office in zip(payments, [*offices[1:], offices[0]], strict=True):
            assert await office.saga.advance(payment) == "expired"
            assert bank.states[str(payment)] is ProviderPayment.CANCELLED


async def test_f24_a_clock_that_steps_in_mid_flow_ends_nothing_and_leaves_a_look_ahead(
    side: WriteSide, clock: SettableClock
) -> None:
    """Also the one that all share, forth and back: once a payment is on its way no clock ends it."""
    for step in (timedelta(hours=-1), timedelta(minutes=5), timedelta(days=91), timedelta(minutes=-5)):
        office = await own.opened(side, Driver(side.commands))
        before = (await office.figures())[2]
        payment, challenge = await office.initiate()
        clock.advance(min(step, timedelta(minutes=-1)))
        assert await office.saga.advance(payment) == "waiting"
        assert isinstance(await answered(office, office.person, challenge), Answered)
        office.bank.troubles = ["after"]
        assert await office.saga.advance(payment) == "unknown"
        assert await office.saga.advance(payment) == "sent"
        clock.advance(step)
        await side.pool.execute("delete from pgqueuer")
        assert await office.saga.advance(payment) == "looked"
        after = await side.pool.fetchval("select execute_after - created from pgqueuer")
        assert timedelta(0) < after <= timedelta(hours=6)
        office.bank.execute(payment)
        await office.saga.advance(payment)
        assert (await office.state(payment), await office.figures()) == (S.EXECUTED, (70, 0, before - 30))

    stamps = [row[0] for row in await side.pool.fetch("select committed_at from event_store order by position")]
    assert stamps == sorted(stamps), "no event is before the one before it"


async def test_f24_a_payees_code_is_sent_and_lives_five_minutes_whatever_the_nodes_believe(
    side: WriteSide, clock: SettableClock
) -> None:
    person, ids, inbox = uuid4(), uuid7_source(clock.now), Inbox()
    for by in APART:
        wrong = Node(clock, by)
        made = await PayeeDesk(side.pool, side.commands, side.texts, wrong, ids, None, Always()).add(
            person, f"Grace {by}", own.BOB, None, envelope(person, "addPayee")
        )
        assert not isinstance(made, Refused)
        row = await side.pool.fetchrow("select id, expires_at from sca_challenges where subject_id = $1", made[0])
        assert row["expires_at"] == clock.now() + timedelta(minutes=5)
        delivery = CodeDelivery(side.pool, side.texts, OneTimeCodes(b"k" * 32), inbox, {}, wrong)
        assert await delivery.deliver(row["id"]) == "delivered"


def test_f24_since_when_a_bank_asks_is_told_by_the_clock_that_all_share() -> None:
    """What is not taken back there is waited for from then on: a node that is behind would let it end before its time."""
    text = PersonalText("")
    asked = RecordAsked(uuid4(), uuid4(), uuid4(), "p1", text, text, None, 2)

    assert HANDLERS[RecordAsked].needs(asked).time
