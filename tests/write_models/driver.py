"""Speaks to the command bus the way the API does, in the words of a test."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID, uuid4

from isthmus.domain.accounts import OpenAccount
from isthmus.domain.deposits import SettleDeposit
from isthmus.domain.internal_transfers import NOBODY_IS_ASKED, TransferInternally
from isthmus.domain.ledger import JournalPosted
from isthmus.domain.personal import PersonalText
from isthmus.write_models.commands import PLATFORM, CommandBus, Done, Envelope, Outcome
from isthmus.write_models.slices import verify_slice
from isthmus.write_models.verifier import Report, verify


@dataclass
class Driver:
    bus: CommandBus
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def key(self) -> str:
        return f"key-{next(self._numbers)}-{uuid4()}"

    async def run(
        self,
        command: object,
        *,
        person: UUID = PLATFORM,
        key: str | None = None,
        body: dict[str, object] | None = None,
        correlation_id: str = "test",
    ) -> Outcome:
        name = type(command).__name__
        envelope = Envelope(f"person:{person}", person, name, key or self.key(), body or {}, correlation_id)
        return await self.bus.run(command, envelope)

    async def done(self, command: object, *, person: UUID = PLATFORM, key: str | None = None) -> Done:
        outcome = await self.run(command, person=person, key=key)
        assert isinstance(outcome, Done), outcome
        return outcome

    async def open(self, owner: UUID, asset: str = "EUR", name: str = "Everyday") -> UUID:
        account_id = uuid4()
        await self.done(OpenAccount(account_id, owner, asset, PersonalText(name)), person=owner)
        return account_id

    async def deposit(self, account_id: UUID, owner: UUID, amount: str, asset: str = "EUR") -> Done:
        reference = PersonalText("salary")
        return await self.done(SettleDeposit(uuid4(), account_id, owner, Decimal(amount), asset, "demo", reference))

    async def funded(self, owner: UUID, amount: str, asset: str = "EUR") -> UUID:
        account_id = await self.open(owner, asset)
        await self.deposit(account_id, owner, amount, asset)
        return account_id

    async def transfer(
        self,
        payer: UUID,
        source: UUID,
        target: UUID,
        amount: str,
        *,
        key: str | None = None,
        asset: str = "EUR",
        reference: str = "rent",
    ) -> Outcome:
        command = TransferInternally(
            uuid4(), payer, source, target, Decimal(amount), asset, PersonalText(reference), NOBODY_IS_ASKED
        )
        body: dict[str, object] = {"from": str(source), "to": str(target), "amount": amount}
        return await self.run(command, person=payer, key=key, body=body)


def journal_of(outcome: Outcome) -> JournalPosted:
    assert isinstance(outcome, Done), outcome
    (journal,) = [one.event for one in outcome.events if isinstance(one.event, JournalPosted)]
    return journal


async def report(bus_pool: object) -> Report:
    async with bus_pool.acquire() as connection:  # type: ignore[attr-defined]
        return await verify(connection)


async def assert_sound(pool: object) -> None:
    """By the whole verification, and by the one that goes stretch by stretch."""
    found = await report(pool)
    assert found.sound, [finding for finding in found.findings if finding.violations]
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):  # type: ignore[attr-defined]
        head = await connection.fetchval("select position from log_head")
        for start, end in ((0, head // 2), (head // 2, head)):
            assert not await verify_slice(connection, start, end)
