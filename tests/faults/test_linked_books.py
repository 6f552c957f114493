"""The torture's books of payments from linked banks can disagree: each way that a bank's book may differ from ours is found."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest

from isthmus.domain.payment_news import ProviderPayment
from isthmus.torture.bank_payers import AtBank
from isthmus.torture.effects import ClientsBook
from isthmus.torture.linked_payments import LinkedBooks
from isthmus.torture.payments import PaymentBooks
from isthmus.torture.sabotages import sabotaged
from isthmus.torture.verdict import Verdict
from tests.write_models.test_bank_payment_saga import Office, office  # noqa: F401 - a fixture
from tests.write_models.test_top_up_saga import opened, top_up

_THIRTY = Decimal("30.00")


@dataclass
class Told:
    """Banks that say so."""

    out: list[tuple[str, Decimal]] = field(default_factory=list)
    came: list[tuple[str, Decimal]] = field(default_factory=list)
    payee: Decimal = Decimal(0)

    async def statement(self) -> list[tuple[str, Decimal]]:
        return []

    async def left(self, _: str) -> list[tuple[str, Decimal]]:
        return self.out

    async def brought(self, _: str) -> list[tuple[str, Decimal]]:
        return self.came

    async def received(self) -> dict[str, Decimal]:
        return {"EUR": self.payee}


async def executed(office: Office) -> UUID:  # noqa: F811 - the fixture
    payment = await office.initiate("30.00")
    office.bank.authorise(payment)
    await office.on(payment)
    office.bank.execute(payment)
    await office.on(payment)
    return payment


@pytest.mark.parametrize(
    ("out", "payee", "rows", "lost", "doubled"),
    [
        ({"": 30}, 30, set(), 0, 0),
        ({}, 0, {"O6"}, 1, 0),
        ({"": 31}, 31, {"O6"}, 1, 0),
        ({"": 30, "again": 30}, 60, {"O6"}, 0, 1),
        ({"": 30}, 60, {"O6"}, 0, 0),
    ],
    ids=["agree", "never left", "another amount", "twice", "the payee received more"],
)
async def test_one_payment_and_what_the_banks_say_of_it(
    admin: asyncpg.Connection,
    office: Office,  # noqa: F811 - the fixture
    out: dict[str, int],
    payee: int,
    rows: set[str],
    lost: int,
    doubled: int,
) -> None:
    payment = await executed(office)
    told = Told([(name or payment.hex, Decimal(amount)) for name, amount in out.items()], payee=Decimal(payee))
    book = ClientsBook()

    verdict = await _judged(admin, office, told, book)

    assert (verdict.rows(), verdict.lost, verdict.doubled) == (rows, lost, doubled), verdict
    assert (book.posted, book.journals) == ({}, 1), "its money was never here"
    assert verdict.checked["payments from banks by bank executed"] == 1


async def test_a_payment_that_is_noted_twice_is_found(admin: asyncpg.Connection, office: Office) -> None:  # noqa: F811 - the fixture
    with sabotaged("note_twice"):
        payment = await executed(office)

    verdict = await _judged(admin, office, Told([(payment.hex, _THIRTY)], payee=_THIRTY))

    assert (verdict.rows(), len(verdict.violations)) == ({"O6"}, 2), verdict


@pytest.mark.parametrize(("arrived", "lost"), [(True, 0), (False, 1)])
async def test_what_is_brought_here_is_credited_as_it_arrived(
    admin: asyncpg.Connection,
    office: Office,  # noqa: F811 - the fixture
    arrived: bool,
    lost: int,
) -> None:
    office.bank.collects = {"EUR": "ours"}
    account = await opened(office)
    payment = await top_up(office, account)
    office.bank.authorise(payment)
    await office.on(payment)
    office.bank.execute(payment)
    office.bank.states[str(payment)] = ProviderPayment.SETTLED
    await office.on(payment)
    entry, book = [(str(payment), Decimal(7))], ClientsBook()

    verdict = await _judged(admin, office, Told(entry, entry if arrived else []), book)

    assert (verdict.rows(), verdict.lost) == ({"O6"} if lost else set(), lost), verdict
    assert (book.posted, book.journals) == ({account: Decimal(7)}, 1)


async def test_what_its_person_did_at_the_bank_and_what_became_of_it(
    admin: asyncpg.Connection,
    office: Office,  # noqa: F811 - the fixture
) -> None:
    payment, refused = await office.initiate("30.00"), await executed(office)
    told, at_bank = Told([(refused.hex, _THIRTY)], payee=_THIRTY), AtBank()
    at_bank.left = {payment, refused}
    by_nobody = await _judged(admin, office, told, at_bank=at_bank)
    await admin.execute("update payments set state = 'CANCELLED' where id = $1", payment)
    at_bank.approved, at_bank.left = {payment, refused}, set()
    forgotten = await _judged(admin, office, told, at_bank=at_bank)
    at_bank.taken_back = {payment}
    taken_back = await _judged(admin, office, told, at_bank=at_bank)

    assert (by_nobody.rows(), by_nobody.lost) == ({"O4"}, 0)
    assert (forgotten.rows(), forgotten.lost) == ({"O4"}, 1)
    assert taken_back.sound, taken_back


async def _judged(
    connection: asyncpg.Connection,
    office: Office,  # noqa: F811 - the fixture
    told: Told,
    book: ClientsBook | None = None,
    at_bank: AtBank | None = None,
) -> Verdict:
    linked = LinkedBooks(told, {office.account: ("bank", "jo's")}, at_bank or AtBank(), ("EUR",))
    books, verdict = PaymentBooks(told, {}, linked), Verdict()
    await books.judge(connection, book or ClientsBook(), set(), verdict)
    return verdict
