"""The accounts of a bench and the transfers between them: the same wishes for the product and for its baselines."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID, uuid4

from isthmus.domain.accounts import OpenAccount
from isthmus.domain.clock import SystemClock
from isthmus.domain.deposits import SettleDeposit
from isthmus.domain.identifiers import IdSource, uuid7_source
from isthmus.domain.internal_transfers import NOBODY_IS_ASKED, TransferInternally
from isthmus.domain.personal import PersonalText
from isthmus.write_models.commands import PLATFORM, CommandBus, Done, Envelope

ASSET = "EUR"
HOT_ACCOUNTS = 4
_ACCOUNTS = 1_000
_FUNDS = Decimal("1000000.00")
_CENTS_MAX = 9_999
_AT_ONCE = 64
REFERENCE = "rent for May, flat 12"
_MUTATION = "transferInternally"


@dataclass(frozen=True)
class Book:
    """`accounts` as (owner, account id), every one with enough in it. Spread wishes use all of them, hot ones four."""

    accounts: tuple[tuple[UUID, UUID], ...]
    _random: random.Random = field(default_factory=lambda: random.Random(7), compare=False)
    _ids: IdSource = field(default_factory=lambda: uuid7_source(SystemClock().now), compare=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count, compare=False)

    def wish(self, *, hot: bool) -> tuple[TransferInternally, Envelope]:
        among, draw = HOT_ACCOUNTS if hot else len(self.accounts), self._random.random
        payer = int(draw() * among)
        payee = (payer + 1 + int(draw() * (among - 1))) % among  # anyone but the payer
        (owner, source), (_, target) = self.accounts[payer], self.accounts[payee]
        amount = Decimal(1 + int(draw() * _CENTS_MAX)).scaleb(-2)
        command = TransferInternally(
            self._ids(), owner, source, target, amount, ASSET, PersonalText(REFERENCE), NOBODY_IS_ASKED
        )
        body: dict[str, object] = {
            "from": str(source),
            "to": str(target),
            "amount": [str(amount), ASSET],
            "reference": REFERENCE,
        }
        return command, _envelope(owner, _MUTATION, body, f"5f0c2a9e-3b7d-4c11-9d6e-{next(self._numbers):012d}")


async def make_book(bus: CommandBus, owners: Sequence[UUID] | None = None) -> Book:
    """Opened and funded through the product: an account for each of `owners`, or for 1,000 people of its own."""
    owners = owners or [uuid4() for _ in range(_ACCOUNTS)]
    accounts = tuple((owner, uuid4()) for owner in owners)
    turns = asyncio.Semaphore(_AT_ONCE)

    async def make(owner: UUID, account: UUID) -> None:
        name, reference = PersonalText("Everyday"), PersonalText("opening deposit")
        deposit = SettleDeposit(uuid4(), account, owner, _FUNDS, ASSET, "bench", reference)
        async with turns:
            await done(bus, OpenAccount(account, owner, ASSET, name), _envelope(owner, "openAccount", {}))
            await done(bus, deposit, _envelope(PLATFORM, "settleDeposit", {}))

    async with asyncio.TaskGroup() as group:
        for owner, account in accounts:
            group.create_task(make(owner, account))
    return Book(accounts)


async def done(bus: CommandBus, command: object, envelope: Envelope) -> Done:
    """Raises RuntimeError where the command was refused: a bench counts only what moved money."""
    outcome = await bus.run(command, envelope)
    if not isinstance(outcome, Done):
        raise RuntimeError(f"a bench's command was refused: {outcome.refusal.code}")
    return outcome


def _envelope(person: UUID, mutation: str, body: dict[str, object], key: str | None = None) -> Envelope:
    """A client's key is as long as a UUID; here it names the request as well."""
    key = key or str(uuid4())
    return Envelope(f"person:{person}", person, mutation, key, body, correlation_id=key)
