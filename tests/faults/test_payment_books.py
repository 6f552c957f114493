"""The torture's books of payments can disagree: each way that the bank's book may differ from ours is found."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest

from isthmus.runtime.wiring import WriteSide
from isthmus.torture.effects import ClientsBook
from isthmus.torture.payments import PaymentBooks
from isthmus.torture.verdict import Verdict
from tests.write_models.driver import Driver
from tests.write_models.test_payment_saga import opened


@dataclass
class Told:
    """A bank that says so."""

    payouts: list[tuple[str, Decimal]]
    payee: Decimal

    async def statement(self) -> list[tuple[str, Decimal]]:
        return self.payouts

    async def received(self) -> dict[str, Decimal]:
        return {"EUR": self.payee}


_THIRTY = Decimal(30)


@pytest.mark.parametrize(
    ("payouts", "payee", "rows", "lost", "doubled"),
    [
        ({"": 30}, 30, set(), 0, 0),
        ({}, 0, {"O6"}, 1, 0),
        ({"": 31}, 31, {"O6"}, 1, 0),
        ({"": 30, "again": 30}, 60, {"O6"}, 0, 1),
        ({"": 30}, 0, {"O6"}, 0, 0),
    ],
    ids=["agree", "not at the bank", "another amount", "twice", "never received"],
)
async def test_one_payment_and_what_the_bank_says_of_it(
    side: WriteSide,
    admin: asyncpg.Connection,
    payouts: dict[str, int],
    payee: int,
    rows: set[str],
    lost: int,
    doubled: int,
) -> None:
    office = await opened(side, Driver(side.commands))
    payment = await office.authorised("30.00")
    await office.saga.advance(payment)
    office.bank.execute(payment)
    await office.saga.advance(payment)
    told = Told([(name or f"p-{payment}", Decimal(amount)) for name, amount in payouts.items()], Decimal(payee))
    book = ClientsBook()

    verdict = await _judged(admin, told, book, set())

    assert (verdict.rows(), verdict.lost, verdict.doubled) == (rows, lost, doubled), verdict
    assert (book.posted, book.journals) == ({office.account: -_THIRTY}, 1)


async def test_an_answer_that_was_accepted_and_forgotten_is_lost(side: WriteSide, admin: asyncpg.Connection) -> None:
    office = await opened(side, Driver(side.commands))
    payment, _ = await office.initiate("30.00")

    verdict = await _judged(admin, Told([], Decimal(0)), ClientsBook(), {payment})

    assert (verdict.rows(), verdict.lost) == ({"O4"}, 1)


async def _judged(connection: asyncpg.Connection, told: Told, book: ClientsBook, answered: set[UUID]) -> Verdict:
    books, verdict = PaymentBooks(told, {}, clearing="clearing:bank:EUR"), Verdict()
    await books.settled(connection, verdict)
    await books.judge(connection, book, answered, verdict)
    return verdict
