"""What a person is told with a code: what it is for, whatever it is for."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID, uuid4

from isthmus.auth.webauthn import WebAuthn
from isthmus.domain.identifiers import uuid7_source
from isthmus.domain.notifications import Message
from isthmus.domain.payees import PayeeAccount
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
    begun = await DeviceDesk(side.pool, side.commands, side.texts, devices, side.clock, ids).begin(
        person, "Blue phone", envelope(person, "beginDeviceEnrolment")
    )
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
        person, "Grace", wish.payee_account, envelope(person, "addPayee")
    )
    assert not isinstance(begun, Refused)
    assert not isinstance(saved, Refused)
    assert not isinstance(paying, Refused)
    delivery = CodeDelivery(side.pool, side.texts, codes, inbox, side.commands.assets)
    rows = await side.pool.fetch("select id, digest from sca_challenges where owner = $1 order by purpose", person)

    assert [await delivery.deliver(row["id"]) for row in rows] == ["delivered", "delivered", "delivered"]

    device, payee, payment = inbox.messages
    assert (device.person, device.title, payment.title) == (person, "Add a device", "Authorise a payment")
    assert "“Blue phone”" in device.body
    assert "Save the payee Grace (GB29NWBK60161331926819)" in payee.body
    assert "Pay 30.00 EUR to Bob (GB29NWBK60161331926819)" in payment.body
    for message, row in zip(inbox.messages, rows, strict=True):
        assert codes.code(row["id"], row["digest"]) in message.body

    await side.pool.execute("update sca_challenges set state = 'PASSED' where owner = $1", person)
    assert {await delivery.deliver(row["id"]) for row in rows} == {"late"}
    assert await delivery.deliver(uuid4()) == "late"
    assert len(inbox.messages) == 3


def envelope(person: UUID, mutation: str) -> Envelope:
    return Envelope(f"person:{person}", person, mutation, uuid4().hex, {}, "test")
