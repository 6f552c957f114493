"""A torture: rounds of chaos under load, each healed, resolved and judged."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import asyncpg
import httpx

from isthmus.runtime import processes
from isthmus.torture.bank import Bank
from isthmus.torture.bank_payers import come_back
from isthmus.torture.bus import BusReader
from isthmus.torture.clients import BANK_ACCOUNTS, Client, Market
from isthmus.torture.deaths import POINTS, dying
from isthmus.torture.door import REQUEST_S, HttpDoor
from isthmus.torture.effects import account_uuid
from isthmus.torture.faults import FAULTS
from isthmus.torture.homes import Home, OwnDoors
from isthmus.torture.intents import IntentLog, Kind
from isthmus.torture.linked_payments import LinkedBooks
from isthmus.torture.linking import catalogue, link
from isthmus.torture.oracle import Oracle
from isthmus.torture.payers import person_of
from isthmus.torture.payments import PaymentBooks
from isthmus.torture.people import Person, enrol
from isthmus.torture.rails import rail_of
from isthmus.torture.report import Report
from isthmus.torture.subscribers import Subscriber
from isthmus.torture.system import System
from isthmus.torture.verdict import Verdict, Violation
from isthmus.torture.watches import Watches

CUSTOMERS = 8
CHAOS_S = 25.0
#: A first round that has not met every fault by then has a fault that does not happen.
_CHAOS_S_MAX = 240.0
#: Rounds after the time is over, for what has not happened yet; what does not happen in these never will.
_MORE_ROUNDS_MAX = 3
PAUSE_S = (0.2, 1.2)
#: After most faults the next one waits until there is something left to break.
_RECOVER_S, _RECOVERING = 8.0, 0.7
_LOOK_AGAIN_S = 0.2
_RESENT_PER_ROUND = 100
_BANK_EUROS = Decimal("900.00")

Say = Callable[[str], None]


async def torture(
    seconds: float,
    seed: int,
    say: Say,
    *,
    faults: Sequence[str] = tuple(FAULTS),
    points: Sequence[str] = tuple(POINTS),
    chaos_s: float = CHAOS_S,
    pause_s: tuple[float, float] = PAUSE_S,
    sabotage: str | None = None,
    fsync: bool = True,
) -> Report:
    """Begins no new round after `seconds`, unless something that it must have met has not happened: a short run on a slow machine would
    leave that to chance. Everything is in a temporary directory, which is gone when this returns; where something was violated, logs and
    intents are kept beside it, and the report says where."""
    report, began = Report(seed), time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="isthmus-torture-"))
    try:
        system = System(root / "system", random.Random(seed + 1), fsync, sabotage=sabotage)
        async with _Torture(root, system, say, report, faults, points, chaos_s, pause_s) as run:
            while report.rounds == 0 or (time.monotonic() - began < seconds and report.passed):
                await run.round()
            for _ in range(_MORE_ROUNDS_MAX):
                if not (report.passed and run.missed()):
                    break
                say(f"once more, for what has not happened yet: {', '.join(run.missed())}")
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
        points: Sequence[str],
        chaos_s: float,
        pause_s: tuple[float, float],
    ) -> None:
        self._root, self._system, self._say, self._report = root, system, say, report
        self._points = {f"die_at {point}": point for point in points}
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
        received = await self._bank.received()
        for number, person in enumerate(people):
            home = Home(system, number)
            own, operators = (
                HttpDoor(self._http, home.url, who.token, self._watches, home.leave, who.refused)
                for who in (person, operator)
            )
            self._clients.append(Client(person.name, own, operators, self._market, self._branch(), home.life))
        await asyncio.gather(*(self._furnish(client) for client in self._clients))
        await self._link(people)
        linked = [client.linked for client in self._clients if client.linked is not None]
        payers = {account_uuid(one.account): (one.rail.name, one.in_the_book) for one in linked}
        payments = PaymentBooks(self._bank, received, LinkedBooks(self._bank, payers, self._market.at_bank))
        self._oracle = Oracle(system.admin_url, self._bus, payments)
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

    async def _link(self, people: list[Person]) -> None:
        """Everybody's bank, past the proxies: by turns one of each rail."""

        def door(serve: int, person: Person) -> HttpDoor:
            url = f"{self._system.serve_base(self._system.serves[serve])}/graphql"
            return HttpDoor(self._http, lambda: url, person.token, self._watches, refused=person.refused)

        async def one(number: int, client: Client) -> None:
            rail, person = rail_of(number), people[number]
            client.linked = await link(door(rail.serve, person), self._bank, rail, f"torture-{client.name}")
            if rail.tops_up:
                client.topped_up = await client.open_account(asset=rail.asset)

        await catalogue(door(0, people[0]))
        await asyncio.gather(*(one(number, client) for number, client in enumerate(self._clients)))

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
        """Every fault in turn, in an order drawn anew each time, and beside them deaths at fail points; the first round goes on until it
        has met them all."""
        injected: Counter[str] = Counter()
        faults = self._report.faults
        deaths = asyncio.create_task(
            dying(
                self._system,
                self._branch(),
                list(self._points.values()),
                lambda point: faults[f"die_at {point}"] == 0,
                lambda point: self._count(injected, f"die_at {point}"),
            )
        )
        try:
            await self._faults_in_turn(injected, first=first)
        finally:
            deaths.cancel()
            (ended,) = await asyncio.gather(deaths, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended
        return injected

    async def _faults_in_turn(self, injected: Counter[str], *, first: bool) -> None:
        began = time.monotonic()
        while True:
            chaos_s = time.monotonic() - began
            missing = first and any(self._report.faults[name] == 0 for name in (*self._faults, *self._points))
            if chaos_s > _CHAOS_S_MAX or (chaos_s > self._chaos_s and not missing):
                return
            never = [name for name in self._faults if self._report.faults[name] == 0]
            if missing and not never and chaos_s > self._chaos_s:
                # Only deaths at points are missing: nobody is killed by anything else before coming there.
                await asyncio.sleep(_LOOK_AGAIN_S)
                continue
            if not self._deck:
                self._deck = (never if missing else []) or list(self._faults)
                self._chance.shuffle(self._deck)
            name = self._deck.pop()
            if await FAULTS[name](self._system, self._chance):
                self._count(injected, name)
            if self._chance.random() < _RECOVERING:
                await self._system.some_serve_answers(_RECOVER_S)
            await asyncio.sleep(self._chance.uniform(*self._pause_s))

    def _count(self, injected: Counter[str], name: str) -> None:
        injected[name] += 1
        self._report.faults[name] += 1

    async def _judged(self) -> Verdict:
        try:
            await self._system.heal()
        except TimeoutError as error:
            verdict = Verdict()
            verdict.violated("O10", f"after healing, {error}")
            return verdict
        door = OwnDoors({client.name: client for client in self._clients})
        await self._oracle.resolve(self._intents, door)
        await asyncio.gather(*(come_back(client, self._bank) for client in self._clients))
        await self._oracle.resolve(self._intents, door)  # what they took back then, too
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

    def missed(self) -> list[str]:
        """What a run must have met and this one has not, yet."""
        return [goal for goal, n in self._report.goals([*self._faults, *self._points]).items() if not n]

    def cover(self) -> None:
        """O12: what never happened was not tested."""
        if self._report.passed:
            self._report.violations += [str(Violation("O12", f"{goal} never happened")) for goal in self.missed()]
