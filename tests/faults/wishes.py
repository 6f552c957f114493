"""Clients of the write side that write down what they want and what they were told, and the oracle's judgement of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

from isthmus.torture.intents import Door, Intent, IntentLog, Kind, Outcome
from isthmus.torture.oracle import Oracle
from isthmus.torture.verdict import Verdict
from tests.conftest import Database


@dataclass
class Wishes:
    """`others` is the door that is there when the one that a wish was sent through is not."""

    log: IntentLog
    others: Door
    chance: random.Random = field(default_factory=lambda: random.Random(4))
    accounts: list[str] = field(default_factory=list)

    async def furnish(self, accounts: int = 4, each: str = "1000.00") -> None:
        for _ in range(accounts):
            opened = await self._done("openAccount", {"asset": "EUR", "name": "A"})
            assert opened.answer is not None
            self.accounts.append(opened.answer["account"]["id"])
            amount = {"amount": each, "asset": "EUR"}
            await self._done("settleDeposit", {"accountId": self.accounts[-1], "amount": amount, "reference": "wage"})

    async def _done(self, mutation: str, wish: dict[str, object]) -> Outcome:
        outcome = await self.log.send(self.log.intend("bank", mutation, wish), self.others)
        assert outcome.kind is Kind.OK, outcome
        return outcome

    def transfer(self, source: str, target: str, amount: str = "1.00") -> Intent:
        wish = {"fromAccountId": source, "toAccountId": target, "amount": {"amount": amount, "asset": "EUR"}}
        return self.log.intend("client", "transferInternally", {**wish, "reference": "rent"})

    def transfers(self, count: int) -> list[Intent]:
        """Between accounts at random; some of them are more than anybody has, and must be refused."""
        wanted = []
        for number in range(count):
            source, target = self.chance.sample(self.accounts, 2)
            amount = "100000.00" if number % 10 == 9 else str(Decimal(self.chance.randrange(1, 900)) / 100)
            wanted.append(self.transfer(source, target, amount))
        return wanted

    async def send(self, intents: Sequence[Intent], *doors: Door) -> list[Outcome]:
        """All at once, each through the next of the doors."""
        return await asyncio.gather(*(self.log.send(one, doors[n % len(doors)]) for n, one in enumerate(intents)))

    async def judged(self, database: Database) -> Verdict:
        """Every unknown is asked again, every definite answer once more; then the oracle says what it finds. Asserts that all is well."""
        oracle = Oracle(database.admin_url)
        await oracle.resolve(self.log, self.others)
        await oracle.resend(self.log, self.others, list(self.log.intents))
        verdict = await oracle.judge(self.log.intents, projected=False)
        assert verdict.violations == [], verdict.violations
        assert (verdict.lost, verdict.doubled) == (0, 0)
        return verdict


@contextmanager
def wishes(path: Path, others: Door) -> Iterator[Wishes]:
    with IntentLog(path / "intents.jsonl", uuid4().hex[:8]) as log:
        yield Wishes(log, others)
