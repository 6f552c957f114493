"""Known bugs, by name, and how each is put back: names of the product are replaced from outside, or a guard is dropped by SQL.

Each must be caught by the oracle (tests/faults/test_negative_controls.py): one that is not is a hole in the oracle.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from isthmus.settings import SettingsError


class Patches:
    """Replaced names, and what they were. Raises AttributeError where the product has no such name any more."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any]] = []

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """`make` is given what stands there now."""
        before = getattr(owner, name)
        self._undo.append((owner, name, before))
        setattr(owner, name, make(before))

    def undo(self) -> None:
        for owner, name, before in reversed(self._undo):
            setattr(owner, name, before)
        self._undo.clear()


@dataclass(frozen=True)
class Sabotage:
    """`row`: the oracle's that catches it. `sql` is run as the owner of the tables before anything starts."""

    about: str
    row: str
    patch: Callable[[Patches], None] = lambda _: None
    sql: str = ""
    fail: str = ""
    """Fail points without which the bug does not show in a short run."""
    seen_in: str = field(default="writes")
    """Which part of the product shows it: writes, relay, projections, reads, live, bank."""


def _no_unique_key(patches: Patches) -> None:
    from isthmus.write_models import commands, journal

    patches.replace(commands, "scope_of", lambda _: lambda _envelope: os.urandom(32))
    patches.replace(journal, "reference_id_of", lambda _: lambda *_args: os.urandom(32).hex())


def _forget_body_hash(patches: Patches) -> None:
    from isthmus.write_models import commands

    patches.replace(commands, "request_hash_of", lambda _: lambda *_args: bytes(32))


def _no_lock(patches: Patches) -> None:
    from isthmus.write_models import unit_of_work

    patches.replace(unit_of_work, "_LOCK", lambda text: text.replace(" for update of b", ""))


def _ack_before_commit(patches: Patches) -> None:
    """The answer goes out with the commit still to come, which then may fail."""
    from isthmus.write_models.committer import Committer
    from isthmus.write_models.unit_of_work import UnitOfWork

    decided: dict[Any, Any] = {}  # by the writer's task: a process may have several

    def noting(run: Any) -> Any:
        async def decide(self: Any, asks: Any) -> Any:
            outcomes = decided[asyncio.current_task()] = await run(self, asks)
            return outcomes

        return decide

    def deaf(attempt: Any) -> Any:
        async def attempt_and_believe(self: Any, asks: Any) -> Any:
            decided.pop(asyncio.current_task(), None)
            try:
                return await attempt(self, asks)
            except Exception:
                if asyncio.current_task() not in decided:
                    raise
                return decided[asyncio.current_task()]  # its clients were told already

        return attempt_and_believe

    patches.replace(UnitOfWork, "run", noting)
    patches.replace(Committer, "_attempt", deaf)


def _skip_in_relay(patches: Patches) -> None:
    """As a poll by a sequence does that is drawn before the commit: some events are passed by, and nobody comes back."""
    from isthmus.write_models.relay import Relay

    def make(read: Any) -> Any:
        async def skipping(self: Any, connection: Any) -> Any:
            return [event for event in await read(self, connection) if event.position % 7]

        return skipping

    patches.replace(Relay, "_read", make)


def _publish_out_of_order(patches: Patches) -> None:
    from isthmus.write_models import relay

    def make(record_messages: Any) -> Any:
        return lambda log, events, *traces: record_messages(log, list(reversed(list(events))), *traces)

    patches.replace(relay, "record_messages", make)


def _offsets_before_work(patches: Patches) -> None:
    """As auto-committed offsets: the place is kept first, and then the work is done, unless something comes between."""
    from isthmus.failpoints import failpoint_async
    from isthmus.read_models.projections import run
    from isthmus.read_models.projections.facts import facts_of
    from isthmus.read_models.projector import Projector

    def make(_: Any) -> Any:
        async def transaction(self: Any, steps: Any, *, patient: bool, **_: Any) -> dict[int, int]:
            async with self.pool.acquire() as connection, connection.transaction():
                stored = await run._lock(connection, run.CURRENT, sorted(steps), patient)
                takes = {number: steps[number] for number in stored}
                await connection.execute(
                    "update read_models.projection_positions p set position = greatest(p.position, u.position) "
                    "from unnest($1::smallint[], $2::bigint[]) as u (partition, position) where p.partition = u.partition",
                    list(takes),
                    [step.end for step in takes.values()],
                )
            await failpoint_async("projector.before_apply")
            async with self.pool.acquire() as connection, connection.transaction():
                facts = facts_of(record for step in takes.values() for record in step.records)
                await run._apply(connection, run.CURRENT, run._by_partition(facts), stored)
            return {number: step.end for number, step in takes.items()}

        return transaction

    patches.replace(Projector, "_transaction", make)


