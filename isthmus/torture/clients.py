"""Clients that do at random what people do: pay, open, rename, look, and now and then send the same thing twice.

Each has a seed of its own. They think between requests, so that the machine has time for the faults.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from isthmus.torture.bank import Bank
from isthmus.torture.bank_payers import AtBank, pay_from_bank
from isthmus.torture.door import Away, HttpDoor
from isthmus.torture.intents import Intent, IntentLog, Kind, Outcome
from isthmus.torture.linking import Linked
from isthmus.torture.payers import pay_out
from isthmus.torture.watches import Watches

ASSET = "EUR"
BANK_ACCOUNTS = 3
_ACCOUNTS_MAX = 8
_THINK_S = (0.02, 0.25)
_SENDS_MAX = 2

_BANK = """query($a: ID!, $b: ID!, $c: ID!, $at: DateTime) {
    a: node(id: $a) { ...sum } b: node(id: $b) { ...sum } c: node(id: $c) { ...sum } }
fragment sum on Account { id balance(asOf: $at) { posted { amount } version asOf } }"""
_VIEWER = """{ viewer { accounts(first: 50, filter: { kinds: [LEDGER] }) {
    edges { node { id balance { posted { amount } version } } } } } }"""
_ONE = "query($id: ID!) { node(id: $id) { ... on Account { id balance { version } } } }"
_JOURNAL = "query($id: ID!) { node(id: $id) { ... on Journal { id } } }"


@dataclass
class Market:
    """What the clients of a run share: whose accounts there are, and where people bank who are paid."""

    intents: Callable[[], IntentLog]
    watches: Watches
    bank: Bank
    open_to_all: list[str] = field(default_factory=list)
    """Accounts that anyone pays into."""
    answered: set[UUID] = field(default_factory=set)
    """Payments from accounts here whose person was told that the answer was accepted."""
    at_bank: AtBank = field(default_factory=AtBank)


@dataclass
class Client:
    """`serving` numbers the server that it talks to, and changes when that one dies or the client goes elsewhere."""

    name: str
    door: HttpDoor
    operator: HttpDoor
    market: Market
    chance: random.Random
    serving: Callable[[], object]
    person: str = ""
    bank: list[str] = field(default_factory=list)
    bank_total: Decimal = Decimal(0)
    accounts: list[str] = field(default_factory=list)
    linked: Linked | None = None
    topped_up: str | None = None
    """Its account for money that it brings here, where its bank's provider can do so."""
    last: Intent | None = None
    position: int = 0
    _served_by: object = None

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, one thing after another; what is under way is finished. First what every run must have had."""
        await self._pay_from_bank()
        while not stop.is_set():
            await self._something()
            await asyncio.sleep(self.chance.uniform(*_THINK_S))

    # -- writing -----------------------------------------------------------------------------------------------------

    async def _something(self) -> None:
        act = self.chance.choices(
            (self._pay, self._pay_in_the_bank, self._read, self._rename, self._deposit, self._freeze, self._open, self._again,
             self._pay_out, self._pay_from_bank),
            (25, 25, 25, 4, 6, 3, 3, 9, 10, 12),
        )[0]  # fmt: skip
        await act()

    async def _pay(self) -> None:
        source = self.chance.choice(self.accounts)
        target = self.chance.choice([account for account in self.market.open_to_all if account != source])
        # Now and then more than anyone has: a refusal must be kept as well as an acceptance.
        await self._transfer(source, target, "1000000.00" if self.chance.random() < 0.05 else self.amount(40))

    async def _pay_in_the_bank(self) -> None:
        source, target = self.chance.sample(self.bank, 2)
        await self._transfer(source, target, self.amount(15))

    async def _transfer(self, source: str, target: str, amount: str) -> None:
        wish = {
            "fromAccountId": source,
            "toAccountId": target,
            "amount": {"amount": amount, "asset": ASSET},
            "reference": f"torture {self.chance.randrange(10**6)}",
        }
        intent = self.market.intents().intend(self.name, "transferInternally", wish)
        outcome = await self.submit(intent, self.door)
        if outcome.kind is Kind.OK and outcome.answer is not None and self.chance.random() < 0.3:
            await self._see(outcome.answer["journal"]["id"], int(outcome.answer["position"]))

    async def _pay_out(self) -> None:
        await pay_out(self, self.market.bank)

    async def _pay_from_bank(self) -> None:
        await pay_from_bank(self, self.market.bank)

    async def _rename(self) -> None:
        wish = {"accountId": self.chance.choice(self.accounts), "name": f"name {self.chance.randrange(10**9)}"}
        await self.submit(self.market.intents().intend(self.name, "renameAccount", wish), self.door)

    async def _open(self) -> None:
        if len(self.accounts) < _ACCOUNTS_MAX:
            await self.open_account()

    async def open_account(self, *, bank: bool = False, asset: str = ASSET) -> str | None:
        intent = self.market.intents().intend(self.name, "openAccount", {"asset": asset, "name": "Torture"})
        outcome = await self.submit(intent, self.door)
        if outcome.kind is not Kind.OK or outcome.answer is None:
            return None
        account: str = outcome.answer["account"]["id"]
        if bank:
            self.bank.append(account)
        elif asset == ASSET:
            self.accounts.append(account)
            self.market.open_to_all.append(account)
        return account

    async def _deposit(self) -> None:
        await self.deposit(self.chance.choice(self.accounts), self.amount(100))

    async def deposit(self, account: str, amount: str) -> Outcome:
        log = self.market.intents()
        wish = {
            "accountId": account,
            "amount": {"amount": amount, "asset": ASSET},
            "reference": f"wire {log.path.stem}-{len(log.intents)}",
        }
        return await self.submit(log.intend(self.name, "settleDeposit", wish), self.operator)

    async def _freeze(self) -> None:
        """For an instant: whoever pays from it meanwhile is refused."""
        account = self.chance.choice(self.accounts)
        log = self.market.intents()
        await self.submit(log.intend(self.name, "freezeAccount", {"accountId": account}), self.operator)
        await asyncio.sleep(self.chance.uniform(0, 0.2))
        await self.submit(log.intend(self.name, "unfreezeAccount", {"accountId": account}), self.operator)

    async def _again(self) -> None:
        """The last wish once more: the same, twice at once, or its key with another body."""
        last, log = self.last, self.market.intents()
        if last is None or last.mutation != "transferInternally" or last not in log.intents:
            return
        how = self.chance.randrange(3)
        if how == 0:
            await self.submit(last, self.door)
        elif how == 1:
            await asyncio.gather(log.send(last, self.door), log.send(last, self.door))
        elif last.definite is not None and last.definite.kind is Kind.OK:
            await self.submit(log.probe(last, {**last.input, "reference": "another body"}), self.door)

    async def submit(self, intent: Intent, door: HttpDoor) -> Outcome:
        """Sent once or, where the outcome is unknown, sometimes again at once; the rest is resolved after healing."""
        outcome = await self.market.intents().send(intent, door)
        if outcome.kind is Kind.UNKNOWN and len(intent.sent) < _SENDS_MAX and self.chance.random() < 0.5:
            await asyncio.sleep(self.chance.uniform(0.05, 0.3))
            outcome = await self.market.intents().send(intent, door)
        if not intent.probe:
            self.last = intent
        if outcome.answer is not None and outcome.kind is Kind.OK:
            self.position = max(self.position, int(outcome.answer["position"]))
        return outcome

    def amount(self, euros_max: int) -> str:
        return str(Decimal(self.chance.randrange(1, euros_max * 100)) / 100)

    # -- reading -----------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """The bank test in its three ways, or one balance by itself (which may come from the cache)."""
        how = self.chance.randrange(4)
        if how == 0:
            for node in await self._nodes(_ONE, {"id": self.chance.choice(self.accounts)}):
                self._versions([node])
            return
        if how == 1:
            data = await self._data(_VIEWER, {})
            edges = data["viewer"]["accounts"]["edges"] if data else []
            nodes = [edge["node"] for edge in edges if edge["node"]["id"] in self.bank]
        else:
            nodes = await self._nodes(_BANK, dict(zip("abc", self.bank, strict=True)))
        if len(nodes) != len(self.bank):
            return  # no answer, or the read side has not shown all of them yet
        self._versions(nodes)
        self._sum(nodes, "the viewer's balances" if how == 1 else "balances")
        if how == 3:
            at = max(node["balance"]["asOf"] for node in nodes)
            past = await self._nodes(_BANK, {**dict(zip("abc", self.bank, strict=True)), "at": at})
            if len(past) == len(self.bank):
                self._sum(past, f"balances as of {at}")

    async def _see(self, journal: str, position: int) -> None:
        data = await self._data(_JOURNAL, {"id": journal}, position)
        if data is not None:
            self.market.watches.own_write(self.name, f"journal {journal}", visible=data["node"] is not None)

    def _versions(self, nodes: list[dict[str, Any]]) -> None:
        for node in nodes:
            self.market.watches.version(self.name, node["id"], node["balance"]["version"])

    def _sum(self, nodes: list[dict[str, Any]], how: str) -> None:
        found = sum((Decimal(node["balance"]["posted"]["amount"]) for node in nodes), Decimal(0))
        self.market.watches.total(self.bank_total, found, f"{self.name}: {how}")

    async def _nodes(self, query: str, variables: dict[str, Any]) -> list[dict[str, Any]]:
        data = await self._data(query, variables)
        return [node for node in data.values() if node is not None] if data else []

    async def _data(self, query: str, variables: dict[str, Any], position: int = 0) -> Any:
        served_by = self.serving()
        if served_by != self._served_by:
            self.market.watches.forget_session(self.name)
            self._served_by = served_by
        try:
            answer = await self.door.ask(query, variables, position or self.position)
        except Away:
            return None
        # A read that began at one server's life and ended in another's promises nothing about order.
        return answer.data if self.serving() == served_by else None
