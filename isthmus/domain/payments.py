"""Payments: someone pays a payee from an account here or at a bank, and every payment comes to one end.

    AWAITING_SCA -> AUTHORISED -> SUBMITTED -> EXECUTED -> SETTLED, or REJECTED, CANCELLED, EXPIRED, FAILED

News of a provider comes in any order and more than once. It moves a payment on and never back: what is late, or contradicts what is
known, or has a word that nobody knows, is kept as evidence, and what contradicts is shown to an operator. From an account here the
money is reserved when the payment is made, leaves when it is executed, and is released on every way that ends otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import assert_never
from uuid import UUID, uuid5

from isthmus.domain import compliance, journals, sca
from isthmus.domain.accounts import AccountType, Direction, open_house_account
from isthmus.domain.compliance import Limits, Ruling, Verdict
from isthmus.domain.dynamic_link import Purpose
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
from isthmus.domain.money import text_of
from isthmus.domain.personal import PersonalText, Sealed
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
_TOLD_MAX = 64
#: Parked until an operator judged it; nothing else may move it on.
REVIEW = "REVIEW"


class PaymentState(StrEnum):
    AWAITING_SCA = "AWAITING_SCA"
    AUTHORISED = "AUTHORISED"
    SUBMITTED = "SUBMITTED"
    EXECUTED = "EXECUTED"
    SETTLED = "SETTLED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"


S = PaymentState
#: How far along a payment is; it only ever goes up.
_RANK = {S.AWAITING_SCA: 0, S.AUTHORISED: 1, S.SUBMITTED: 2, S.EXECUTED: 3, S.SETTLED: 4}
#: Ends without the money having moved.
VOID = frozenset({S.REJECTED, S.CANCELLED, S.EXPIRED, S.FAILED})
#: Nothing moves a payment on from these.
TERMINAL = VOID | {S.SETTLED}


class Source(StrEnum):
    """Whose account is paid from: one here, or the person's own at their bank."""

    OWN = "OWN"
    BANK = "BANK"


class ProviderPayment(StrEnum):
    """What a provider's word for the state of a payment means to us."""

    AWAITING = "AWAITING"
    AUTHORISED = "AUTHORISED"
    SUBMITTED = "SUBMITTED"
    EXECUTED = "EXECUTED"
    SETTLED = "SETTLED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class PaymentNews:
    """`told` is the provider's own word, `code` its reason. `amount` and `asset` as it has them, None where it does not say."""

    state: ProviderPayment
    told: str
    reference: str | None = None
    code: str | None = None
    amount: Decimal | None = None
    asset: str | None = None


@dataclass(frozen=True)
class PaymentInitiated:
    """`digest`: of the dynamic link that the challenge is bound to. `hold_id`: the money reserved, from an account here.
    `challenge_id`: what it is answered by; of one that was refused at once there is no challenge of that name."""

    payment_id: UUID
    owner: UUID
    source: Source
    from_account_id: UUID
    provider: str
    asset: str
    amount: Decimal
    payee_name: Sealed
    payee_account: Sealed
    reference: Sealed | None
    digest: str
    challenge_id: UUID
    hold_id: UUID | None


@dataclass(frozen=True)
class PaymentScreened:
    """What compliance decided, by which rule and which version of its data."""

    payment_id: UUID
    owner: UUID
    ruling: Ruling
    rule: str
    list_version: str


@dataclass(frozen=True)
class PaymentReleased:
    """An operator judged what was parked for review, and lets it go on."""

    payment_id: UUID
    owner: UUID


@dataclass(frozen=True)
class PaymentAuthorised:
    """`by`: what was proven, or the rule that asked for no proof."""

    payment_id: UUID
    owner: UUID
    by: str


@dataclass(frozen=True)
class PaymentSubmissionStarted:
    """Written before the provider is asked, so that whoever comes after a death in between looks first whether it was done."""

    payment_id: UUID
    owner: UUID
    attempt: int


@dataclass(frozen=True)
class PaymentSubmitted:
    payment_id: UUID
    owner: UUID
    provider_reference: str


@dataclass(frozen=True)
class PaymentExecuted:
    payment_id: UUID
    owner: UUID


