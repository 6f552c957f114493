"""Issue line 8, row F21: whatever happens at a bank and on the way, after a reading that went well the mirror is the bank's own book.

The whole of it: the product's parts on PostgreSQL against the sandbox over HTTP, at all three providers. Things are booked, held, settled,
changed, taken back and booked again; pages are small, repeated and overtaken by what happens; answers fail in each way of row T9;
processes die between reading and commit, read twice at once, lose their lease; time passes. What stayed keeps its id and its tags.

A few cases run by default. `SYNC_CASES=500 pytest tests/write_models/test_bank_sync_machine.py` runs many.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from isthmus.failpoints import InjectedFault, armed
from isthmus.integrations.banking import plaid
from tests.conftest import Database
from tests.sandbox.running import sandbox_running
from tests.write_models.bank_rig import Rig, bank_rig

CASES = int(os.environ.get("SYNC_CASES", "3"))
#: Few of each, so that some are alike.
AMOUNTS = st.sampled_from((-250, -250, -1_999, -7, 0, 120_000))
NAMES = st.sampled_from(("Metro Transit", "Corner Grocery", "Jo's Books"))
WHICH = st.integers(0, 1_000)
ROUTES = {
    "plaid": ("POST /plaid/transactions/sync",),
    "truelayer": (
        "GET /truelayer/api/data/v1/accounts",
        "GET /truelayer/api/data/v1/accounts/*/balance",
        "GET /truelayer/api/data/v1/accounts/*/transactions",
        "GET /truelayer/api/data/v1/accounts/*/transactions/pending",
        "POST /truelayer/auth/connect/token",
    ),
    "yapily": ("GET /yapily/accounts", "GET /yapily/accounts/*/transactions"),
}
#: Those that take time come less often.
WRONG = (
    *("error_before", "error_after", "truncated", "nan", "wrong_currency") * 3,
    *("hang_before", "hang_after", "too_many", "drip"),
)
#: Facts of the sandbox: banks that tell less.
BARE = {
    "plaid": "plaid.unnamed_pending",
    "truelayer": "truelayer.no_normalised_id",
    "yapily": "yapily.pending_without_id",
}
_DAY = timedelta(days=1)
#: A bank may book for a day that is over within so many days after it (`windows.OVERLAP`, with some room).
_CHANGES_WITHIN = 7 * _DAY
_AT_ONCE = timedelta(days=9)

tried: Counter[str] = Counter()


class SyncMachine(RuleBasedStateMachine):
    rig: Rig

    @initialize(
        provider=st.sampled_from(tuple(ROUTES)),
        bare=st.booleans(),
        accounts=st.integers(1, 2),
        page=st.sampled_from((1, 2, 3, 500)),
    )
    def begin(self, provider: str, bare: bool, accounts: int, page: int) -> None:
        tried["cases"] += 1
        tried[f"{provider}{' bare' if bare else ''}"] += 1
        self.provider, self.bare = provider, bare
        for name, fact in BARE.items():
            self.rig.banks.tell("facts", name=fact, value="yes" if bare and name == provider else None)
        plaid._PAGE = page
        self.person, self.username = uuid4(), self.rig.customer()
        self.accounts = [self.rig.account(self.username, name) for name in ("Everyday", "Other")[:accounts]]
        self.consent = self.rig.link(provider, self.person, self.username)
        #: What each movement has ever been, and which it took the place of.
        self.looks: dict[str, set[tuple[int, str]]] = defaultdict(set)
        self.same_as: dict[str, str] = {}
        self.known: dict[str, tuple[UUID, str]] = {}
        self.tags: dict[UUID, str] = {}
        self.days, self.last_done = timedelta(), self.rig.clock.now()

    # -- what happens at the bank ---------------------------------------------------------------------------------------

    @rule(which=WHICH, amount=AMOUNTS, name=NAMES, pending=st.booleans(), hours=st.integers(1, 190))
    def moves(self, which: int, amount: int, name: str, pending: bool, hours: int) -> None:
        self._moves(which, amount, name, pending, hours)

    @rule(which=WHICH, cancelled=st.booleans())
    def settles(self, which: int, cancelled: bool) -> None:
        if one := self._some(which, "PENDING"):
            self.rig.banks.tell("movements/settle", movement=one["id"], cancelled=cancelled)

    @rule(which=WHICH, amount=AMOUNTS, name=NAMES)
    def changes(self, which: int, amount: int, name: str) -> None:
        one = self._some(which, "PENDING", "BOOKED")
        if one is None or not self._lately(one):
            return
        self.rig.banks.tell("movements/amend", movement=one["id"], amount=amount, name=name)
        self.looks[one["id"]].add((amount, name))

    @rule(which=WHICH, again=st.booleans())
    def takes_back(self, which: int, again: bool) -> None:
        one = self._some(which, "BOOKED")
        if one is None or not self._lately(one):
            return
        told = self.rig.banks.tell("movements/withdraw", movement=one["id"], again=again)
        if again:
            self.looks[told["id"]] |= self.looks[one["id"]]
            self.same_as[told["id"]] = one["id"]

    @rule(which=WHICH, amount=AMOUNTS, name=NAMES, hours=st.integers(0, 60))
    def is_held_and_read_and_booked(self, which: int, amount: int, name: str, hours: int) -> None:
        one = self._moves(which, amount, name, True, 72)
        self.all_is_well()
        if hours:
            self.time_passes(hours)
        self.rig.banks.tell("movements/settle", movement=one["id"])

    @rule(which=WHICH, amount=AMOUNTS, name=NAMES)
    def is_booked_and_read_and_booked_again(self, which: int, amount: int, name: str) -> None:
        one = self._moves(which, amount, name, False, 1)
        self.all_is_well()
        told = self.rig.banks.tell("movements/withdraw", movement=one["id"], again=True)
        self.looks[told["id"]] |= self.looks[one["id"]]
        self.same_as[told["id"]] = one["id"]

    @rule(hours=st.integers(1, 100))
    def time_passes(self, hours: int) -> None:
        if self.days < 50 * _DAY:  # consents last 90 days
            self.days += timedelta(hours=hours)
            self.rig.banks.tell("clock", advance_s=hours * 3_600)

    @rule(which=WHICH)
    def is_tagged(self, which: int) -> None:
        known = sorted(self.known.values())
        if known:
            row_id, _ = known[which % len(known)]
            self.rig.tag(self.person, row_id, f"tag {which}")
            self.tags[row_id] = f"tag {which}"

    # -- readings, and what goes wrong with them ---------------------------------------------------------------------------

    @rule(times=st.integers(1, 3))
    def is_read(self, times: int) -> None:
        for _ in range(times):
            self._sync()

    @rule(page=st.sampled_from((1, 2, 3, 500)))
    def pages_are_of_another_size(self, page: int) -> None:
        plaid._PAGE = page

    @rule(which=WHICH, kind=st.sampled_from(WRONG), times=st.integers(1, 2))
    def is_read_wrongly(self, which: int, kind: str, times: int) -> None:
        routes = ROUTES[self.provider]
        self._told_wrong(routes[which % len(routes)], kind, times)
        slow = kind in ("hang_before", "hang_after", "drip")
        self.rig.manners.deadline_s = 0.3 if slow else 20
        try:
            self._sync()
        finally:
            self.rig.manners.deadline_s = 20

    @rule(which=WHICH)
    def is_told_what_it_was_told_before(self, which: int) -> None:
        """The answer of before once more, in the place of a new one: then what is new comes with the next reading."""
        if self._sync() != "done":
            return
        routes = ROUTES[self.provider][:4]
        self._told_wrong(routes[which % len(routes)], "page_again", 1)
        self._sync()
        self._behave()
        self._sync()

    @rule(point=st.sampled_from(("bank_sync.before_rows", "bank_sync.before_commit")))
    def dies_before_the_commit(self, point: str) -> None:
        tried[point] += 1
        with armed(f"{point}:raise"), contextlib.suppress(InjectedFault):
            self._sync()

    @rule()
    def is_read_twice_at_once(self) -> None:
        self.rig.now()

        async def twice() -> tuple[str, str]:
            run = self.rig.banking.sync.run
            return await asyncio.gather(run(self.consent, attended=True), run(self.consent, attended=True))

        outcomes = self.rig.run(twice())
        tried["twice at once"] += 1
        self._noted(*outcomes)

    @rule(after=st.integers(1, 3), which=WHICH)
    def the_bank_books_between_pages(self, after: int, which: int) -> None:
        self._between(after, which, ("moves", "settles")[which % 2])

    @rule(after=st.integers(1, 3), which=WHICH)
    def the_bank_changes_its_mind_between_pages(self, after: int, which: int) -> None:
        self._between(after, which, ("changes", "takes_back")[which % 2])

    @rule(after=st.integers(1, 3), which=WHICH)
    def answers_fail_between_pages(self, after: int, which: int) -> None:
        self._between(after, which, ("page_again", "fails")[which % 2])

    @rule(after=st.integers(1, 3))
    def another_process_is_faster(self, after: int) -> None:
        self._between(after, 0, "lease")

    def _between(self, after: int, which: int, what: str) -> None:
        first = self.rig.providers[self.provider].pages

        def between(page: int) -> Any:
            if page - first != after:
                return None
            tried[f"between pages: {what}"] += 1
            match what:
                case "moves":
                    self.moves(which, -250, "Metro Transit", which % 2 == 0, 48)
                case "settles":
                    self.settles(which, which % 3 == 0)
                case "changes":
                    self.changes(which, -7, "Jo's Books")
                case "takes_back":
                    self.takes_back(which, which % 2 == 0)
                case "page_again" if self.provider == "plaid":  # the others' answers follow from what is asked
                    self._told_wrong(ROUTES["plaid"][0], "page_again", 1)
                case "fails":
                    self._told_wrong(ROUTES[self.provider][-1], "error_after", 2)
                case "lease":
                    return self._overtaken()
                case _:
                    pass
            return None

        self.rig.providers[self.provider].between = between
        try:
            self._sync()
        finally:
            self.rig.providers[self.provider].between = None

    async def _overtaken(self) -> None:
        """Its lease is over while it waits: another process reads the same meanwhile."""
        self.rig.providers[self.provider].between = None
        await self.rig.side.pool.execute(
            "update bank_syncs set leased_until = null where consent_id = $1", self.consent
        )
        self._noted(await self.rig.banking.sync.run(self.consent, attended=True))

    # -- what holds -----------------------------------------------------------------------------------------------------------

    @rule()
    def all_is_well(self) -> None:
        self._behave()
        outcomes = [self._sync()]
        if outcomes[0] != "done":
            outcomes.append(self._sync())
        assert outcomes[-1] == "done", outcomes
        ours = self.rig.accounts(self.consent)
        assert set(ours) == set(self.accounts)
        now: dict[str, tuple[UUID, str]] = {}
        kept_tags: set[UUID] = set()
        for account in self.accounts:
            rows, book = self.rig.shown(self.person, ours[account]), self.rig.book(account)
            told = Counter(
                (row.reference, row.amount, row.status, row.text.n or row.text.d) for row in rows if row.text
            )
            assert told == Counter(map(self._as_told, book)), f"{self.provider}: mirror and book differ"
            assert len({row.transaction_id for row in rows}) == len(rows)
            for one in book:
                fitting = [row for row in rows if (row.reference, row.amount) == self._as_told(one)[:2]]
                if len(fitting) == 1:
                    now[one["id"]] = (fitting[0].transaction_id, one["state"])
                    if self._must_keep(one):
                        before = self.known[self.same_as.get(one["id"], one["id"])]
                        assert fitting[0].transaction_id == before[0], f"{one} was {before}"
            kept_tags |= {row.transaction_id for row in rows if row.tags is not None}
        ids = {row_id for row_id, _ in now.values()}
        assert {row_id for row_id in self.tags if row_id in ids} <= kept_tags, "tags went"
        self._accounts_agree()
        self.known, self.same_as = now, {}
        tried["compared"] += 1

    def teardown(self) -> None:
        if hasattr(self, "consent"):
            self.all_is_well()
            self.all_is_well()

    def _accounts_agree(self) -> None:
        book = {one["id"]: one for one in self.rig.banks.http.get(f"{self.rig.banks.url}/sandbox/accounts").json()}
        query = "select reference, booked, available from bank_account_mirrors where link_id = $1"
        for row in self.rig.run(self.rig.side.pool.fetch(query, self.consent)):
            told = book[row["reference"]]
            assert (row["booked"], row["available"]) == (Decimal(told["booked"]), Decimal(told["available"]))

    def _as_told(self, one: dict[str, Any]) -> tuple[str | None, Decimal, str, str]:
        pending = one["state"] == "PENDING"
        return (
            self._reference(one, pending),
            Decimal(one["amount"]) / 100,
            "PENDING" if pending else "POSTED",
            one["name"],
        )

    def _reference(self, one: dict[str, Any], pending: bool) -> str | None:
        match self.provider:
            case "plaid":
                return f"p{one['id']}" if pending else str(one["id"])
            case "truelayer" if not self.bare:
                return f"txn-{one['id']}"
            case "truelayer":
                return hashlib.sha256(f"{one['id']}|{one['state']}".encode()).hexdigest()[:32]
            case _:
                return None if pending and self.bare else str(one["id"])

    def _must_keep(self, one: dict[str, Any]) -> bool:
        """Whether it was known, and is still the same to whoever has no more than the provider's words."""
        first = self.same_as.get(one["id"], one["id"])
        if first not in self.known or first in self.same_as:
            return False
        was = self.known[first][1]
        nameless = self.provider == "yapily" and self.bare and one["state"] == "PENDING"
        renamed = first != one["id"]
        if was != one["state"]:
            renamed = renamed or self.bare
        if not (renamed or nameless):
            return True
        looks = self.looks[one["id"]]
        others = [ever for name, ever in self.looks.items() if name not in (one["id"], first)]
        made, booked = _day(one["at"]), _day(one["booked_at"] or one["at"])
        return len(looks) == 1 and all(looks.isdisjoint(ever) for ever in others) and booked - made <= _AT_ONCE

    # -- helpers ----------------------------------------------------------------------------------------------------------------

    def _moves(self, which: int, amount: int, name: str, pending: bool, hours: int) -> dict[str, Any]:
        account = self.accounts[which % len(self.accounts)]
        told = self.rig.banks.tell(
            "movements", account=account, amount=amount, name=name, pending=pending, books_in_s=hours * 3_600
        )
        self.looks[told["id"]].add((amount, name))
        made: dict[str, Any] = told
        return made

    def _some(self, which: int, *states: str) -> dict[str, Any] | None:
        account = self.accounts[which % len(self.accounts)]
        some = sorted((one for one in self.rig.book(account) if one["state"] in states), key=lambda one: one["at"])
        return some[which % len(some)] if some else None

    def _lately(self, one: dict[str, Any]) -> bool:
        """Where there is no cursor, what a bank changes later than that is not seen."""
        at = datetime.fromisoformat(one["booked_at"] or one["at"])
        return self.provider == "plaid" or one["state"] == "PENDING" or at > self.last_done - _CHANGES_WITHIN

    def _told_wrong(self, route: str, kind: str, times: int) -> None:
        tried[f"told wrong: {kind}"] += 1
        seconds = 0.05 if kind == "drip" else 0.5
        self.rig.banks.tell("misbehaviour", route=route, kind=kind, times=times, seconds=seconds)

    def _behave(self) -> None:
        assert self.rig.banks.http.delete(f"{self.rig.banks.url}/sandbox/misbehaviour").status_code == 200

    def _sync(self) -> str:
        outcome = self.rig.sync(self.consent)
        self._noted(outcome)
        return outcome

    def _noted(self, *outcomes: str) -> None:
        for outcome in outcomes:
            tried[f"outcome {outcome}"] += 1
            assert outcome in ("done", "unavailable", "malformed", "busy", "overtaken"), outcome
        if "done" in outcomes:
            self.last_done = self.rig.clock.now()


def _day(at: str) -> date:
    return datetime.fromisoformat(at).date()


@pytest.mark.timeout(120 + CASES * 20)
def test_after_any_trouble_the_mirror_is_the_banks_own_book(machine_database: Database, tmp_path: Path) -> None:
    size = plaid._PAGE
    try:
        with sandbox_running(history_days=1) as banks, bank_rig(banks, machine_database, tmp_path) as rig:
            SyncMachine.rig = rig
            run_state_machine_as_test(SyncMachine, settings=_EFFORT)
            journals = rig.run(rig.side.pool.fetchval("select count(*) from journal_entries"))
    finally:
        plaid._PAGE = size
        if CASES > 10:
            print(*(f"{count:7} {name}" for name, count in sorted(tried.items())), sep="\n")
    assert journals == 0, "what banks tell never touches the ledger"


_EFFORT = settings(
    max_examples=CASES,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
