"""Refusals: the typed answer No. A refusal is a value, never an exception; its `code` is part of the API's contract."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from isthmus.domain.money import Money


class RefusalCode(StrEnum):
    """Every code that a payload's `errors` may carry. docs/errors.md has a line for each (a test counts them)."""

    INVALID_INPUT = "INVALID_INPUT"
    INVALID_AMOUNT = "INVALID_AMOUNT"
    UNKNOWN_ASSET = "UNKNOWN_ASSET"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    CONFLICT = "CONFLICT"
    ACCOUNT_NOT_FOUND = "ACCOUNT_NOT_FOUND"
    RECIPIENT_NOT_FOUND = "RECIPIENT_NOT_FOUND"
    ASSET_MISMATCH = "ASSET_MISMATCH"
    SAME_ACCOUNT = "SAME_ACCOUNT"
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    ACCOUNT_FROZEN = "ACCOUNT_FROZEN"
    ACCOUNT_CLOSED = "ACCOUNT_CLOSED"
    ACCOUNT_NOT_EMPTY = "ACCOUNT_NOT_EMPTY"
    JOURNAL_NOT_FOUND = "JOURNAL_NOT_FOUND"
    ALREADY_REVERSED = "ALREADY_REVERSED"
    ALREADY_RESOLVED = "ALREADY_RESOLVED"
    EXCEEDS_HOLD = "EXCEEDS_HOLD"
    HOLD_NOT_DUE = "HOLD_NOT_DUE"
    UNBALANCED = "UNBALANCED"
    API_KEY_NOT_FOUND = "API_KEY_NOT_FOUND"
    TOO_MANY_API_KEYS = "TOO_MANY_API_KEYS"
    CONSENT_NOT_FOUND = "CONSENT_NOT_FOUND"
    CONSENT_OVER = "CONSENT_OVER"
    LINK_NOT_BEGUN = "LINK_NOT_BEGUN"
    INSTITUTION_NOT_FOUND = "INSTITUTION_NOT_FOUND"
    REDIRECT_NOT_REGISTERED = "REDIRECT_NOT_REGISTERED"
    BANK_REFUSED = "BANK_REFUSED"
    BANK_TRANSACTION_NOT_FOUND = "BANK_TRANSACTION_NOT_FOUND"
    PAYMENT_NOT_FOUND = "PAYMENT_NOT_FOUND"
    PAYMENT_NOT_CANCELLABLE = "PAYMENT_NOT_CANCELLABLE"
    PAYEE_ACCOUNT_INVALID = "PAYEE_ACCOUNT_INVALID"
    PAYMENT_NOT_IN_REVIEW = "PAYMENT_NOT_IN_REVIEW"
    PAYMENT_NOT_PARKED = "PAYMENT_NOT_PARKED"
    PAYMENT_CONTRADICTED = "PAYMENT_CONTRADICTED"
    PAYMENT_PROPOSAL_OVER = "PAYMENT_PROPOSAL_OVER"
    SECOND_OPERATOR_NEEDED = "SECOND_OPERATOR_NEEDED"
    CASE_PROPOSAL_OVER = "CASE_PROPOSAL_OVER"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    SCA_REJECTED = "SCA_REJECTED"
    SCA_BLOCKED = "SCA_BLOCKED"
    SCA_REQUIRED = "SCA_REQUIRED"
    SCA_METHOD_UNAVAILABLE = "SCA_METHOD_UNAVAILABLE"
    TOO_MANY_CODES = "TOO_MANY_CODES"
    DEVICE_NOT_FOUND = "DEVICE_NOT_FOUND"
    DEVICE_REFUSED = "DEVICE_REFUSED"
    TOO_MANY_DEVICES = "TOO_MANY_DEVICES"
    PAYEE_NOT_FOUND = "PAYEE_NOT_FOUND"
    PAYEE_EXISTS = "PAYEE_EXISTS"
    RECONCILIATION_CASE_NOT_FOUND = "RECONCILIATION_CASE_NOT_FOUND"
    MONEY_IN_SUSPENSE = "MONEY_IN_SUSPENSE"