@dataclass(frozen=True)
class PaymentSettled:
    payment_id: UUID
    owner: UUID


@dataclass(frozen=True)
class PaymentRejected:
    """The bank, or a rule of ours, will not have it."""

    payment_id: UUID
    owner: UUID
    code: str


@dataclass(frozen=True)
class PaymentCancelled:
    payment_id: UUID
    owner: UUID


@dataclass(frozen=True)
class PaymentExpired:
    """Nobody answered for it in time."""

    payment_id: UUID
    owner: UUID


@dataclass(frozen=True)
class PaymentFailed:
    """`retryable`: whether the same payment, made anew, may succeed."""

    payment_id: UUID
    owner: UUID
    code: str
    retryable: bool


@dataclass(frozen=True)
class PaymentEvidenceKept:
    """What a provider said that changes nothing."""

    payment_id: UUID
    owner: UUID
    told: str


@dataclass(frozen=True)
class PaymentParked:
    """An operator is to look at it; `why` is one of the codes in docs/payments.md."""

    payment_id: UUID
    owner: UUID
    why: str


PaymentEvent = (
    PaymentInitiated
    | PaymentScreened
    | PaymentReleased
    | PaymentAuthorised
    | PaymentSubmissionStarted
    | PaymentSubmitted
    | PaymentExecuted
    | PaymentSettled
    | PaymentRejected
    | PaymentCancelled
    | PaymentExpired
    | PaymentFailed
    | PaymentEvidenceKept
    | PaymentParked
)
_MOVES: dict[type, PaymentState] = {
    PaymentAuthorised: S.AUTHORISED,
    PaymentSubmitted: S.SUBMITTED,
    PaymentExecuted: S.EXECUTED,
    PaymentSettled: S.SETTLED,
    PaymentRejected: S.REJECTED,
    PaymentCancelled: S.CANCELLED,
    PaymentExpired: S.EXPIRED,
    PaymentFailed: S.FAILED,
}


@dataclass(frozen=True)
class Payment:
    """Folded from its events."""

    initiated: PaymentInitiated
    state: PaymentState = S.AWAITING_SCA
    #: Submissions that were begun; whether the last of them came to anything is known once there is a reference.
    attempts: int = 0
    provider_reference: str | None = None
    parked: str | None = None
    evidence: frozenset[str] = frozenset()
    #: An operator is to judge it before it is authorised.
    to_review: bool = False

    @property
    def payment_id(self) -> UUID:
        return self.initiated.payment_id

    @property
    def owner(self) -> UUID:
        return self.initiated.owner

    @property
    def unknown(self) -> bool:
        """It may lie at the provider, or not."""
        return self.state is S.AUTHORISED and self.attempts > 0


def hold_id_of(payment_id: UUID) -> UUID:
    return uuid5(payment_id, "hold")


def clearing_code(provider: str, asset: str) -> str:
    return f"clearing:{provider}:{asset}"


def evolve(payment: Payment | None, event: PaymentEvent) -> Payment:
    if isinstance(event, PaymentInitiated):
        assert payment is None, "a payment is initiated once"
        return Payment(event)
    assert payment is not None, "a payment begins with PaymentInitiated"
    if type(event) in _MOVES:
        payment = replace(payment, state=_MOVES[type(event)])
    match event:
        case PaymentSubmissionStarted():
            return replace(payment, attempts=event.attempt)
        case PaymentSubmitted():
            return replace(payment, provider_reference=event.provider_reference)
        case PaymentEvidenceKept():
            return replace(payment, evidence=payment.evidence | {event.told})
        case PaymentScreened():
            return replace(payment, to_review=payment.to_review or event.ruling is Ruling.REVIEW)
        case PaymentReleased():
            return replace(payment, to_review=False, parked=None)
        case PaymentParked():
            return replace(payment, parked=event.why)
        case _:
            return payment


def fold(events: Iterable[object]) -> Payment | None:
    payment: Payment | None = None
    for event in events:
        if isinstance(event, PaymentEvent):
            payment = evolve(payment, event)
    return payment


# -- wishes ----------------------------------------------------------------------------------------------------------------


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


