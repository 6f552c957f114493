"""One payer, one payment, and everything that can happen to it, as the domain decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from isthmus.domain import (
    payment_events,
    payment_initiation,
    payment_news,
    payments,
    sca,
    sca_answers,
)
from isthmus.domain.accounts import Account, AccountType
from isthmus.domain.compliance import Limits, Ruling, Verdict
from isthmus.domain.ledger import (
    AccountState,
    Hold,
    HoldVoided,
    JournalPosted,
    JournalReserved,
    LedgerEvent,
    apply,
    evolve_hold,
)
from isthmus.domain.payment_events import PaymentState, Source
from isthmus.domain.payment_initiation import InitiatePayment
from isthmus.domain.payment_news import PaymentNews, ProviderPayment, RecordPaymentNews
from isthmus.domain.payments import CancelPayment, StartSubmission
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.refusals import Refusal, RefusalCode
from isthmus.domain.sca_answers import AnswerScaChallenge

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ADA, ACCOUNT = uuid4(), uuid4()
RIGHT, WRONG = sca.CodeProof(True), sca.CodeProof(False)
DIGEST = "d" * 64
ALLOWED = Verdict(Ruling.ALLOW, "sanctions-name-clear", "1")
LIMITS = Limits(Decimal(1_000), Decimal(2_000))


class World:
    """One account with 100.00, one payment of 30.00, and everything that can happen to it."""

    def __init__(self, source: Source = Source.OWN) -> None:
        owned = Account(ACCOUNT, "user", AccountType.LIABILITY, "GBP", ADA, may_overdraw=False)
        self.book: dict[UUID, AccountState] = {ACCOUNT: AccountState(owned, posted=Decimal(100))}
        self.now = NOW
        self.source = source
        self.events: list[Any] = []
        self.payment_id, self.challenge_id = uuid4(), uuid4()
        self.hold: Hold | None = None
        self.used = Decimal(0)
        self.refusal: Refusal | None = None

    def take(self, decided: payments.Decision) -> RefusalCode | None:
        if isinstance(decided, Refusal):
            self.refusal = decided
            return decided.code
        for event in decided:
            if isinstance(event, LedgerEvent):
                apply(self.book, [event])
            if isinstance(event, JournalReserved | JournalPosted | HoldVoided):
                self.hold = evolve_hold(self.hold, event)
        self.events += decided
        return None

    @property
    def payment(self) -> payment_events.Payment | None:
        return payment_events.fold(self.events)

    @property
    def attempts(self) -> int:
        return self.payment.attempts if self.payment is not None else 0

    @property
    def challenge(self) -> sca.Challenge | None:
        return sca.fold(self.events)

    @property
    def guard(self) -> sca.Guard:
        return sca.fold_guard(self.events, self.now)

    @property
    def state(self) -> Any:
        assert self.payment is not None
        return self.payment.state

    def initiate(self, amount: str = "30", **other: Any) -> RefusalCode | None:
        def text(plain: str) -> PersonalText:
            return PersonalText("", Sealed(f"sealed:v1:{ADA}:{plain}"))

        wish: dict[str, Any] = {
            "payment_id": self.payment_id,
            "challenge_id": self.challenge_id,
            "owner": ADA,
            "source": self.source,
            "from_account_id": ACCOUNT,
            "provider": "truelayer",
            "amount": Decimal(amount),
            "asset": "GBP",
            "payee_name": text("n"),
            "payee_account": text("a"),
            "reference": None,
            "digest": DIGEST,
            "method": sca.Method.ONE_TIME_CODE,
            "expires_at": self.now + sca.CODE_LIFE,
            "verdict": ALLOWED,
            "limits": LIMITS,
        }
        used = self.used
        return self.take(
            payment_initiation.initiate(self.book, self.guard, used, InitiatePayment(**(wish | other)), self.now)
        )

    def answer(self, proof: sca.Proof = RIGHT, **other: Any) -> RefusalCode | None:
        wish = AnswerScaChallenge(self.challenge_id, self.payment_id, ADA, DIGEST, proof, ACCOUNT)
        decided: Any = sca_answers.answer(
            self.book, self.challenge, self.guard, self.payment, None, replace(wish, **other), self.now
        )
        return self.take(decided)

    def cancel(self, owner: UUID = ADA) -> RefusalCode | None:
        wish = CancelPayment(self.payment_id, self.challenge_id, owner)
        return self.take(payments.cancel(self.book, self.hold, self.payment, self.challenge, wish, self.now))

    def expire(self) -> RefusalCode | None:
        return self.take(payments.expire(self.book, self.hold, self.payment, self.challenge, self.now))

    def submit(self, digest: str = DIGEST) -> RefusalCode | None:
        wish = StartSubmission(self.payment_id, self.challenge_id, digest)
        return self.take(payments.start_submission(self.book, self.hold, self.payment, self.challenge, wish, self.now))

    def hear(self, state: ProviderPayment, told: str = "", **other: Any) -> RefusalCode | None:
        wish = RecordPaymentNews(self.payment_id, PaymentNews(state, told or state, **other), uuid4())
        return self.take(payment_news.record_news(self.book, self.hold, self.payment, wish, self.now))

    @property
    def mine(self) -> Any:
        """(posted, reserved)."""
        return self.book[ACCOUNT].posted, self.book[ACCOUNT].pending_out


def made(source: Source = Source.OWN) -> World:
    world = World(source)
    assert world.initiate() is None
    return world


def authorised(source: Source = Source.OWN) -> World:
    world = made(source)
    assert world.answer() is None
    assert world.state is PaymentState.AUTHORISED
    return world


def submitted(source: Source = Source.OWN) -> World:
    world = authorised(source)
    assert world.submit() is None
    assert world.hear(ProviderPayment.SUBMITTED, reference="p1") is None
    assert world.state is PaymentState.SUBMITTED
    return world
