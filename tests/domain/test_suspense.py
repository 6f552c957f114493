"""Money in suspense leaves it by two operators' word, to neither of them, once: to whose it is, or back to whoever sent it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from isthmus.domain import pay_ins, reconciliation_cases, suspense
from isthmus.domain.accounts import Account, AccountType, open_house_account
from isthmus.domain.deposits import bank_account_code
from isthmus.domain.identifiers import house_account_id
from isthmus.domain.ledger import AccountState, LedgerEvent, apply
from isthmus.domain.pay_ins import ReceivePayIn, pay_in_journal_id, suspense_account_id
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.reconciliation_cases import (
    Case,
    ClosedBy,
    CloseReconciliationCase,
    Difference,
    OpenReconciliationCase,
    ReconciliationCaseClosed,
    ReconciliationCaseOpened,
)
from isthmus.domain.refusals import Refusal, RefusalCode
from isthmus.domain.suspense import ConfirmSuspenseDecision, ProposeSuspenseDecision
from isthmus.domain.suspense_decisions import SuspenseDecided

CODE = RefusalCode
ADA, OLGA, OTTO, ACCOUNT, OTHER = uuid4(), uuid4(), uuid4(), uuid4(), uuid4()
REASON = PersonalText("", Sealed(f"sealed:v1:{OLGA}:AAAA"))
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
SUSPENSE, BANK = suspense_account_id("bank", "EUR"), house_account_id(bank_account_code("bank", "EUR"))


@dataclass
class World:
    """25.00 came that nobody knows whose it is. Words of operators: `olga` unless told. None is Yes."""

    book: dict[UUID, AccountState] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)
    booked: bool = False

    def __post_init__(self) -> None:
        for key, person in ((ACCOUNT, ADA), (OTHER, OTTO)):
            owned = Account(key, "user", AccountType.LIABILITY, "EUR", person, may_overdraw=False)
            self.book[key] = AccountState(owned)
        came = ReceivePayIn("bank", "EUR", "e-1", Decimal("25.00"), NOW)
        assert self._take(pay_ins.receive(self.book, False, came)) is None

    @property
    def case(self) -> Case:
        folded = reconciliation_cases.fold(self.events)
        assert folded is not None
        return folded

    def money(self) -> tuple[Decimal, ...]:
        """In suspense, at the bank, Ada's."""
        return tuple(self.book[key].posted for key in (SUSPENSE, BANK, ACCOUNT))

    def propose(self, account: UUID | None = ACCOUNT, entry: str | None = None, by: UUID = OLGA) -> RefusalCode | None:
        about = self.case.opened.case_id, "bank", "EUR"
        wish = ProposeSuspenseDecision(*about, uuid4(), account, entry, by, REASON)
        return self._take(suspense.propose(self.book, self.booked, self.case, wish))

    def confirm(self, by: UUID = OTTO, **shown: Any) -> RefusalCode | None:
        standing = self.case.proposed
        told = {
            "proposal_id": standing.proposal_id if standing is not None else uuid4(),
            "account_id": standing.account_id if standing is not None else None,
            "return_entry": standing.return_entry if standing is not None else None,
        } | shown
        wish = ConfirmSuspenseDecision(self.case.opened.case_id, "bank", "EUR", **told, operator=by)
        return self._take(suspense.confirm(self.book, self.booked, self.case, wish))

    def _take(self, decided: Any) -> RefusalCode | None:
        if isinstance(decided, Refusal):
            return decided.code
        apply(self.book, [one for one in decided if isinstance(one, LedgerEvent)])
        self.events += [one for one in decided if not isinstance(one, LedgerEvent)]
        return None


def test_one_operator_says_whose_it_is_and_it_is_theirs_when_another_confirms_it() -> None:
    world = World()
    assert reconciliation_cases.resolve(world.case) == [], "no run ends that"

    assert world.propose() is None
    assert (world.money(), world.case.closed_by) == ((25, 25, 0), None), "nothing came of it yet"
    assert world.confirm(by=OLGA) is CODE.SECOND_OPERATOR_NEEDED
    proposed = world.case.proposed
    assert proposed is not None
    assert world.confirm() is None

    assert world.money() == (0, 25, 25)
    *_, decided, closed = world.events
    told = (proposed.proposal_id, ACCOUNT, None, OLGA, OTTO)
    assert decided == SuspenseDecided(proposed.case_id, told[0], told[0], *told[1:])
    assert closed == ReconciliationCaseClosed(proposed.case_id, ClosedBy.OPERATOR, REASON.ciphertext())
    assert (world.case.closed_by, world.case.proposed) == (ClosedBy.OPERATOR, None)
    assert world.confirm() is CODE.INVALID_INPUT, "it is gone, and who is told otherwise would believe it"
    assert world.propose() is CODE.INVALID_INPUT


