"""Batches: several payees are paid from one account under one challenge, which binds the total and every one of them.

RTS 2018/389 Art. 5(3)(b). Each line is a payment of its own and goes on by itself; what they have in common is the challenge, and the
digest over all of them. Until it is answered, whoever takes one back has changed the batch, and nothing of it goes on. It is made anew of
all lines before any of them is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from isthmus.domain import compliance, payment_initiation, payments, sca, step_up
from isthmus.domain.compliance import Ruling
from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.ledger import Book, LedgerEvent, apply
from isthmus.domain.money import add
from isthmus.domain.payment_events import Payment, PaymentEvent, PaymentRejected, S
from isthmus.domain.payment_initiation import InitiatePayment
from isthmus.domain.refusals import InvalidInput, Refusal, ScaRejected

PAYMENTS_MAX = 100


@dataclass(frozen=True)
class BatchInitiated:
    """`digest`: of the dynamic link over all payments, which the challenge is bound to; each of them has it, too."""

    batch_id: UUID
    owner: UUID
    from_account_id: UUID
    asset: str
    total: Decimal
    payment_ids: tuple[UUID, ...]
    digest: str
    challenge_id: UUID


BatchEvent = BatchInitiated


@dataclass(frozen=True)
class Batch:
    """Folded from its events, with its payments as they are, where they are at hand."""

    initiated: BatchInitiated
    payments: tuple[Payment, ...] = ()


@dataclass(frozen=True)
class InitiateBatch:
    """`lines`: all of one account and asset, with the batch's challenge, digest and id."""

    batch_id: UUID
    challenge_id: UUID
    owner: UUID
    lines: tuple[InitiatePayment, ...]

    @property
    def asset(self) -> str:
        return self.lines[0].asset

    @property
    def total(self) -> Decimal:
        total = Decimal(0)
        for line in self.lines:
            total = add(total, line.amount)
        return total


Events = Sequence[BatchEvent | PaymentEvent | sca.ScaEvent | sca.ScaGuardEvent | LedgerEvent]
Decision = Events | Refusal


def fold(events: Iterable[object]) -> Batch | None:
    """None where the stream is another thing's, or nobody's."""
    return next((Batch(event) for event in events if isinstance(event, BatchInitiated)), None)


def count_fault(count: int) -> Refusal | None:
    if not 1 <= count <= PAYMENTS_MAX:
        return InvalidInput(f"A batch has 1 to {PAYMENTS_MAX} payments.", ("input", "payments"))
    return None


def initiate(book: Book, guard: sca.Guard, used: Decimal, wish: InitiateBatch, now: datetime) -> Decision:
    """All or nothing: the money of each is reserved, and counted before the next. Where compliance refuses one, it refuses all."""
    if (no := step_up.blocked(guard, now)) is not None:
        return no
    first, refused = wish.lines[0], any(line.verdict.ruling is Ruling.REFUSE for line in wish.lines)
    ids = tuple(line.payment_id for line in wish.lines)
    mine = BatchInitiated(
        wish.batch_id,
        wish.owner,
        first.from_account_id,
        first.asset,
        wish.total,
        ids,
        first.digest,
        wish.challenge_id,
    )
    after, events = dict(book), list[BatchEvent | PaymentEvent | sca.ScaEvent | sca.ScaGuardEvent | LedgerEvent]([mine])
    for n, line in enumerate(wish.lines):
        made = payment_initiation.made(after, used, line, now, held=not refused)
        if isinstance(made, Refusal):
            return replace(made, path=place(n, made.path))
        apply(after, [event for event in made if isinstance(event, LedgerEvent)])
        used = add(used, line.amount)
        events += made
        if refused:
            events.append(PaymentRejected(line.payment_id, line.owner, compliance.REFUSED))
    if refused:
        return events
    challenge = sca.ScaChallengeIssued(
        wish.challenge_id, wish.owner, Purpose.BATCH, wish.batch_id, first.digest, first.method, first.expires_at
    )
    return [*events, challenge]


def place(n: int, path: tuple[str, ...]) -> tuple[str, ...]:
    """Where in the batch's input a payment's field is."""
    return path if path[-1:] == ("fromAccountId",) or not path else ("input", "payments", str(n), *path[1:])


def answer(
    book: Book, challenge: sca.Challenge, guard: sca.Guard, batch: Batch | None, proof: sca.Proof, now: datetime
) -> payments.Decision:
    """To a challenge of this person's for this batch (`sca_answers.py`): one answer moves every payment on."""
    no = ScaRejected("The answer is not accepted.")
    if batch is None or batch.initiated.digest != challenge.issued.digest:
        return no
    whole = {payment.payment_id for payment in batch.payments} == set(batch.initiated.payment_ids)
    if not whole or any(payment.state is not S.AWAITING_SCA for payment in batch.payments):
        return no
    answered = sca.answer(challenge, guard, proof, now)
    if not answered.events:
        return no
    if not answered.passed:
        return list(answered.events)
    by = sca.proof_name(challenge, proof)
    on = [event for payment in batch.payments for event in payments.goes_on(book, payment, by)]
    return [*answered.events, *on]
