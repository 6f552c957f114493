"""The ledger against a plain model: any sequence of wishes leaves the balances, holds and histories that simple sums say.

The model knows nothing of events, locks or SQL: two numbers a hold, a list of figures an account. After every step each account
agrees with it; as-of questions about every instant of the past agree with what was true then; and at the end `verify` agrees.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from unittest.mock import Mock
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from isthmus.domain.accounts import CloseAccount, Direction, FreezeAccount, UnfreezeAccount
from isthmus.domain.clock import SettableClock
from isthmus.domain.holds import PostHold, ReserveFunds, ReverseJournal, VoidHold
from isthmus.domain.ledger import JournalDraft, JournalKind, Leg
from isthmus.read_models.balances import Balance, BalanceReader
from isthmus.read_models.database import Sight
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import Settings
from isthmus.write_models.commands import Done, Outcome, Refused
from tests.conftest import Database
from tests.write_models.driver import Driver, assert_sound, journal_of

T = TypeVar("T")
OWNER = uuid4()
CENTS = st.integers(min_value=1, max_value=5_000).map(lambda cents: Decimal(cents) / 100)


@dataclass
class PlainAccount:
    posted: Decimal = Decimal(0)
    held: Decimal = Decimal(0)
    coming: Decimal = Decimal(0)
    version: int = 0
    frozen: bool = False
    closed: bool = False
    overdrawn: bool = False
    history: list[tuple[datetime, Balance]] = field(default_factory=list)

    def may_give(self, amount: Decimal) -> bool:
        return not (self.frozen or self.overdrawn or self.closed) and self.posted - self.held >= amount


@dataclass
class PlainHold:
    source: UUID
    target: UUID
    amount: Decimal
    expires_at: datetime | None


class LedgerMachine(RuleBasedStateMachine):
    accounts = Bundle("accounts")
    holds = Bundle("holds")
    transfers = Bundle("transfers")

    run: Callable[[Coroutine[Any, Any, Any]], Any]
    side: WriteSide
    clock: SettableClock

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Driver(self.side.commands)
        self.model: dict[UUID, PlainAccount] = {}

    @initialize(target=accounts)
    def begin(self) -> Any:
        return multiple(self._open(), self._open())

    def _open(self) -> UUID:
        account: UUID = self.run(self.ledger.open(OWNER))
        self.model[account] = PlainAccount()
        return account

    def _touch(self, outcome: Outcome, *touched: UUID) -> None:
        assert isinstance(outcome, Done), outcome
        at = next(one.committed_at for one in outcome.events if hasattr(one.event, "figures"))
        for account_id in dict.fromkeys(touched):
            account = self.model[account_id]
            account.version += 1
            if account.overdrawn and account.posted - account.held >= 0:
                account.overdrawn = False
            figures = Balance(account.posted, account.coming, account.held, account.version, at)
            account.history.append((at, figures))

    @rule(target=accounts)
    def open_account(self) -> UUID:
        return self._open()

    @rule(account=accounts, amount=CENTS)
    def deposit(self, account: UUID, amount: Decimal) -> None:
        if self.model[account].closed:
            return
        outcome = self.run(self.ledger.deposit(account, OWNER, str(amount)))
        self.model[account].posted += amount
        self._touch(outcome, account)

    @rule(target=transfers, source=accounts, target_account=accounts, amount=CENTS)
    def transfer(self, source: UUID, target_account: UUID, amount: Decimal) -> Any:
        key = self.ledger.key()
        outcome = self.run(self.ledger.transfer(OWNER, source, target_account, str(amount), key=key))
        payer, payee = self.model[source], self.model[target_account]
        expected = source != target_account and payer.may_give(amount) and not payee.closed
        assert isinstance(outcome, Done) == expected, outcome
        if expected:
            payer.posted -= amount
            payee.posted += amount
            self._touch(outcome, source, target_account)
        return (key, source, target_account, amount, outcome)

    @rule(asked=transfers, other=st.booleans())
    def replay(self, asked: tuple[str, UUID, UUID, Decimal, Outcome], other: bool) -> None:
        """The first answer again, whatever happened since; another body is refused; neither moves anything."""
        key, source, target, amount, first = asked
        body_amount = amount + 1 if other else amount
        again = self.run(self.ledger.transfer(OWNER, source, target, str(body_amount), key=key))
        if other:
            assert isinstance(again, Refused)
            assert again.refusal.code == "IDEMPOTENCY_KEY_REUSED"
        elif isinstance(first, Done):
            assert isinstance(again, Done)
            assert (again.events, again.position, again.replayed) == (first.events, first.position, True)
        else:
            assert isinstance(again, Refused)
            assert (again.refusal, again.replayed) == (first.refusal, True)

    @rule(target=holds, source=accounts, target_account=accounts, amount=CENTS, minutes=st.none() | st.integers(1, 60))
    def reserve(self, source: UUID, target_account: UUID, amount: Decimal, minutes: int | None) -> Any:
        payer, payee = self.model[source], self.model[target_account]
        expires_at = None if minutes is None else self.clock.now() + timedelta(minutes=minutes)
        draft = JournalDraft(uuid4(), JournalKind.RESERVATION, _legs(source, target_account, amount))
        outcome = self.run(self.ledger.run(ReserveFunds(draft, expires_at)))
        if source == target_account:
            expected = (
                not payer.closed and not payer.frozen and not payer.overdrawn and payer.posted - payer.held >= amount
            )
        else:
            expected = payer.may_give(amount) and not payee.closed
        assert isinstance(outcome, Done) == expected, outcome
        if not expected:
            return multiple()
        payer.held += amount
        payee.coming += amount
        self._touch(outcome, source, target_account)
        return (draft.journal_id, PlainHold(source, target_account, amount, expires_at))

    @rule(held=consumes(holds), part=st.none() | CENTS)
    def post(self, held: tuple[UUID, PlainHold], part: Decimal | None) -> None:
        hold_id, hold = held
        amount = hold.amount if part is None else part
        legs = None if part is None else _legs(hold.source, hold.target, amount)
        outcome = self.run(self.ledger.run(PostHold(hold_id, uuid4(), legs)))
        late = hold.expires_at is not None and self.clock.now() >= hold.expires_at
        if late or amount > hold.amount:
            assert isinstance(outcome, Refused), outcome
            if not late:
                self.void((hold_id, hold))
            return
        payer, payee = self.model[hold.source], self.model[hold.target]
        payer.held -= hold.amount
        payee.coming -= hold.amount
        payer.posted -= amount
        payee.posted += amount
        self._touch(outcome, hold.source, hold.target)

    @rule(held=consumes(holds))
    def void(self, held: tuple[UUID, PlainHold]) -> None:
        hold_id, hold = held
        outcome = self.run(self.ledger.run(VoidHold(hold_id)))
        if isinstance(outcome, Refused):  # swept already
            assert hold.expires_at is not None
            assert self.clock.now() >= hold.expires_at
            return
        self.model[hold.source].held -= hold.amount
        self.model[hold.target].coming -= hold.amount
        self._touch(outcome, hold.source, hold.target)
        again = self.run(self.ledger.run(VoidHold(hold_id)))
        assert isinstance(again, Refused)

    @rule(asked=transfers)
    def reverse(self, asked: tuple[str, UUID, UUID, Decimal, Outcome]) -> None:
        _, source, target, amount, first = asked
        if not isinstance(first, Done) or self.model[source].closed or self.model[target].closed:
            return
        outcome = self.run(self.ledger.run(ReverseJournal(journal_of(first).journal_id, uuid4(), OWNER)))
        if isinstance(outcome, Refused):
            assert outcome.refusal.code == "ALREADY_REVERSED"
            return
        payer, payee = self.model[source], self.model[target]
        payer.posted += amount
        payee.posted -= amount
        payee.overdrawn = payee.overdrawn or payee.posted - payee.held < 0
        self._touch(outcome, source, target)

    @rule(account=accounts)
    def freeze(self, account: UUID) -> None:
        outcome = self.run(self.ledger.run(FreezeAccount(account)))
        assert isinstance(outcome, Done) == (not self.model[account].closed)
        self.model[account].frozen = not self.model[account].closed

    @rule(account=accounts)
    def unfreeze(self, account: UUID) -> None:
        outcome = self.run(self.ledger.run(UnfreezeAccount(account)))
        if isinstance(outcome, Done):
            self.model[account].frozen = False

    @rule(account=accounts)
    def close(self, account: UUID) -> None:
        plain = self.model[account]
        outcome = self.run(self.ledger.run(CloseAccount(account, OWNER), person=OWNER))
        empty = plain.posted == plain.held == plain.coming == 0
        expected = plain.closed or (empty and not plain.frozen and not plain.overdrawn)
        assert isinstance(outcome, Done) == expected, outcome
        plain.closed = expected

    @rule(minutes=st.integers(min_value=1, max_value=50_000))
    def time_passes(self, minutes: int) -> None:
        """Over months too: the largest step is 34 days."""
        self.clock.advance(timedelta(minutes=minutes))

    @invariant()
    def balances_agree(self) -> None:
        rows = self.run(
            self.side.pool.fetch("select * from account_balances where account_id = any($1)", list(self.model))
        )
        for row in rows:
            plain = self.model[row["account_id"]]
            kept = (row["posted"], row["pending_out"], row["pending_in"], row["version"], row["closed"])
            assert kept == (plain.posted, plain.held, plain.coming, plain.version, plain.closed)
            assert row["frozen"] == (plain.frozen or plain.overdrawn)

    def teardown(self) -> None:
        self.run(self._history_agrees())
        self.run(assert_sound(self.side.pool))

    async def _history_agrees(self) -> None:
        reader = BalanceReader(self.side.pool, Mock(), Mock())  # the past is never cached
        everyone = Sight(OWNER, all_accounts=True)
        asked = [(account, at) for account, plain in self.model.items() for at, _ in plain.history]
        between = [(account, at - timedelta(microseconds=1)) for account, at in asked]
        answers = await reader.load_many_at(everyone, asked)
        before = await reader.load_many_at(everyone, between)
        told = [figures for plain in self.model.values() for _, figures in plain.history]
        assert answers == told
        for earlier, figures in zip(before, told, strict=True):
            assert isinstance(earlier, Balance)
            assert earlier.version == figures.version - 1


def _legs(source: UUID, target: UUID, amount: Decimal) -> tuple[Leg, ...]:
    return (Leg(source, Direction.DEBIT, amount, "EUR"), Leg(target, Direction.CREDIT, amount, "EUR"))


@contextlib.contextmanager
def _running(configuration: Settings, url: str, clock: SettableClock) -> Iterator[tuple[asyncio.Runner, WriteSide]]:
    """Hypothesis is synchronous: it drives a loop of its own."""
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        side = runner.run(stack.enter_async_context(write_side(configuration, url, clock)))
        yield runner, side
        runner.run(stack.aclose())


@pytest.mark.timeout(180)
def test_any_sequence_of_wishes_leaves_what_a_plain_model_says(
    machine_database: Database, settings: Settings, clock: SettableClock
) -> None:
    with _running(settings, machine_database.url, clock) as (runner, side):
        LedgerMachine.run = staticmethod(runner.run)
        LedgerMachine.side = side
        LedgerMachine.clock = clock
        run_state_machine_as_test(LedgerMachine, settings=_EFFORT)


_EFFORT = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
