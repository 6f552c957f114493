"""Telling people what happened to them: once, whatever comes twice or dies, and never to the harm of what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from isthmus.domain.clock import SettableClock
from isthmus.domain.log import Received
from isthmus.domain.notices import NoticeKind
from isthmus.domain.notifications import Channel, Message, Undeliverable
from isthmus.domain.payment_events import PaymentState
from isthmus.failpoints import InjectedFault, armed
from isthmus.runtime.wiring import WriteSide
from isthmus.write_models.notice_consumer import positions_of
from isthmus.write_models.notice_delivery import NoticeDelivery
from isthmus.write_models.notice_desk import NoticeDesk
from isthmus.write_models.notices import Notices
from isthmus.write_models.sca_desk import Answer
from tests.write_models.driver import Driver
from tests.write_models.test_payment_saga import Office, opened

WITHIN = timedelta(hours=6)


@dataclass
class Carrier:
    """Delivers what a key names once, as providers do."""

    delivered: dict[UUID, Message] = field(default_factory=dict)
    asked: int = 0
    down: bool = False

    async def send(self, message: Message) -> None:
        self.asked += 1
        if self.down:
            raise Undeliverable("down", again=True)
        self.delivered.setdefault(message.key, message)


@dataclass
class Teller:
    office: Office
    notices: Notices
    delivery: NoticeDelivery
    carrier: Carrier

    async def note(self) -> int:
        """As the bus brings it: all there is."""
        rows = await self.office.side.pool.fetch("select position from event_store")
        return await self.notices.take([row["position"] for row in rows])

    async def send(self) -> list[str]:
        """What each message that waits comes to."""
        rows = await self.office.side.pool.fetch(
            "select notification_id, channel from notification_deliveries where state = 'WAITING' order by channel"
        )
        return [await self.delivery.deliver(row["notification_id"], Channel(row["channel"])) for row in rows]

    async def listed(self) -> list[str]:
        rows = await self.office.side.pool.fetch(
            "select kind from listed_notifications where owner = $1 order by number", self.office.person
        )
        return [row["kind"] for row in rows]

    @property
    def told(self) -> list[tuple[str, str]]:
        return sorted((one.channel.value, one.body) for one in self.carrier.delivered.values())

    async def executed(self) -> UUID:
        payment = await self.office.authorised()
        await self.office.saga.advance(payment)
        self.office.bank.execute(payment)
        await self.office.saga.advance(payment)
        assert await self.office.state(payment) is PaymentState.EXECUTED
        return payment


@pytest.fixture
async def teller(side: WriteSide, ledger: Driver) -> Teller:
    carrier = Carrier()
    notices = Notices(side.pool, tuple(Channel), WITHIN, side.clock)
    delivery = NoticeDelivery(side.pool, side.texts, carrier, side.commands.assets, WITHIN, side.clock)
    return Teller(await opened(side, ledger), notices, delivery, carrier)


SENT = [("EMAIL", "30.00 EUR to Bob was sent."), ("PUSH", "30.00 EUR to Bob was sent.")]


async def test_it_is_told_once_though_it_comes_again_and_whoever_writes_or_sends_it_dies(teller: Teller) -> None:
    await teller.executed()

    with armed("notices.noted:1:raise"), pytest.raises(InjectedFault):
        await teller.note()
    assert await teller.listed() == []
    assert [await teller.note(), await teller.note(), await teller.notices.sweep()] == [1, 0, 0]
    with armed("notices.sent:1:raise"), pytest.raises(InjectedFault):
        await teller.send()
    assert await teller.send() == ["sent", "sent"]

    assert (teller.told, teller.carrier.asked) == (SENT, 3), "asked again, under the same key"
    assert await teller.send() == []
    assert await teller.listed() == ["PAYMENT_EXECUTED"]
    jobs = await teller.office.side.pool.fetchval("select count(*) from pgqueuer where entrypoint = 'send_notice'")
    assert jobs == 2, "they were begun with the row, and one of each"


async def test_while_the_carrier_is_away_payments_go_on_and_it_is_told_later_unless_that_is_too_late(
    teller: Teller, clock: SettableClock
) -> None:
    teller.carrier.down = True
    await teller.executed()
    await teller.note()
    assert await teller.send() == ["again", "again"]
    assert await teller.send() == ["again", "again"]

    clock.advance(WITHIN - timedelta(minutes=1))
    teller.carrier.down = False
    (row,) = await teller.office.side.pool.fetch("select * from notification_deliveries where channel = 'PUSH'")
    assert await teller.delivery.deliver(row["notification_id"], Channel.PUSH) == "sent"
    clock.advance(timedelta(minutes=2))
    assert await teller.send() == ["late"]

    assert teller.told == SENT[1:]
    assert row["tries"] == 2


async def test_what_the_bus_does_not_bring_is_found_and_what_is_long_over_is_listed_alone(
    teller: Teller, clock: SettableClock
) -> None:
    await teller.executed()
    assert await teller.notices.sweep() == 0, "the bus has its time"

    clock.advance(WITHIN + timedelta(minutes=1))
    await teller.executed()
    clock.advance(timedelta(minutes=1))
    assert [await teller.notices.sweep(), await teller.note(), await teller.notices.sweep()] == [2, 0, 0]

    assert await teller.listed() == ["PAYMENT_EXECUTED"] * 2
    assert await teller.send() == ["sent", "sent"], "the later one's"


def desk_of(teller: Teller) -> NoticeDesk:
    side = teller.office.side
    return NoticeDesk(side.pool, teller.notices, side.texts, uuid4, side.clock)


async def test_whoever_silences_what_somebody_is_told_of_is_told_on_and_cannot_silence_that(teller: Teller) -> None:
    """Also of somebody of whom nothing is kept yet; each kind and way once, and of none that comes again."""
    person, desk = uuid4(), desk_of(teller)
    teller.office.person = person
    own = NoticeKind.NOTIFICATIONS_SWITCHED_OFF

    for channel in (*Channel, *Channel):
        assert await desk.prefer(person, NoticeKind.PAYMENT_EXECUTED, channel, wanted=False) is None
        assert await desk.prefer(person, own, channel, wanted=False) is not None
        await teller.office.side.pool.execute(
            "insert into notification_preferences values ($1, $2, $3) on conflict do nothing", person, own, channel
        )
    await desk.prefer(person, NoticeKind.PAYMENT_EXECUTED, Channel.PUSH, wanted=True)

    assert await teller.listed() == [own, own]
    assert await teller.send() == ["sent"] * 4
    said = "You will not be told of everything any more. If it was not you, call us."
    assert teller.told == [("EMAIL", said)] * 2 + [("PUSH", said)] * 2
    jobs = await teller.office.side.pool.fetchval("select count(*) from pgqueuer where entrypoint = 'send_notice'")
    assert jobs == 4

    await desk.mark_read(person, 1)
    rows = await teller.office.side.pool.fetch(
        "select read_at from notifications where owner = $1 order by number", person
    )
    assert [row["read_at"] for row in rows] == [teller.office.side.clock.now(), None], (
        "by our clock, as all that is listed"
    )


async def test_what_is_not_wanted_does_not_come_but_is_listed_and_what_is_about_safety_comes_all_the_same(
    teller: Teller,
) -> None:
    office, desk = teller.office, desk_of(teller)
    blocked, sent = NoticeKind.SCA_BLOCKED, NoticeKind.PAYMENT_EXECUTED
    assert await desk.prefer(office.person, sent, Channel.EMAIL, wanted=False) is None
    assert await desk.prefer(office.person, blocked, Channel.EMAIL, wanted=False) is not None
    await office.side.pool.execute(
        "insert into notification_preferences values ($1, 'SCA_BLOCKED', 'EMAIL')", office.person
    )

    await teller.executed()
    _, challenge = await office.initiate()
    for _ in range(5):
        await office.sca.answer(office.person, challenge, Answer("0"), office.envelope("answerScaChallenge"))
    await teller.note()
    outcomes = await teller.send()

    assert await teller.listed() == ["NOTIFICATIONS_SWITCHED_OFF", "PAYMENT_EXECUTED", "SCA_BLOCKED"]
    assert sorted(outcomes) == ["sent"] * 5 + ["unwanted"]
    by_mail = [message.title for message in teller.carrier.delivered.values() if message.channel is Channel.EMAIL]
    assert sorted(by_mail) == ["Notifications were switched off", "Too many wrong answers"]
    assert SENT[1] in teller.told, "by the other way it comes"


async def test_that_a_payment_is_judged_is_not_told_and_a_refusal_reads_as_any_other(teller: Teller) -> None:
    office = teller.office
    payment, challenge = await office.initiate(name="M Vane")
    digest = await office.side.pool.fetchval("select digest from sca_challenges where id = $1", challenge)
    code = Answer(office.sca._codes.code(challenge, digest))
    await office.sca.answer(office.person, challenge, code, office.envelope("answerScaChallenge"))
    assert await office.parked(payment) == "REVIEW"
    assert (await teller.note(), await teller.listed()) == (0, [])

    await office.desk.judge(uuid4(), payment, office.envelope("refusePayment"), release=False)
    await teller.note()
    await teller.send()
    assert teller.told == [(way, "30.00 EUR to M Vane was not made. No money was moved.") for way in ("EMAIL", "PUSH")]


async def test_whose_personal_data_are_erased_is_told_nothing(teller: Teller) -> None:
    await teller.executed()
    await teller.note()
    async with teller.office.side.pool.acquire() as connection:
        await teller.office.side.texts.destroy(connection, teller.office.person)

    assert await teller.send() == ["erased", "erased"]
    assert (teller.told, await teller.listed()) == ([], [])


def test_of_the_bus_only_places_of_our_own_log_are_taken_where_something_is_that_may_be_told() -> None:
    def one(position: str, aggregate: str, log: str = "ours") -> Received:
        headers = {"log": log.encode(), "aggregate": aggregate.encode(), "position": position.encode()}
        return Received(0, 0, None, b"", headers)

    received: Sequence[Received] = [
        one("7", f"payment:{uuid4()}"),
        one("3", f"consent:{uuid4()}"),
        one("4", f"payment:{uuid4()}", "another's"),
        one("5", f"account:{uuid4()}"),
        one("x", f"payment:{uuid4()}"),
        one("9" * 19, f"payment:{uuid4()}"),  # no log is that long, and no database takes it
        one("9" * 5000, f"payment:{uuid4()}"),
        Received(0, 0, None, b"", {"log": b"ours", "kind": b"tick", "position": b"9"}),
    ]
    assert positions_of("ours", {0: received}) == [3, 7]
