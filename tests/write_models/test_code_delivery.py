"""What a person is told with a code: what it is for, whatever it is for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from isthmus.auth.webauthn import WebAuthn
from isthmus.domain.api_keys import KeyScope, MakeApiKey
from isthmus.domain.clock import SettableClock
from isthmus.domain.compliance import Limits
from isthmus.domain.identifiers import uuid7_source
from isthmus.domain.notifications import Message
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.personal import PersonalText
from isthmus.domain.personal_limits import ChangeLimit, limit_id_of
from isthmus.domain.sca import Method
from isthmus.domain.sca_apps import BeginApp
from isthmus.domain.step_up import Asked
from isthmus.integrations.screening.files import limit_table, sanctions_list
from isthmus.integrations.screening.rules import ListedCompliance
from isthmus.runtime.wiring import WriteSide
from isthmus.write_models.code_delivery import CodeDelivery
from isthmus.write_models.device_desk import DeviceDesk
from isthmus.write_models.envelope import Envelope, Refused
from isthmus.write_models.one_time_codes import OneTimeCodes
from isthmus.write_models.payee_desk import PayeeDesk
from isthmus.write_models.payment_desk import PaymentDesk, PaymentWish
from tests.write_models.driver import Driver

COMPLIANCE = ListedCompliance(sanctions_list(None), limit_table(None, "GB"))


@dataclass
class Inbox:
    messages: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        self.messages.append(message)


class Always:
    async def take(self, person: UUID) -> float:
        return 0


async def test_the_message_says_what_the_code_is_for_and_none_comes_for_what_is_over(
    side: WriteSide, ledger: Driver
) -> None:
    person, ids, codes, inbox = uuid4(), uuid7_source(side.clock.now), OneTimeCodes(b"k" * 32), Inbox()
    devices = WebAuthn("bank.example", "Bank", ["https://bank.example"])
    begun = await DeviceDesk(
        side.pool, side.commands, side.texts, devices, side.clock, ids, key_secret=b"k" * 32
    ).begin(person, "Blue phone", envelope(person, "beginDeviceEnrolment"))
    wish = PaymentWish(
        await ledger.funded(person, "100.00"),
        Decimal("30"),
        "EUR",
        "Bob",
        PayeeAccount(iban="GB29NWBK60161331926819"),
        "",
    )
    paying = await PaymentDesk(side.pool, side.commands, side.texts, side.clock, ids, "bank", COMPLIANCE).initiate(
        person, wish, envelope(person, "initiatePayment")
    )
    saved = await PayeeDesk(side.pool, side.commands, side.texts, side.clock, ids, None, Always()).add(
        person, "Grace", wish.payee_account, None, envelope(person, "addPayee")
    )
    assert not isinstance(begun, Refused)
    assert not isinstance(saved, Refused)
    assert not isinstance(paying, Refused)
    delivery = CodeDelivery(side.pool, side.texts, codes, inbox, side.commands.assets, side.clock)
    rows = await side.pool.fetch("select id, digest from sca_challenges where owner = $1 order by purpose", person)

    assert [await delivery.deliver(row["id"]) for row in rows] == ["delivered", "delivered", "delivered"]

    device, payee, payment = inbox.messages
    assert (device.person, device.title, payment.title) == (person, "Add a device", "Authorise a payment")
    assert "“Blue phone”" in device.body
    assert "Save the payee Grace (GB29NWBK60161331926819)" in payee.body
    assert "Pay 30.00 EUR to Bob (GB29NWBK60161331926819)" in payment.body
    for message, row in zip(inbox.messages, rows, strict=True):
        assert codes.code(row["id"], row["digest"]) in message.body

    late = CodeDelivery(
        side.pool,
        side.texts,
        codes,
        inbox,
        side.commands.assets,
        SettableClock(side.clock.now() + timedelta(minutes=6)),
    )
    assert {await late.deliver(row["id"]) for row in rows} == {"late"}, "over by the clock, which nobody writes down"

    await side.pool.execute("update sca_challenges set state = 'PASSED' where owner = $1", person)
    assert {await delivery.deliver(row["id"]) for row in rows} == {"late"}
    assert await delivery.deliver(uuid4()) == "late"
    assert len(inbox.messages) == 3


@pytest.mark.parametrize(
    ("purpose", "change", "back"),
    [
        (
            "PAYMENT",
            "update payments set amount = 3 where owner = $1",
            "update payments set amount = 30 where owner = $1",
        ),
        ("PAYEE", "update payees set account = name where owner = $1", ""),
        ("DEVICE", "update sca_devices d set name = p.name from payees p where p.owner = d.owner and d.owner = $1", ""),
        (
            "LIMIT",
            "update personal_limits set asked_per_day = 21 where owner = $1",
            "update personal_limits set asked_per_day = 40 where owner = $1",
        ),
    ],
)
async def test_d1_no_code_is_sent_for_something_else_than_it_authorises(
    side: WriteSide, ledger: Driver, purpose: str, change: str, back: str
) -> None:
    """Whoever can write the tables has a person shown a smaller amount, and puts it back once they have answered."""
    person, inbox = uuid4(), Inbox()
    rows = await asked_for(side, ledger, person)
    delivery = CodeDelivery(side.pool, side.texts, OneTimeCodes(b"k" * 32), inbox, side.commands.assets, side.clock)

    await side.pool.execute(change, person)
    assert (await delivery.deliver(rows[purpose]), inbox.messages) == ("late", [])

    if back:
        await side.pool.execute(back, person)
        assert await delivery.deliver(rows[purpose]) == "delivered"


async def test_d1_a_code_goes_to_whose_challenge_it_is_whatever_a_table_says(side: WriteSide, ledger: Driver) -> None:
    """A thief who can write the tables, and has a session of the person's, would have their codes sent to himself."""
    person, thief, inbox = uuid4(), uuid4(), Inbox()
    challenge = (await asked_for(side, ledger, person))["PAYMENT"]
    delivery = CodeDelivery(side.pool, side.texts, OneTimeCodes(b"k" * 32), inbox, side.commands.assets, side.clock)

    for change, *values in (("owner = $2", thief), ("purpose = 'AUTHENTICATOR', subject_id = id",)):
        await side.pool.execute(f"update sca_challenges set {change} where id = $1", challenge, *values)
        assert await delivery.deliver(challenge) == "delivered"

    assert [message.person for message in inbox.messages] == [person, person]
    assert all("Pay 30.00 EUR to Bob" in message.body for message in inbox.messages)