def _stale_balance(patches: Patches) -> None:
    """As a cache that is believed without asking how old it is."""
    from isthmus.read_models.balances import BalanceReader

    kept: dict[Any, Any] = {}
    turn = itertools.count()

    def make(load_many: Any) -> Any:
        async def from_memory(self: Any, sight: Any, keys: Any) -> Any:
            found = await load_many(self, sight, keys)
            old = [kept.setdefault(key, figures) for key, figures in zip(keys, found, strict=True)]
            return old if next(turn) % 2 else found

        return from_memory

    patches.replace(BalanceReader, "load_many", make)


def _resume_from_latest(patches: Patches) -> None:
    from isthmus.read_models.feeds import BalanceFeed

    def make(subscribe: Any) -> Any:
        async def from_now(self: Any, account_ids: Any, sight: Any, _after: Any = None) -> Any:
            return await subscribe(self, account_ids, sight, None)

        return from_now

    patches.replace(BalanceFeed, "subscribe", make)


def _pay_again(patches: Patches) -> None:
    """As a key that is made where the bank is asked, and not where the payment is."""
    from uuid import uuid4

    from isthmus.domain.paying import PaymentOrder
    from isthmus.integrations.payments.truelayer_payouts import TrueLayerPayouts

    patches.replace(PaymentOrder, "idempotency_key", lambda _: property(lambda _self: str(uuid4())))

    def make(send: Any) -> Any:
        async def twice(self: Any, order: Any) -> Any:
            await send(self, order)
            return await send(self, order)

        return twice

    patches.replace(TrueLayerPayouts, "send", make)


def _note_twice(patches: Patches) -> None:
    """As a journal's id that is made where it is written: whoever writes it again writes another one."""
    from uuid import uuid4

    from isthmus.domain import payments_at_bank
    from isthmus.domain.ledger import apply

    def make(memo: Any) -> Any:
        def twice(book: Any, journal_id: Any, *what: Any) -> Any:
            noted, after = memo(book, journal_id, *what), dict(book)
            apply(after, noted)
            return [*noted, *memo(after, uuid4(), *what)]

        return twice

    patches.replace(payments_at_bank, "memo", make)


SABOTAGES: Mapping[str, Sabotage] = {
    "no_unique_key": Sabotage("a key that came before is not recognised", "O4", _no_unique_key),
    "forget_body_hash": Sabotage("a used key with another body gets the first body's answer", "O4", _forget_body_hash),
    "no_lock": Sabotage("balances are read without a lock and written over each other", "O2", _no_lock),
    "ack_before_commit": Sabotage(
        "clients are answered before the commit", "O4", _ack_before_commit, fail="commit.before:9:raise"
    ),
    "publish_after_commit": Sabotage(
        "integration events are published beside the transaction, and some are lost",
        "O7",
        sql="create function lose_some() returns trigger language plpgsql as "
        "$$ begin if new.position % 7 = 0 then return null; end if; return new; end $$; "
        "create trigger lose_some before insert on outbox for each row execute function lose_some()",
    ),
    "skip_in_relay": Sabotage("the relay passes events by", "O7", _skip_in_relay, seen_in="relay"),
    "publish_out_of_order": Sabotage("a batch is published back to front", "O7", _publish_out_of_order, seen_in="relay"),
    "offsets_before_work": Sabotage(
        "a projector keeps its place before its work is done", "O7", _offsets_before_work,
        fail="projector.before_apply:1:raise", seen_in="projections",
    ),
    "stale_balance": Sabotage("balances come from a cache of any age", "O5", _stale_balance, seen_in="reads"),
    "resume_from_latest": Sabotage("who comes back hears only what is new", "O8", _resume_from_latest, seen_in="live"),
    "pay_again": Sabotage("a payment that is sent again is another one for the bank", "O6", _pay_again, seen_in="bank"),
    "note_twice": Sabotage("a payment from a linked bank is noted twice", "O6", _note_twice, seen_in="bank"),
}  # fmt: skip


def find(name: str) -> Sabotage:
    """Raises SettingsError naming those that there are."""
    if name not in SABOTAGES:
        raise SettingsError(f"{name} is no sabotage; there are {', '.join(SABOTAGES)}")
    return SABOTAGES[name]


def sabotage(name: str) -> Patches:
    """Put a bug back into this process. Raises SettingsError naming those that there are."""
    patches = Patches()
    find(name).patch(patches)
    return patches


@contextmanager
def sabotaged(name: str | None) -> Iterator[None]:
    """Within a test; None changes nothing."""
    patches = sabotage(name) if name is not None else Patches()
    try:
        yield
    finally:
        patches.undo()
