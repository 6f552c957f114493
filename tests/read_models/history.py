"""A history with everything in it that a projection must understand, made through the command bus."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from isthmus.domain.accounts import CloseAccount, Direction, FreezeAccount, RenameAccount, UnfreezeAccount
from isthmus.domain.clock import SettableClock
from isthmus.domain.holds import PostHold, ReserveFunds, ReverseJournal, VoidHold
from isthmus.domain.ledger import JournalDraft, JournalKind, Leg
from isthmus.domain.personal import PersonalText
from tests.write_models.driver import Driver, journal_of


@dataclass
class History:
    """Who and what was made; `position` is the log's end."""

    ada: UUID = field(default_factory=uuid4)
    grace: UUID = field(default_factory=uuid4)
    accounts: dict[str, UUID] = field(default_factory=dict)
    holds: dict[str, UUID] = field(default_factory=dict)
    position: int = 0


def legs(source: UUID, target: UUID, amount: str, asset: str = "EUR") -> tuple[Leg, ...]:
    value = Decimal(amount)
    return Leg(source, Direction.DEBIT, value, asset), Leg(target, Direction.CREDIT, value, asset)


async def hold(ledger: Driver, source: UUID, target: UUID, amount: str) -> UUID:
    hold_id = uuid4()
    draft = JournalDraft(hold_id, JournalKind.RESERVATION, legs(source, target, amount))
    await ledger.done(ReserveFunds(draft, None))
    return hold_id


async def rich(ledger: Driver, clock: SettableClock) -> History:
    """Opened, renamed, frozen, unfrozen, closed; deposits, transfers, a reversal that leaves an account below zero and what
    mends it; holds that are open, posted whole, posted in part and voided."""
    made = History()
    for name, owner, amount in (("one", made.ada, "100"), ("two", made.ada, "50"), ("three", made.grace, "70")):
        made.accounts[name] = await ledger.funded(owner, amount)
        clock.advance(timedelta(seconds=1))
    one, two, three = (made.accounts[name] for name in ("one", "two", "three"))
    made.accounts["empty"] = await ledger.open(made.grace, "ETH", "Coins")
    for n in range(6):
        await ledger.transfer(made.ada, one, three, f"{n + 1}.{n}1")
        await ledger.transfer(made.grace, three, two, f"{n}.5" if n else "0.05")
        clock.advance(timedelta(milliseconds=10))
    await ledger.done(RenameAccount(two, made.ada, PersonalText("Savings")), person=made.ada)
    await ledger.done(FreezeAccount(three))
    await ledger.done(UnfreezeAccount(three))
    await ledger.done(CloseAccount(made.accounts["empty"], made.grace), person=made.grace)
    for name in ("open", "whole", "part", "void"):
        made.holds[name] = await hold(ledger, one, three, "4.25")
    await ledger.done(PostHold(made.holds["whole"], uuid4()))
    await ledger.done(PostHold(made.holds["part"], uuid4(), legs(one, three, "1.25")))
    await ledger.done(VoidHold(made.holds["void"]))
    deposited = await ledger.deposit(made.accounts["two"], made.ada, "30")
    await ledger.transfer(made.ada, two, three, "90")
    reversal = ReverseJournal(journal_of(deposited).journal_id, uuid4(), made.ada, None)
    await ledger.done(reversal)
    last = await ledger.deposit(two, made.ada, "500")
    made.position = last.position
    return made