async def asked_for(side: WriteSide, ledger: Driver, person: UUID) -> dict[str, UUID]:
    """Challenges of theirs, by purpose."""
    ids, now, ceiling = uuid7_source(side.clock.now), side.clock.now(), Limits(Decimal(1_000), Decimal(2_000))
    devices, account = WebAuthn("bank.example", "Bank", ["https://bank.example"]), await ledger.funded(person, "100.00")
    desk = DeviceDesk(side.pool, side.commands, side.texts, devices, side.clock, ids, key_secret=b"k" * 32)
    await desk.begin(person, "Blue phone", envelope(person, "beginDeviceEnrolment"))
    bob = PayeeAccount(iban="GB29NWBK60161331926819")
    paying = PaymentDesk(side.pool, side.commands, side.texts, side.clock, ids, "bank", COMPLIANCE)
    await paying.initiate(person, PaymentWish(account, Decimal(30), "EUR", "Bob", bob, ""), envelope(person, "pay"))
    payees = PayeeDesk(side.pool, side.commands, side.texts, side.clock, ids, None, Always())
    await payees.add(person, "Grace", bob, None, envelope(person, "addPayee"))
    asked, limit_id = Asked(uuid4(), Method.ONE_TIME_CODE, now + timedelta(minutes=5)), limit_id_of(person, "EUR")
    await ledger.done(ChangeLimit(limit_id, person, "EUR", Limits(Decimal(1), Decimal(2)), ceiling, asked))
    await ledger.done(ChangeLimit(limit_id, person, "EUR", Limits(Decimal(30), Decimal(40)), ceiling, asked))
    rows = await side.pool.fetch("select id, purpose from sca_challenges where owner = $1", person)
    return {row["purpose"]: row["id"] for row in rows}


async def test_the_message_for_a_step_up_says_what_may_be_done_then(side: WriteSide, ledger: Driver) -> None:
    person, codes, inbox, now = uuid4(), OneTimeCodes(b"k" * 32), Inbox(), side.clock.now()
    ceiling = Limits(Decimal(1_000), Decimal(2_000))
    asked = [Asked(uuid4(), Method.ONE_TIME_CODE, now + timedelta(minutes=5)) for _ in range(3)]
    limit_id, ends = limit_id_of(person, "EUR"), now + timedelta(days=1)
    await ledger.done(ChangeLimit(limit_id, person, "EUR", Limits(Decimal(1), Decimal(2)), ceiling, asked[0]))
    await ledger.done(ChangeLimit(limit_id, person, "EUR", Limits(Decimal("10.5"), Decimal(20)), ceiling, asked[0]))
    await ledger.done(ChangeLimit(limit_id, person, "EUR", Limits(Decimal(30), Decimal(40)), ceiling, asked[1]))
    key = MakeApiKey(uuid4(), person, PersonalText("till"), (KeyScope.READ,), "00" * 32, ends, asked[2])
    await ledger.done(key)
    delivery = CodeDelivery(side.pool, side.texts, codes, inbox, side.commands.assets, side.clock)

    assert [await delivery.deliver(one.challenge_id) for one in asked] == ["late", "delivered", "delivered"], (
        "what another wish replaced is of no use"
    )

    limit, made = inbox.messages
    assert "Be able to pay 30.00 EUR at once and 40.00 EUR a day: your code is" in limit.body
    assert "Make the API key “till”, with which a program may see what is yours: your code is" in made.body

    # D1: nor is one sent that is made of another digest than that of what the message tells of.
    more = [Asked(uuid4(), Method.ONE_TIME_CODE, now + timedelta(minutes=5)) for _ in range(2)]
    writes = (KeyScope.READ, KeyScope.WRITE)
    await ledger.done(MakeApiKey(uuid4(), person, PersonalText("till"), writes, "11" * 32, ends, more[0]))
    await ledger.done(BeginApp(uuid4(), person, PersonalText("A"), more[1], ends))
    for one in more:
        for outcome in ("late", "delivered"):
            turned = "update sca_challenges set digest = reverse(digest) where id = $1"  # and back again
            await side.pool.execute(turned, one.challenge_id)
            assert await delivery.deliver(one.challenge_id) == outcome
    assert "with which a program may see and change what is yours" in inbox.messages[2].body
    assert "Add an authenticator app" in inbox.messages[3].body


def envelope(person: UUID, mutation: str) -> Envelope:
    return Envelope(f"person:{person}", person, mutation, uuid4().hex, {}, "test")
