"""Events of a payment, and what they add up to: where it stands, and what is known of it.

AWAITING_SCA -> AUTHORISED -> SUBMITTED -> EXECUTED -> SETTLED, or REJECTED, CANCELLED, EXPIRED, FAILED
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from uuid import UUID, uuid5

from isthmus.domain.compliance import Ruling
from isthmus.domain.lookalikes import PayeeWarning
from isthmus.domain.payee_checks import PayeeMatch
from isthmus.domain.payment_asks import PaymentAsked, PaymentAskStarted
from isthmus.domain.payment_decisions import Finding, PaymentDecided, PaymentDecisionProposed, PaymentLookedInto
from isthmus.domain.personal import Sealed

#: Parked until an operator judged it; nothing else may move it on.
REVIEW = "REVIEW"
#: Parked since a provider has a word that nobody knows, or none at all.
UNKNOWN_STATUS = "UNKNOWN_STATUS"


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
RANK = {S.AWAITING_SCA: 0, S.AUTHORISED: 1, S.SUBMITTED: 2, S.EXECUTED: 3, S.SETTLED: 4}
#: Ends without the money having moved.
VOID = frozenset({S.REJECTED, S.CANCELLED, S.EXPIRED, S.FAILED})
#: Nothing moves a payment on from these.
TERMINAL = VOID | {S.SETTLED}


class Source(StrEnum):
    """Whose account is paid from: one here, or the person's own at their bank."""

    OWN = "OWN"
    BANK = "BANK"


@dataclass(frozen=True)
class PaymentInitiated:
    """`digest`: of the dynamic link that the challenge is bound to. `hold_id`: the money reserved, from an account here.
    `challenge_id`: what it is answered by; of one that was refused at once there is no challenge of that name. `credits`: the
    payer's own account here that it is for, from a bank or from another account here; None where it pays somebody else. `pays`: somebody
    else's account here, which is credited once it is executed."""

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
    #: Of several under one challenge: which, and the how-manieth it is.
    batch_id: UUID | None = None
    line: int = 0
    credits: UUID | None = None
    pays: UUID | None = None


@dataclass(frozen=True)
class PaymentPayeeChecked:
    """What the payer was told of the payee before they authorised. `matched_name`: the bank's, where it may be told. `resembles_…`: which
    payee of theirs the warnings are about."""

    payment_id: UUID
    owner: UUID
    result: PayeeMatch
    matched_name: Sealed | None
    warnings: tuple[PayeeWarning, ...]
    resembles_name: Sealed | None
    resembles_account: Sealed | None


@dataclass(frozen=True)
class PaymentScreened:
    """What compliance decided, by which rule and which version of its data."""

    payment_id: UUID
    owner: UUID
    ruling: Ruling
    rule: str
    list_version: str


@dataclass(frozen=True)
class PaymentExempted:
    """Nobody was asked for it: by which rule, and which version of the rules (`exemptions.py`)."""

    payment_id: UUID
    owner: UUID
    asset: str
    amount: Decimal
    rule: str
    rules_version: str


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
    | PaymentPayeeChecked
    | PaymentScreened
    | PaymentExempted
    | PaymentReleased
    | PaymentAskStarted
    | PaymentAsked
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
    | PaymentDecisionProposed
    | PaymentDecided
    | PaymentLookedInto
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
    """Folded from its events. `asks`: how often a bank was to ask its customer; `asked`: whether it is known to do so."""

    initiated: PaymentInitiated
    state: PaymentState = S.AWAITING_SCA
    #: Submissions that were begun; whether the last of them came to anything is known once there is a reference.
    attempts: int = 0
    #: What was sent goes by a name that the provider told.
    submitted: bool = False
    provider_reference: str | None = None
    asks: int = 0
    asked: bool = False
    parked: str | None = None
    evidence: frozenset[str] = frozenset()
    #: An operator is to judge it before it is authorised.
    to_review: bool = False
    #: Nobody was asked for it, and there is no challenge.
    exempted: bool = False
    #: The latest of the evidence.
    last_told: str | None = None
    #: What an operator proposed on what is known now; and what two agreed on last.
    proposed: PaymentDecisionProposed | None = None
    found: PaymentDecided | None = None

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

    @property
    def unnamed(self) -> bool:
        """It was sent, and what that came to goes by a name that nobody told; also where it is over here since."""
        return self.attempts > 0 and not self.submitted

    @property
    def moved(self) -> Decimal:
        """How much the bank moved for it, by our book."""
        if self.found is not None:
            return self.found.moved
        booked = {S.SETTLED} if self.initiated.credits is not None else {S.EXECUTED, S.SETTLED}
        return self.initiated.amount if self.state in booked else Decimal(0)

    @property
    def charged(self) -> Decimal:
        """How much of that its payer bears, or was credited."""
        return self.moved if self.found is None else self.found.charged

    @property
    def found_moved(self) -> bool:
        """Operators found that money moved."""
        return self.found is not None and self.found.finding is Finding.EXECUTED

    @property
    def found_void(self) -> bool:
        """Operators found that none did, or that it came back."""
        return self.found is not None and self.found.finding is Finding.NOT_EXECUTED


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
        # What was not known of it is known by that.
        parked = None if payment.parked == UNKNOWN_STATUS else payment.parked
        payment = replace(payment, state=_MOVES[type(event)], parked=parked)
    if type(event) in _MOVES or isinstance(event, PaymentEvidenceKept | PaymentParked | PaymentLookedInto):
        payment = replace(payment, proposed=None)  # it was proposed on what was known before
    match event:
        case PaymentAskStarted():
            return replace(payment, asks=event.attempt)
        case PaymentAsked():
            return replace(payment, asked=True, provider_reference=event.provider_reference)
        case PaymentSubmissionStarted():
            return replace(payment, attempts=event.attempt)
        case PaymentSubmitted():
            return replace(payment, submitted=True, provider_reference=event.provider_reference)
        case PaymentEvidenceKept():
            return replace(payment, evidence=payment.evidence | {event.told}, last_told=event.told)
        case PaymentScreened():
            return replace(payment, to_review=payment.to_review or event.ruling is Ruling.REVIEW)
        case PaymentExempted():
            return replace(payment, exempted=True)
        case PaymentReleased():
            return replace(payment, to_review=False, parked=None)
        case PaymentParked():
            return replace(payment, parked=event.why)
        case PaymentSettled() if payment.initiated.credits is not None:
            return replace(payment, found=None)  # it arrived after all
        case PaymentDecisionProposed():
            return replace(payment, proposed=event)
        case PaymentDecided():
            reference = payment.provider_reference or event.provider_reference
            return replace(payment, parked=None, proposed=None, found=event, provider_reference=reference)
        case PaymentLookedInto() if event.in_order:
            return replace(payment, parked=None)
        case _:
            return payment


def fold(events: Iterable[object]) -> Payment | None:
    payment: Payment | None = None
    for event in events:
        if isinstance(event, PaymentEvent):
            payment = evolve(payment, event)
    return payment