@dataclass(frozen=True)
class RecordPaymentNews:
    payment_id: UUID
    news: PaymentNews
    journal_id: UUID


Events = Sequence[PaymentEvent | sca.ScaEvent | sca.ScaGuardEvent | LedgerEvent]
Decision = Events | Refusal


def _missing() -> Refusal:
    return PaymentNotFound("There is no such payment.", ("input", "paymentId"))


def initiate(book: Book, guard: sca.Guard, used: Decimal, wish: InitiatePayment, now: datetime) -> Decision:
    """From an account here the money is reserved now; from a bank's it is asked for once the person has answered. `used`: of the
    person's limit for the day. One that compliance refuses is recorded, with neither money reserved nor a challenge."""
    if guard.blocked(now):
        return ScaBlockedRefusal("Too many wrong answers: nothing can be authorised for a while.")
    reserved = _reserve(book, wish) if wish.source is Source.OWN else []
    if isinstance(reserved, Refusal):
        return reserved
    over = compliance.limit_fault(wish.limits, wish.asset, wish.amount, used, now)
    if over is not None:
        return over
    about, verdict = (wish.payment_id, wish.owner), wish.verdict
    screened = PaymentScreened(*about, verdict.ruling, verdict.rule, verdict.list_version)
    if verdict.ruling is Ruling.REFUSE:
        return [_initiated(wish, held=False), screened, PaymentRejected(*about, compliance.REFUSED)]
    return [
        *reserved,
        _initiated(wish, held=wish.source is Source.OWN),
        screened,
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
    about = (payment.payment_id, payment.owner)
    source = book.get(payment.initiated.from_account_id)
    # An account of ours that is not at hand is not known to be free: somebody changed what was read to find it.
    unfree = payment.initiated.source is Source.OWN if source is None else source.account.frozen
    verdict = compliance.frozen_account(unfree)
    if verdict.ruling is Ruling.REVIEW:
        screened = PaymentScreened(*about, verdict.ruling, verdict.rule, verdict.list_version)
        return [*answered.events, screened, PaymentParked(*about, REVIEW)]
    if payment.to_review:
        return [*answered.events, PaymentParked(*about, REVIEW)]
    return [*answered.events, PaymentAuthorised(*about, sca.proof_name(challenge, proof))]


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
        return _missing()
    if payment.state is S.CANCELLED:
        return []
    if payment.state not in (S.AWAITING_SCA, S.AUTHORISED) or payment.attempts:
        return PaymentNotCancellable("It is too late to cancel the payment.", ("input", "paymentId"))
    void = sca.invalidate(challenge, sca.Invalidation.CANCELLED) if challenge else ()
    return [*ended(book, hold, PaymentCancelled(payment.payment_id, payment.owner), now), *void]


def expire(
    book: Book, hold: Hold | None, payment: Payment | None, challenge: sca.Challenge | None, now: datetime
) -> Decision:
    """Also where the challenge came to another end than being passed: nobody can answer for the payment any more."""
    if payment is None or challenge is None:
        return _missing()
    if payment.state is not S.AWAITING_SCA:
        return []
    about = (payment.payment_id, payment.owner)
    if challenge.state is sca.ChallengeState.FAILED:
        return ended(book, hold, PaymentRejected(*about, "SCA_FAILED"), now)
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
    """What is about to be sent must be what the person answered for; otherwise nothing is sent, and an operator is told."""
    if payment is None or challenge is None:
        return _missing()
    if payment.state is not S.AUTHORISED or payment.parked is not None:
        return []
    about = (payment.payment_id, payment.owner)
    same = wish.digest == challenge.issued.digest == payment.initiated.digest
    if not same or challenge.state is not sca.ChallengeState.PASSED:
        return [
            *sca.invalidate(challenge, sca.Invalidation.CHANGED),
            *ended(book, hold, PaymentRejected(*about, "CHANGED_AFTER_SCA"), now),
            PaymentParked(*about, "CHANGED_AFTER_SCA"),
        ]
    return [PaymentSubmissionStarted(*about, payment.attempts + 1)]


def record_news(
    book: Book, hold: Hold | None, payment: Payment | None, wish: RecordPaymentNews, now: datetime
) -> Decision:
    """Total: every (state, news) has an answer."""
    if payment is None:
        return _missing()
    about, news = (payment.payment_id, payment.owner), wish.news
    kept = _evidence(payment, news)
    if news.state is ProviderPayment.UNKNOWN:
        return [*kept, *_parked(payment, "UNKNOWN_STATUS")]
    if _other_money(payment, news):
        return [*kept, *_parked(payment, "OTHER_AMOUNT")]
    if news.state is ProviderPayment.AWAITING:
        return []
    target = PaymentState(news.state)
    if target in VOID:
        if payment.state in VOID:
            return kept if target is not payment.state else []
        if payment.state in (S.EXECUTED, S.SETTLED):
            return [*kept, *_parked(payment, "CONTRADICTION")]
        return ended(book, hold, _ending(payment, target, news.code or news.told), now)
    if payment.state in VOID:
        # It was over for us, and the money has moved all the same: nobody may overlook that.
        moved = _RANK[target] >= _RANK[S.EXECUTED]
        return [*kept, *(_parked(payment, "CONTRADICTION") if moved else [])]
    if _RANK[target] <= _RANK[payment.state]:
        return kept if _RANK[target] < _RANK[payment.state] else []
    return _moved_on(book, hold, payment, target, wish, now, about)


def _moved_on(
    book: Book,
    hold: Hold | None,
    payment: Payment,
    target: PaymentState,
    wish: RecordPaymentNews,
    now: datetime,
    about: tuple[UUID, UUID],
) -> Decision:
    """Steps that a provider left out are taken on the way."""
    events: list[PaymentEvent | LedgerEvent] = []
    rank = _RANK[payment.state]
    if rank < _RANK[S.AUTHORISED]:
        events.append(PaymentAuthorised(*about, f"BANK {payment.initiated.provider}"))
    if rank < _RANK[S.SUBMITTED] <= _RANK[target]:
        reference = wish.news.reference or payment.provider_reference or ""
        events.append(PaymentSubmitted(*about, reference))
    if rank < _RANK[S.EXECUTED] <= _RANK[target]:
        # Money first: whoever has seen where the payment is has seen the balance that belongs to it.
        if hold is not None and not hold.resolved:
            posted = journals.post_hold(book, hold, wish.journal_id, None, now)
            assert not isinstance(posted, Refusal), "an open hold can be posted whole"
            events += posted
        events.append(PaymentExecuted(*about))
    if target is S.SETTLED:
        events.append(PaymentSettled(*about))
    return events


def _ending(payment: Payment, target: PaymentState, code: str) -> PaymentEvent:
    about = (payment.payment_id, payment.owner)
    match target:
        case S.REJECTED:
            return PaymentRejected(*about, _word(code))
        case S.CANCELLED:
            return PaymentCancelled(*about)
        case S.EXPIRED:
            return PaymentExpired(*about)
        case S.FAILED:
            return PaymentFailed(*about, _word(code), retryable=False)
        case S.AWAITING_SCA | S.AUTHORISED | S.SUBMITTED | S.EXECUTED | S.SETTLED:
            raise AssertionError("these end nothing")
        case _:
            assert_never(target)


def _other_money(payment: Payment, news: PaymentNews) -> bool:
    mine = payment.initiated
    return (news.amount is not None and news.amount != mine.amount) or (
        news.asset is not None and news.asset != mine.asset
    )


def _evidence(payment: Payment, news: PaymentNews) -> list[PaymentEvent]:
    """Once each: a provider may repeat itself for ever."""
    said = f"{news.state} {_word(news.told)}"
    if news.amount is not None and _other_money(payment, news):
        said += f" {text_of(news.amount)} {_word(news.asset or '')}"
    return [] if said in payment.evidence else [PaymentEvidenceKept(payment.payment_id, payment.owner, said)]


def _parked(payment: Payment, why: str) -> list[PaymentEvent]:
    return [] if payment.parked == why else [PaymentParked(payment.payment_id, payment.owner, why)]


def _word(told: str) -> str:
    """A provider's word as far as it is one: it goes into events, which hold nothing personal."""
    return "".join(letter for letter in told if letter.isascii() and (letter.isalnum() or letter in "_-."))[:_TOLD_MAX]