def test_whoever_would_have_the_money_neither_proposes_nor_confirms_it() -> None:
    world = World()

    assert world.propose(OTHER, by=OTTO) is CODE.ACCOUNT_NOT_FOUND
    assert world.propose(OTHER, by=OLGA) is None
    assert world.confirm(by=OTTO) is CODE.SECOND_OPERATOR_NEEDED
    assert world.book[OTHER].posted == 0
    assert world.confirm(by=ADA) is None
    assert world.book[OTHER].posted == 25


def test_what_is_confirmed_is_what_stands_and_what_was_shown() -> None:
    world = World()
    assert world.confirm() is CODE.CASE_PROPOSAL_OVER, "nobody proposed anything"
    assert world.propose(ACCOUNT) is None
    first = world.case.proposed
    assert first is not None
    assert world.propose(None, "e-2") is None

    assert (
        world.confirm(proposal_id=first.proposal_id, account_id=ACCOUNT, return_entry=None) is CODE.CASE_PROPOSAL_OVER
    )
    assert world.confirm(account_id=OTHER, return_entry=None) is CODE.CASE_PROPOSAL_OVER, "another was shown"
    assert world.confirm(return_entry="e-3") is CODE.CASE_PROPOSAL_OVER
    assert world.money() == (25, 25, 0)


def test_what_went_back_is_booked_under_the_journal_that_the_statement_leads_to_once() -> None:
    world = World()
    world.booked = True
    assert world.propose(None, "e-2") is CODE.INVALID_INPUT, "that entry is something else"
    world.booked = False
    assert world.propose(None, "e-2") is None
    world.booked = True
    assert world.confirm() is CODE.INVALID_INPUT, "it was booked since"
    world.booked = False

    assert world.confirm() is None

    assert world.money() == (0, 0, 0)
    decided = world.events[-2]
    assert (decided.journal_id, decided.return_entry) == (pay_in_journal_id("bank", "e-2"), "e-2")


def test_it_goes_to_an_account_of_a_persons_that_takes_it_when_it_is_confirmed() -> None:
    world = World()
    house = uuid4()
    opened = open_house_account(house, "revenue:fees:EUR", AccountType.LIABILITY, "EUR", may_overdraw=False)
    apply(world.book, opened)
    dollars = uuid4()
    world.book[dollars] = AccountState(Account(dollars, "user", AccountType.LIABILITY, "USD", ADA, may_overdraw=False))

    assert world.propose(house) is CODE.ACCOUNT_NOT_FOUND, "it is nobody's there either"
    assert world.propose(uuid4()) is CODE.ACCOUNT_NOT_FOUND
    assert world.propose(dollars) is CODE.ASSET_MISMATCH
    assert world.propose() is None
    closed = Account(ACCOUNT, "user", AccountType.LIABILITY, "EUR", ADA, may_overdraw=False, closed=True)
    world.book[ACCOUNT] = AccountState(closed)
    assert world.confirm() is CODE.ACCOUNT_CLOSED
    assert world.money() == (25, 25, 0)


def test_no_case_is_closed_over_money_and_a_difference_has_none_to_give() -> None:
    world = World()
    closing = reconciliation_cases.close(world.case, CloseReconciliationCase(world.case.opened.case_id, OLGA, REASON))
    assert isinstance(closing, Refusal)
    assert closing.code is CODE.MONEY_IN_SUSPENSE

    about = (uuid4(), "bank", "EUR", Difference.EXTRA, None, "e-9", None, Decimal("-5"), NOW)
    world.events = list(
        reconciliation_cases.open_case(None, OpenReconciliationCase(ReconciliationCaseOpened(*about)))  # type: ignore[arg-type]
    )
    assert world.propose() is CODE.RECONCILIATION_CASE_NOT_FOUND
    assert world.confirm() is CODE.RECONCILIATION_CASE_NOT_FOUND
