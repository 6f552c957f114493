"""A torture: rounds of chaos under load, each healed, resolved and judged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import asyncpg
import httpx

from isthmus.runtime import processes
from isthmus.torture.bank import Bank
from isthmus.torture.bus import BusReader
from isthmus.torture.clients import BANK_ACCOUNTS, Client, Market
from isthmus.torture.door import REQUEST_S, HttpDoor
from isthmus.torture.faults import FAULTS
from isthmus.torture.intents import Intent, IntentLog, Kind, Outcome
from isthmus.torture.oracle import Oracle
from isthmus.torture.payers import person_of
from isthmus.torture.payments import PaymentBooks
from isthmus.torture.people import enrol
from isthmus.torture.subscribers import Subscriber
from isthmus.torture.system import System
from isthmus.torture.verdict import Verdict, Violation
from isthmus.torture.watches import Watches

CUSTOMERS = 8
CHAOS_S = 25.0
#: A first round that has not met every fault by then has a fault that does not happen.
_CHAOS_S_MAX = 90.0
PAUSE_S = (0.2, 1.2)
#: After most faults the next one waits until there is something left to break.
_RECOVER_S, _RECOVERING = 8.0, 0.7
_RESENT_PER_ROUND = 100
_BANK_EUROS = Decimal("900.00")

Say = Callable[[str], None]


@dataclass
class Report:
    """What `--json` prints last."""

    seed: int
    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    resolved: int = 0
    committed_unknown: int = 0
    """Of the unknown: those that had been done."""
    replayed: int = 0
    lost: int = 0
    doubled: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    evidence: str | None = None

    @property
    def passed(self) -> bool:
        return not self.violations and self.lost == 0 and self.doubled == 0

    def as_json(self) -> str:
        facts = {**vars(self), "faults": dict(sorted(self.faults.items())), "passed": self.passed}
        return json.dumps(facts)

    def count(self, intents: list[Intent]) -> None:
        for intent in intents:
            outcome = intent.definite
            self.unknown += intent.was_unknown
            self.replayed += any(one.replayed for one in intent.outcomes)
            if outcome is None:
                continue
            self.resolved += intent.was_unknown
            self.acknowledged += outcome.kind is Kind.OK
            self.refused += outcome.kind is Kind.REFUSED
            self.committed_unknown += intent.outcomes[0].kind is Kind.UNKNOWN and outcome.replayed


async def torture(
    seconds: float,
    seed: int,
    say: Say,
    *,
    faults: Sequence[str] = tuple(FAULTS),
    chaos_s: float = CHAOS_S,
    pause_s: tuple[float, float] = PAUSE_S,
    sabotage: str | None = None,
    fsync: bool = True,
) -> Report:
    """Begins no new round after `seconds`. Everything is in a temporary directory, which is gone when this returns; where
    something was violated, logs and intents are kept beside it, and the report says where."""
    report, began = Report(seed), time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="isthmus-torture-"))
    try:
        system = System(root / "system", random.Random(seed + 1), fsync, sabotage=sabotage)
        async with _Torture(root, system, say, report, faults, chaos_s, pause_s) as run:
            while report.rounds == 0 or (time.monotonic() - began < seconds and report.passed):
                await run.round()
            run.cover()
    except Exception as error:  # noqa: BLE001 - whatever it was, it is no pass, and the evidence is kept
        report.violations.append(f"the torture itself failed: {type(error).__name__}: {error}")
    finally:
        report.seconds = round(time.monotonic() - began, 1)
        if not report.passed:
            report.evidence = str(_keep(root, seed, report))
        shutil.rmtree(root, ignore_errors=True)
    return report


def _keep(root: Path, seed: int, report: Report) -> Path:
    """No database and no secrets: what clients wanted and were told, and what the processes said."""
    kept = Path(tempfile.mkdtemp(prefix=f"isthmus-torture-evidence-{seed}-"))
    for found in root.glob("*.jsonl"):
        shutil.copy(found, kept)
    with contextlib.suppress(OSError):
        shutil.copytree(root / "system" / "logs", kept / "logs")
    (kept / "report.json").write_text(report.as_json() + "\n")
    return kept


class _Torture:
    def __init__(
        self,
        root: Path,
        system: System,
        say: Say,
        report: Report,
        faults: Sequence[str],
        chaos_s: float,
        pause_s: tuple[float, float],
    ) -> None:
        self._root, self._system, self._say, self._report = root, system, say, report
        self._faults, self._chaos_s, self._pause_s, self._seed = faults, chaos_s, pause_s, report.seed
        self._chance = random.Random(report.seed)
        system.on_death = self._died
        self._watches = Watches()
        self._http = httpx.AsyncClient(timeout=REQUEST_S, trust_env=False)
        self._bank = Bank(self._http, lambda: system.bank_url)
        self._market = Market(lambda: self._intents, self._watches, self._bank)
        self._clients: list[Client] = []
        self._subscribers: list[Subscriber] = []
        self._live: list[asyncio.Task[None]] = []
        self._deck: list[str] = []
        self._intents = self._log(0)

    def _branch(self) -> random.Random:
        """A source of chance of its own, so that one part's draws do not move another's."""
        return random.Random(self._chance.random())

    def _log(self, number: int) -> IntentLog:
        return IntentLog(self._root / f"round-{number}.jsonl", f"t{self._seed}-{number}")

    async def __aenter__(self) -> _Torture:
        self._say(f"seed {self._seed}; starting two serves, two works, their servers, an issuer and a bank")
        try:
            await self._system.start()
            await self._enrol()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._live:
            task.cancel()
        await asyncio.gather(*self._live, return_exceptions=True)
        await self._http.aclose()
        await self._system.aclose()
        self._intents.close()

    # -- before ------------------------------------------------------------------------------------------------------

    async def _enrol(self) -> None:
        """Customers with accounts and money: nothing is broken yet, so everything must succeed."""
        system = self._system
        people, operator = await enrol(system.settings, system.endpoints.database_url, CUSTOMERS)
        self._people = [*people, operator]
        await self._sign_in()
        connection = await asyncpg.connect(system.admin_url)
        try:
            log = await connection.fetchval(
                "select (select system_identifier from pg_control_system())::text || '.' || "
                "(select oid from pg_database where datname = current_database())::text"
            )
        finally:
            await connection.close()
        self._bus = BusReader(system.kafka_address, log)
        await self._bank.meet()
        payments = PaymentBooks(self._bank, await self._bank.payee_holds())
        self._oracle = Oracle(system.admin_url, self._bus, payments)
        for number, person in enumerate(people):
            home = Home(system, number)
            own, operators = (
                HttpDoor(self._http, home.url, who.token, self._watches, home.leave) for who in (person, operator)
            )
            self._clients.append(Client(person.name, own, operators, self._market, self._branch(), home.life))
        await asyncio.gather(*(self._furnish(client) for client in self._clients))
        self._subscribers = [
            Subscriber(self._watches.feed(person.name), person, self._any_url, self._branch()) for person in people
        ]
        self._live = [asyncio.create_task(subscriber.run()) for subscriber in self._subscribers]

    async def _furnish(self, client: Client) -> None:
        for bank in (*[True] * BANK_ACCOUNTS, False, False):
            assert await client.open_account(bank=bank) is not None, "nothing is broken yet"
        for account in client.bank:
            outcome = await client.deposit(account, str(_BANK_EUROS / BANK_ACCOUNTS))
            assert outcome.kind is Kind.OK, outcome
        client.bank_total = _BANK_EUROS
        client.person = await person_of(client)
        for account in client.accounts:
            outcome = await client.deposit(account, "500.00")
            assert outcome.kind is Kind.OK, outcome

    async def _sign_in(self) -> None:
        """Past the proxies: who signs in checks that the API is at the address that it names."""
        base = self._system.serve_base(self._system.serves[0])
        for person in self._people:
            await person.sign_in(self._http, base)

    def _any_url(self) -> str:
        return self._system.client_url(self._chance.choice(self._system.serves))

    def _died(self, name: str) -> None:
        if name == "kafka":
            self._bus.forgot()

    # -- a round -----------------------------------------------------------------------------------------------------

    async def round(self) -> None:
        """Chaos, healing, resolving, judging."""
        report = self._report
        number = report.rounds + 1
        await self._sign_in()
        if number > 1:
            self._intents.close()
            self._intents.path.unlink()  # what was judged sound is no evidence any more
            self._intents = self._log(number)
        stop, began = asyncio.Event(), time.monotonic()
        clients = [asyncio.create_task(client.run(stop)) for client in self._clients]
        try:
            injected = await self._chaos(first=number == 1)
        finally:
            stop.set()
            await asyncio.gather(*clients)
        chaos_s = time.monotonic() - began
        verdict = await self._judged()
        report.rounds = number
        report.count(self._intents.intents)
        report.lost += verdict.lost
        report.doubled += verdict.doubled
        report.checked = verdict.checked
        report.seen, report.codes = self._watches.seen, self._watches.codes
        report.violations += [str(violation) for violation in verdict.violations]
        self._tell(number, injected, chaos_s, time.monotonic() - began - chaos_s, verdict)

    async def _chaos(self, *, first: bool) -> Counter[str]:
        """Every fault in turn, in an order drawn anew each time; the first round goes on until it has met them all."""
        injected: Counter[str] = Counter()
        began = time.monotonic()
        while True:
            chaos_s = time.monotonic() - began
            missing = first and any(self._report.faults[name] == 0 for name in self._faults)
            if chaos_s > _CHAOS_S_MAX or (chaos_s > self._chaos_s and not missing):
                return injected
            if not self._deck:
                self._deck = [name for name in self._faults if not missing or self._report.faults[name] == 0]
                self._chance.shuffle(self._deck)
            name = self._deck.pop()
            if await FAULTS[name](self._system, self._chance):
                injected[name] += 1
                self._report.faults[name] += 1
            if self._chance.random() < _RECOVERING:
                await self._system.some_serve_answers(_RECOVER_S)
            await asyncio.sleep(self._chance.uniform(*self._pause_s))

    async def _judged(self) -> Verdict:
        try:
            await self._system.heal()
        except TimeoutError as error:
            verdict = Verdict()
            verdict.violated("O10", f"after healing, {error}")
            return verdict
        door = _OwnDoors({client.name: client for client in self._clients})
        await self._oracle.resolve(self._intents, door)
        done = [intent for intent in self._intents.intents if intent.definite is not None and not intent.probe]
        await self._oracle.resend(self._intents, door, self._chance.sample(done, min(_RESENT_PER_ROUND, len(done))))
        return await self._oracle.judge(
            self._intents.intents,
            self._watches,
            [subscriber.watch for subscriber in self._subscribers],
            answered=self._market.answered,
        )

    def _tell(self, number: int, injected: Counter[str], chaos_s: float, judged_s: float, verdict: Verdict) -> None:
        unknown = sum(intent.was_unknown for intent in self._intents.intents)
        serves = [processes.resident_mib(pid) for pid in self._system.pids(self._system.serves)]
        self._say(
            f"round {number}: {chaos_s:.0f} s of chaos, {sum(injected.values())} faults ({', '.join(sorted(injected))}); "
            f"{len(self._intents.intents)} commands, {unknown} unknown; judged in {judged_s:.0f} s: "
            f"{'sound' if verdict.sound else 'VIOLATED'}; serves hold {max(serves, default=0):.0f} MiB"
        )
        for violation in verdict.violations:
            self._say(f"  {violation}")

    def cover(self) -> None:
        """O12: what never happened was not tested."""
        report = self._report
        goals = {
            **{f"fault {name}": report.faults[name] for name in self._faults},
            "an unknown outcome": report.unknown,
            "an unknown outcome that had been committed": report.committed_unknown,
            "an answer given again": report.replayed,
            "a refusal": report.refused,
            "a bank read": report.seen["bank reads"],
            "an own write read": report.seen["own writes read"],
            "a live message": report.seen["live messages"],
            "a subscription resumed": report.seen["subscriptions resumed"],
            "a payment executed": report.checked["payments EXECUTED"],
            "a payment taken back": report.checked["payments CANCELLED"],
        }
        if report.passed:
            report.violations += [str(Violation("O12", f"{goal} never happened")) for goal, n in goals.items() if not n]


@dataclass
class Home:
    """The server that a client keeps to, until it does not answer."""

    system: System
    number: int

    @property
    def name(self) -> str:
        return self.system.serves[self.number % len(self.system.serves)]

    def url(self) -> str:
        return self.system.client_url(self.name)

    def leave(self) -> None:
        self.number += 1

    def life(self) -> object:
        """Another one is another server, or the same after it died."""
        return self.name, self.system.lives[self.name]


@dataclass
class _OwnDoors:
    """Each intent goes through the door of the client that had it."""

    clients: dict[str, Client]

    async def send(self, intent: Intent, correlation_id: str) -> Outcome:
        client = self.clients[intent.client]
        operators = ("settleDeposit", "freezeAccount", "unfreezeAccount")
        return await (client.operator if intent.mutation in operators else client.door).send(intent, correlation_id)