@dataclass(frozen=True)
class Refusal:
    """`path` names the input field at fault; `sticks` is whether the idempotency key remembers the refusal."""

    code: ClassVar[RefusalCode]
    sticks: ClassVar[bool] = True
    message: str
    path: tuple[str, ...] = ()


@dataclass(frozen=True)
class InvalidInput(Refusal):
    """The request itself is wrong: nothing was looked at, so nothing is remembered."""

    code: ClassVar[RefusalCode] = RefusalCode.INVALID_INPUT
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class InvalidAmount(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.INVALID_AMOUNT
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class UnknownAsset(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.UNKNOWN_ASSET
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class IdempotencyKeyReused(Refusal):
    """The key came with another body before: the first body's answer stands."""

    code: ClassVar[RefusalCode] = RefusalCode.IDEMPOTENCY_KEY_REUSED
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class Conflict(Refusal):
    """Others changed the same thing again and again while this was tried. Retry with the same key."""

    code: ClassVar[RefusalCode] = RefusalCode.CONFLICT
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class AccountNotFound(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.ACCOUNT_NOT_FOUND


@dataclass(frozen=True)
class RecipientNotFound(Refusal):
    """Unknown, closed and wrong-asset recipients are told apart by nobody."""

    code: ClassVar[RefusalCode] = RefusalCode.RECIPIENT_NOT_FOUND


@dataclass(frozen=True)
class AssetMismatch(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.ASSET_MISMATCH


@dataclass(frozen=True)
class SameAccount(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.SAME_ACCOUNT


@dataclass(frozen=True)
class InsufficientFunds(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.INSUFFICIENT_FUNDS
    available: Money | None = None
    required: Money | None = None


@dataclass(frozen=True)
class AccountFrozenRefusal(Refusal):
    """A frozen account only receives."""

    code: ClassVar[RefusalCode] = RefusalCode.ACCOUNT_FROZEN


@dataclass(frozen=True)
class AccountClosedRefusal(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.ACCOUNT_CLOSED


@dataclass(frozen=True)
class AccountNotEmpty(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.ACCOUNT_NOT_EMPTY


@dataclass(frozen=True)
class JournalNotFound(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.JOURNAL_NOT_FOUND


@dataclass(frozen=True)
class AlreadyReversed(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.ALREADY_REVERSED


@dataclass(frozen=True)
class AlreadyResolved(Refusal):
    """A hold is posted or voided once."""

    code: ClassVar[RefusalCode] = RefusalCode.ALREADY_RESOLVED


@dataclass(frozen=True)
class HoldNotDue(Refusal):
    """A timer came early: it comes again, so the early answer is not remembered."""

    code: ClassVar[RefusalCode] = RefusalCode.HOLD_NOT_DUE
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class ExceedsHold(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.EXCEEDS_HOLD


@dataclass(frozen=True)
class Unbalanced(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.UNBALANCED


@dataclass(frozen=True)
class ApiKeyNotFound(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.API_KEY_NOT_FOUND


@dataclass(frozen=True)
class TooManyApiKeys(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.TOO_MANY_API_KEYS


@dataclass(frozen=True)
class ConsentNotFound(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.CONSENT_NOT_FOUND
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class ConsentOver(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.CONSENT_OVER


@dataclass(frozen=True)
class LinkNotBegun(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.LINK_NOT_BEGUN


@dataclass(frozen=True)
class InstitutionNotFound(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.INSTITUTION_NOT_FOUND
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class RedirectNotRegistered(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.REDIRECT_NOT_REGISTERED
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class BankRefused(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.BANK_REFUSED


@dataclass(frozen=True)
class BankTransactionNotFound(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.BANK_TRANSACTION_NOT_FOUND


@dataclass(frozen=True)
class PaymentNotFound(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.PAYMENT_NOT_FOUND
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class PaymentNotCancellable(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.PAYMENT_NOT_CANCELLABLE


@dataclass(frozen=True)
class PaymentNotInReview(Refusal):
    """It waits for nobody's judgement, or for another's: nobody judges their own."""

    code: ClassVar[RefusalCode] = RefusalCode.PAYMENT_NOT_IN_REVIEW
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class PaymentNotParked(Refusal):
    """Nobody need look at it, or another operator has to: nobody decides on their own. What waits for a review is judged elsewhere."""

    code: ClassVar[RefusalCode] = RefusalCode.PAYMENT_NOT_PARKED
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class PaymentContradicted(Refusal):
    """The provider definitely says otherwise."""

    code: ClassVar[RefusalCode] = RefusalCode.PAYMENT_CONTRADICTED
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class PaymentProposalOver(Refusal):
    """It was confirmed, another took its place, or something was heard of the payment since."""

    code: ClassVar[RefusalCode] = RefusalCode.PAYMENT_PROPOSAL_OVER
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class CaseProposalOver(Refusal):
    """It was confirmed, or another took its place."""

    code: ClassVar[RefusalCode] = RefusalCode.CASE_PROPOSAL_OVER
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class SecondOperatorNeeded(Refusal):
    """Who proposed it, or would have the money, does not confirm it."""

    code: ClassVar[RefusalCode] = RefusalCode.SECOND_OPERATOR_NEEDED
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class MoneyInSuspense(Refusal):
    """A case is not closed while its money is nobody's."""

    code: ClassVar[RefusalCode] = RefusalCode.MONEY_IN_SUSPENSE
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class LimitExceeded(Refusal):
    """`resets_at`: when as much as was used is free again; None where it never is, of one payment. Not remembered: the same wish may be
    granted then."""

    code: ClassVar[RefusalCode] = RefusalCode.LIMIT_EXCEEDED
    sticks: ClassVar[bool] = False
    limit: Money | None = None
    used: Money | None = None
    resets_at: datetime | None = None


@dataclass(frozen=True)
class PayeeAccountInvalid(Refusal):
    """It is no IBAN, or no sort code with an account number. Nothing was looked at, so nothing is remembered."""

    code: ClassVar[RefusalCode] = RefusalCode.PAYEE_ACCOUNT_INVALID
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class ScaRejected(Refusal):
    """One answer for whatever was wrong (RTS 2018/389 Art. 4(3)(a)). `attempts_left` and `challenge_state` are those of the
    caller's own challenge."""

    code: ClassVar[RefusalCode] = RefusalCode.SCA_REJECTED
    sticks: ClassVar[bool] = False
    attempts_left: int = 0
    challenge_state: str = ""


@dataclass(frozen=True)
class ScaBlockedRefusal(Refusal):
    """`resets_at`: when answers are taken again. Not remembered: the same wish may be granted then."""

    code: ClassVar[RefusalCode] = RefusalCode.SCA_BLOCKED
    sticks: ClassVar[bool] = False
    resets_at: datetime | None = None


@dataclass(frozen=True)
class ScaRequired(Refusal):
    """What is wished for needs a challenge to be answered first, and it is not. `threshold`: most that goes without, of what moves money.
    Not remembered: it may be another one tomorrow."""

    code: ClassVar[RefusalCode] = RefusalCode.SCA_REQUIRED
    sticks: ClassVar[bool] = False
    threshold: Money | None = None


@dataclass(frozen=True)
class ScaMethodUnavailable(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.SCA_METHOD_UNAVAILABLE
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class TooManyCodes(Refusal):
    """`resets_at`: when the next one would be sent. Not remembered: the same wish may be granted then."""

    code: ClassVar[RefusalCode] = RefusalCode.TOO_MANY_CODES
    sticks: ClassVar[bool] = False
    resets_at: datetime | None = None


@dataclass(frozen=True)
class DeviceNotFound(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.DEVICE_NOT_FOUND
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class DeviceRefused(Refusal):
    """What the device answered is not accepted; one answer for whatever was wrong."""

    code: ClassVar[RefusalCode] = RefusalCode.DEVICE_REFUSED
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class TooManyDevices(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.TOO_MANY_DEVICES
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class PayeeNotFound(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.PAYEE_NOT_FOUND
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class PayeeExists(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.PAYEE_EXISTS
    sticks: ClassVar[bool] = False


@dataclass(frozen=True)
class ReconciliationCaseNotFound(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.RECONCILIATION_CASE_NOT_FOUND
    sticks: ClassVar[bool] = False
