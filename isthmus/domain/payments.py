"""Payments: someone pays a payee from an account here or at a bank, and every payment comes to one end.

Here is what people and the process manager wish, and what is decided on it; what a provider says is decided on in `payment_news.py`.
From an account here the money is reserved when the payment is made, leaves when it is executed, and is released on every way that
ends otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from isthmus.domain import compliance, journals, sca
from isthmus.domain.accounts import AccountType, Direction, open_house_account
from isthmus.domain.compliance import Limits, Ruling, Verdict
from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.exemptions import NO_EXEMPTIONS, NOBODY_KNOWN, ExemptionRules, Standing, Unproven, exempt
from isthmus.domain.identifiers import house_account_id
from isthmus.domain.ledger import (
    Book,
    Hold,
    JournalDraft,
    JournalKind,
    LedgerEvent,
    Leg,
    VoidReason,
    apply,
)
from isthmus.domain.payment_events import (
    REVIEW,
    UNKNOWN_STATUS,
    Payment,
    PaymentAuthorised,
    PaymentCancelled,
    PaymentEvent,
    PaymentExempted,
    PaymentExpired,
    PaymentInitiated,
    PaymentParked,
    PaymentRejected,
    PaymentScreened,
    PaymentSubmissionStarted,
    S,
    Source,
    clearing_code,
    hold_id_of,
)
from isthmus.domain.payment_payees import PayeeCheck, payee_checked
from isthmus.domain.personal import PersonalText
from isthmus.domain.reconciliation_cases import CaseEvent
from isthmus.domain.refusals import (
    AccountClosedRefusal,
    AccountFrozenRefusal,
    AccountNotFound,
    AssetMismatch,
    InsufficientFunds,
    PaymentNotCancellable,
    PaymentNotFound,
    Refusal,
    ScaBlockedRefusal,
    ScaRejected,
)

REFERENCE_LENGTH_MAX = 18
PAYEE_NAME_LENGTH_MAX = 140
_FROM, _AMOUNT = ("input", "fromAccountId"), ("input", "amount")


@dataclass(frozen=True)
class InitiatePayment:
    payment_id: UUID
    challenge_id: UUID
    owner: UUID
    source: Source
    from_account_id: UUID
    provider: str
    amount: Decimal
    asset: str
    payee_name: PersonalText
    payee_account: PersonalText
    reference: PersonalText | None
    digest: str
    method: sca.Method
    expires_at: datetime
    verdict: Verdict
    limits: Limits
    exemptions: ExemptionRules = NO_EXEMPTIONS
    standing: Standing = NOBODY_KNOWN
    #: What the payer is told of the payee; None where nobody was asked.
    payee_check: PayeeCheck | None = None
    matched_name: PersonalText | None = None
    resembles_name: PersonalText | None = None
    resembles_account: PersonalText | None = None
    batch_id: UUID | None = None
    line: int = 0
    #: The payer's own account here that is topped up.
    credits: UUID | None = None

    @property
    def person(self) -> UUID:
        """Whose key seals the texts."""
        return self.owner

    @property
    def clearing_id(self) -> UUID:
        return house_account_id(clearing_code(self.provider, self.asset))


@dataclass(frozen=True)
class CancelPayment:
    payment_id: UUID
    challenge_id: UUID
    owner: UUID


@dataclass(frozen=True)
class ExpirePayment:
    """The time has come to look whether its challenge is over."""

    payment_id: UUID
    challenge_id: UUID


@dataclass(frozen=True)
class StartSubmission:
    """`digest`: of what is about to be sent, made of what will be sent."""

    payment_id: UUID
    challenge_id: UUID
    digest: str


Events = Sequence[PaymentEvent | sca.ScaEvent | sca.ScaGuardEvent | LedgerEvent | CaseEvent]
Decision = Events | Refusal


def missing() -> Refusal:
    return PaymentNotFound("There is no such payment.", ("input", "paymentId"))


def initiate(
    book: Book, guard: sca.Guard, used: Decimal, wish: InitiatePayment, now: datetime, before: Unproven | None = None
) -> Decision:
    """From an account here the money is reserved now; from a bank's it is asked for once the person has answered. `used`: of the
    person's limit for the day; `before`: what they were not asked for. One that compliance refuses is recorded, with neither money
    reserved nor a challenge; one that a rule exempts is authorised at once, without a challenge."""
    if guard.blocked(now):
        return ScaBlockedRefusal("Too many wrong answers: nothing can be authorised for a while.")
    about, verdict = (wish.payment_id, wish.owner), wish.verdict
    begun = made(book, used, wish, now, held=verdict.ruling is not Ruling.REFUSE)
    if isinstance(begun, Refusal):
        return begun
    if verdict.ruling is Ruling.REFUSE:
        return [*begun, PaymentRejected(*about, compliance.REFUSED)]
    # What a bank asks for it asks itself, and what an operator is to judge is answered for first.
    ours = wish.source is Source.OWN and verdict.ruling is Ruling.ALLOW
    let = exempt(wish.exemptions, wish.standing, wish.asset, wish.amount, before or Unproven()) if ours else None
    if let is not None:
        exempted = PaymentExempted(*about, wish.asset, wish.amount, let.rule, let.version)
        return [*begun, exempted, PaymentAuthorised(*about, f"EXEMPTION {let.rule}")]
    return [
        *begun,
        sca.ScaChallengeIssued(
            wish.challenge_id,
            wish.owner,
            Purpose.PAYMENT,
            wish.payment_id,
            wish.digest,
            wish.method,
            wish.expires_at,
        ),
    ]


def made(
    book: Book, used: Decimal, wish: InitiatePayment, now: datetime, *, held: bool
) -> list[PaymentEvent | LedgerEvent] | Refusal:
    """The payment, screened, within the limits, and its money reserved where it is `held`: before anybody is asked."""
    own = wish.source is Source.OWN
    reserved = _reserve(book, wish) if own else []
    if isinstance(reserved, Refusal):
        return reserved
    # What a person brings here is theirs before and after: limits are for what leaves them.
    over = compliance.limit_fault(wish.limits, wish.asset, wish.amount, used, now) if wish.credits is None else None
    if over is not None:
        return over
    verdict = wish.verdict
    screened = PaymentScreened(wish.payment_id, wish.owner, verdict.ruling, verdict.rule, verdict.list_version)
    return [*(reserved if held else []), _initiated(wish, held=held and own), *payee_checked(wish), screened]


def _initiated(wish: InitiatePayment, *, held: bool) -> PaymentInitiated:
    return PaymentInitiated(
        wish.payment_id,
        wish.owner,
        wish.source,
        wish.from_account_id,
        wish.provider,
        wish.asset,
        wish.amount,
        wish.payee_name.ciphertext(),
        wish.payee_account.ciphertext(),
        wish.reference.ciphertext() if wish.reference else None,
        wish.digest,
        wish.challenge_id,
        hold_id_of(wish.payment_id) if held else None,
        wish.batch_id,
        wish.line,
        wish.credits,
    )


def _reserve(book: Book, wish: InitiatePayment) -> Sequence[LedgerEvent] | Refusal:
    source = book.get(wish.from_account_id)
    if source is None or source.account.owner != wish.owner:
        return AccountNotFound("There is no such account.", _FROM)
    if source.account.closed:
        return AccountClosedRefusal("The account is closed.", _FROM)
    if source.account.asset != wish.asset:
        return AssetMismatch(f"The account holds {source.account.asset}, not {wish.asset}.", (*_AMOUNT, "asset"))
    after, opened = dict(book), list[LedgerEvent]()
    if wish.clearing_id not in after:
        # What is on its way stands there below zero until the bank's account is credited for it.
        code = clearing_code(wish.provider, wish.asset)
        opened += open_house_account(wish.clearing_id, code, AccountType.ASSET, wish.asset, may_overdraw=True)
        apply(after, opened)
    legs = (
        Leg(wish.from_account_id, Direction.DEBIT, wish.amount, wish.asset),
        Leg(wish.clearing_id, Direction.CREDIT, wish.amount, wish.asset),
    )
    draft = JournalDraft(hold_id_of(wish.payment_id), JournalKind.PAYMENT, legs)
    decided = journals.reserve(after, draft, None)
    match decided:
        case InsufficientFunds():
            return replace(decided, path=_AMOUNT)
        case AccountFrozenRefusal():
            return replace(decided, path=_FROM)
        case Refusal():
            return decided
        case _:
            return [*opened, *decided]


def answer(
    book: Book, challenge: sca.Challenge, guard: sca.Guard, payment: Payment | None, proof: sca.Proof, now: datetime
) -> Decision:
    """To a challenge of this person's for this payment (`sca_answers.py`). A wrong answer is no refusal: it is written down. The caller
    finds in the events what became of it. What an operator is to judge is answered for like everything else, and waits then."""
    if payment is None or payment.state is not S.AWAITING_SCA:
        return ScaRejected("The answer is not accepted.")
    answered = sca.answer(challenge, guard, proof, now)
    if not answered.events:
        return ScaRejected("The answer is not accepted.")
    if not answered.passed:
        return list(answered.events)
    return [*answered.events, *goes_on(book, payment, sca.proof_name(challenge, proof))]


def goes_on(book: Book, payment: Payment, by: str) -> Sequence[PaymentEvent]:
    """What comes of a payment that its person has answered for."""
    about = (payment.payment_id, payment.owner)
    source = book.get(payment.initiated.from_account_id)
    # An account of ours that is not at hand is not known to be free: somebody changed what was read to find it.
    unfree = payment.initiated.source is Source.OWN if source is None else source.account.frozen
    verdict = compliance.frozen_account(unfree)
    if verdict.ruling is Ruling.REVIEW:
        screened = PaymentScreened(*about, verdict.ruling, verdict.rule, verdict.list_version)
        return [screened, PaymentParked(*about, REVIEW)]
    if payment.to_review:
        return [PaymentParked(*about, REVIEW)]
    return [PaymentAuthorised(*about, by)]


def ended(book: Book, hold: Hold | None, event: PaymentEvent, now: datetime) -> Events:
    """`event` ends the payment without money having moved; what was reserved is released."""
    return [*_released(book, hold, now), event]


def _released(book: Book, hold: Hold | None, now: datetime) -> Sequence[LedgerEvent]:
    if hold is None or hold.resolved:
        return []
    decided = journals.void_hold(book, hold, VoidReason.REQUESTED, now)
    assert not isinstance(decided, Refusal), "an open hold can be voided"
    return decided


def cancel(
    book: Book,
    hold: Hold | None,
    payment: Payment | None,
    challenge: sca.Challenge | None,
    wish: CancelPayment,
    now: datetime,
) -> Decision:
    """Until a submission was begun: from then on it may be at the bank."""
    if payment is None or payment.owner != wish.owner:
        return missing()
    if payment.state is S.CANCELLED:
        return []
    if payment.state not in (S.AWAITING_SCA, S.AUTHORISED) or payment.attempts:
        return PaymentNotCancellable("It is too late to cancel the payment.", ("input", "paymentId"))
    # Of a batch: until it is answered for, what is taken back changes the whole; then the others go on.
    mine = challenge is not None and (
        payment.initiated.batch_id is None or challenge.state is sca.ChallengeState.PENDING
    )
    void = sca.invalidate(challenge, sca.Invalidation.CANCELLED) if challenge is not None and mine else ()
    return [*ended(book, hold, PaymentCancelled(payment.payment_id, payment.owner), now), *void]


def expire(
    book: Book, hold: Hold | None, payment: Payment | None, challenge: sca.Challenge | None, now: datetime
) -> Decision:
    """Also where the challenge came to another end than being passed: nobody can answer for the payment any more."""
    if payment is None or challenge is None:
        return missing()
    if payment.state is not S.AWAITING_SCA:
        return []
    about = (payment.payment_id, payment.owner)
    if challenge.state is sca.ChallengeState.FAILED:
        return ended(book, hold, PaymentRejected(*about, "SCA_FAILED"), now)
    if challenge.state is sca.ChallengeState.INVALIDATED:
        return ended(book, hold, PaymentCancelled(*about), now)  # another payment of its batch was taken back
    over = sca.expire(challenge, now)
    if not over and challenge.state is not sca.ChallengeState.EXPIRED:
        return []
    return [*over, *ended(book, hold, PaymentExpired(*about), now)]


def start_submission(
    book: Book,
    hold: Hold | None,
    payment: Payment | None,
    challenge: sca.Challenge | None,
    wish: StartSubmission,
    now: datetime,
) -> Decision:
    """What is about to be sent must be what the person answered for, or wished where nobody was asked; otherwise nothing is sent, and an
    operator is told."""
    if payment is None or (challenge is None and not payment.exempted):
        return missing()
    if payment.state is not S.AUTHORISED or payment.parked not in (None, UNKNOWN_STATUS):
        return []
    about = (payment.payment_id, payment.owner)
    same = wish.digest == payment.initiated.digest
    if challenge is not None:
        same = same and challenge.issued.digest == wish.digest and challenge.state is sca.ChallengeState.PASSED
    if not same:
        void = sca.invalidate(challenge, sca.Invalidation.CHANGED) if challenge is not None else ()
        if payment.attempts:
            # It may have been done before it was changed: it is not sent again, and nothing is released.
            return [*void, PaymentParked(*about, "CHANGED_AFTER_SCA")]
        return [
            *void,
            *ended(book, hold, PaymentRejected(*about, "CHANGED_AFTER_SCA"), now),
            PaymentParked(*about, "CHANGED_AFTER_SCA"),
        ]
    source = book.get(payment.initiated.from_account_id)
    if source is not None and source.account.frozen and not payment.unknown:
        return []  # it waits until the account is free, and may be taken back; whoever sweeps asks again
    return [PaymentSubmissionStarted(*about, payment.attempts + 1)]
