"""Where payments are made, answered for and taken back: what a person wishes, put together into commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID, uuid4

from isthmus.domain import sca
from isthmus.domain.clock import Clock
from isthmus.domain.compliance import Compliance, Intent, Movement
from isthmus.domain.identifiers import IdSource
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.paying import PaymentOrder
from isthmus.domain.payment_review import RefusePayment, ReleasePayment
from isthmus.domain.payments import (
    AnswerScaChallenge,
    CancelPayment,
    InitiatePayment,
    PaymentInitiated,
    Source,
)
from isthmus.domain.personal import PersonalText, PersonalTexts
from isthmus.domain.refusals import LimitExceeded, PaymentNotFound, PaymentNotInReview, ScaRejected
from isthmus.write_models.commands import CommandBus, Done, Envelope, Outcome, Refused
from isthmus.write_models.connection import Pool
from isthmus.write_models.one_time_codes import OneTimeCodes
from isthmus.write_models.payment_rows import PaymentRow, dynamic_link, find_payment, find_payment_of_challenge
from isthmus.write_models.velocity import NoVelocity, Velocity, quick_no


@dataclass(frozen=True)
class PaymentWish:
    from_account_id: UUID
    amount: Decimal
    asset: str
    payee_name: str = field(repr=False)
    payee_account: PayeeAccount = field(repr=False)
    reference: str = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """What a person answers a challenge with: one of these."""

    one_time_code: str | None = field(default=None, repr=False)


class PaymentDesk:
    """`payouts`: the name of who pays from the platform's money."""

    def __init__(
        self,
        pool: Pool,
        commands: CommandBus,
        texts: PersonalTexts,
        codes: OneTimeCodes,
        clock: Clock,
        ids: IdSource,
        payouts: str,
        compliance: Compliance,
        velocity: Velocity | None = None,
    ) -> None:
        self._pool = pool
        self._commands = commands
        self._texts = texts
        self._codes = codes
        self._clock = clock
        self._ids = ids
        self._payouts = payouts
        self._compliance = compliance
        self._velocity = velocity or NoVelocity()

    async def initiate(self, person: UUID, wish: PaymentWish, envelope: Envelope) -> tuple[UUID, Done] | Refused:
        """The payment's id, and what was recorded. Raises Unavailable: send it again with the same key."""
        payment_id, now = self._ids(), self._clock.now()
        limits = self._compliance.limits(wish.asset)
        no = await quick_no(self._velocity, self._pool, limits, envelope, wish.asset, wish.amount, now)
        if no is not None:
            return Refused(no, 0)
        intent = Intent(Movement.PAYMENT, payment_id, person, wish.asset, wish.amount, (wish.payee_name,))
        verdict = await self._compliance.decide(intent)
        order = PaymentOrder(payment_id, wish.amount, wish.asset, wish.payee_name, wish.payee_account, wish.reference)
        outcome = await self._commands.run(
            InitiatePayment(
                payment_id,
                self._ids(),
                person,
                Source.OWN,
                wish.from_account_id,
                self._payouts,
                wish.amount,
                wish.asset,
                PersonalText(wish.payee_name),
                PersonalText(wish.payee_account.text()),
                PersonalText(wish.reference) if wish.reference else None,
                dynamic_link(order, wish.from_account_id).digest(),
                sca.Method.ONE_TIME_CODE,
                now + sca.CODE_LIFE,
                verdict,
                limits,
            ),
            envelope,
        )
        if isinstance(outcome, Refused):
            no = outcome.refusal if isinstance(outcome.refusal, LimitExceeded) else None
            if no is not None and no.resets_at is not None and no.used is not None:
                await self._velocity.remember(person, wish.asset, no.used.amount, now)
            return outcome
        made = next(one.event for one in outcome.events if isinstance(one.event, PaymentInitiated))
        return made.payment_id, outcome

    async def answer(
        self, person: UUID, challenge_id: UUID, given: Answer, envelope: Envelope
    ) -> tuple[UUID, Done] | Refused:
        """The payment's id, and what became of the answer. One that is not accepted is refused, whatever was wrong, and counted."""
        async with self._pool.acquire() as connection:
            row = await find_payment_of_challenge(connection, self._texts, challenge_id)
        if row is None or row.owner != person:
            return Refused(ScaRejected("The answer is not accepted."), 0)
        proof = self._proof(row, given)
        wish = AnswerScaChallenge(challenge_id, row.payment_id, person, row.from_account_id, proof)
        outcome = await self._commands.run(wish, envelope)
        if isinstance(outcome, Refused):
            return Refused(await self._rejected(row), outcome.position)
        if not any(isinstance(one.event, sca.ScaPassed) for one in outcome.events):
            return Refused(await self._rejected(row), outcome.position)
        return row.payment_id, outcome

    async def cancel(self, person: UUID, payment_id: UUID, envelope: Envelope) -> Outcome:
        async with self._pool.acquire() as connection:
            row = await find_payment(connection, self._texts, payment_id)
        if row is None or row.owner != person:
            return Refused(PaymentNotFound("There is no such payment.", ("input", "paymentId")), 0)
        outcome = await self._commands.run(CancelPayment(payment_id, row.challenge_id, person), envelope)
        await self._velocity.forget(person, row.asset, self._clock.now())
        return outcome

    async def judge(self, operator: UUID, payment_id: UUID, envelope: Envelope, *, release: bool) -> Outcome:
        """An operator's word on what waits for it."""
        async with self._pool.acquire() as connection:
            row = await find_payment(connection, self._texts, payment_id)
        if row is None:
            return Refused(
                PaymentNotInReview("No payment of that id waits for your judgement.", ("input", "paymentId")), 0
            )
        kind = ReleasePayment if release else RefusePayment
        return await self._commands.run(kind(payment_id, row.challenge_id, operator), envelope)

    def _proof(self, row: PaymentRow, given: Answer) -> sca.Proof:
        return sca.CodeProof(self._codes.holds(row.challenge_id, row.digest, given.one_time_code or ""))

    async def _rejected(self, row: PaymentRow) -> ScaRejected:
        """What the challenge's own person may know: how it stands, and how often they may still be wrong."""
        now = self._clock.now()
        async with self._pool.acquire() as connection:
            standing = await connection.fetchrow(
                "select c.state, c.expires_at, coalesce(g.failures, 0) as failures, g.blocked_until from sca_challenges c "
                "left join sca_guards g on g.owner = c.owner where c.id = $1",
                row.challenge_id,
            )
        assert standing is not None, "it was answered just now"
        state = standing["state"]
        if state == sca.ChallengeState.PENDING and standing["expires_at"] <= now:
            state = sca.ChallengeState.EXPIRED
        blocked = standing["blocked_until"] is not None and now < standing["blocked_until"]
        left = 0 if blocked or state != sca.ChallengeState.PENDING else sca.FAILURES_MAX - standing["failures"]
        return ScaRejected("The answer is not accepted.", attempts_left=left, challenge_state=state)

    @staticmethod
    def key_of_answer() -> str:
        """Every answer is another: one that comes twice is answered twice, and the second time the challenge is over."""
        return uuid4().hex
