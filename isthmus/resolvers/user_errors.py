"""Refusals as data: one GraphQL type for each refusal of the domain, by one map that is total (a test counts them)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

import strawberry

from isthmus.domain import refusals
from isthmus.domain.refusals import Refusal
from isthmus.graphql.context import RequestContext
from isthmus.resolvers.money import Money, money
from isthmus.resolvers.sca_states import ScaChallengeState


@strawberry.enum(description="Why a wish was refused.")
class UserErrorCode(Enum):
    INVALID_INPUT = strawberry.enum_value("INVALID_INPUT", description="A field of the input is wrong.")
    INVALID_AMOUNT = strawberry.enum_value(
        "INVALID_AMOUNT", description="Not an amount of that asset that can be moved."
    )
    UNKNOWN_ASSET = strawberry.enum_value("UNKNOWN_ASSET", description="Not an asset that can be held here.")
    IDEMPOTENCY_KEY_REUSED = strawberry.enum_value(
        "IDEMPOTENCY_KEY_REUSED", description="The key came with another body before, whose answer stands."
    )
    CONFLICT = strawberry.enum_value(
        "CONFLICT", description="Others kept changing the same thing. Retry with the same key."
    )
    ACCOUNT_NOT_FOUND = strawberry.enum_value("ACCOUNT_NOT_FOUND", description="There is no such account of yours.")
    RECIPIENT_NOT_FOUND = strawberry.enum_value(
        "RECIPIENT_NOT_FOUND", description="There is no open account with that id in that asset."
    )
    ASSET_MISMATCH = strawberry.enum_value("ASSET_MISMATCH", description="The account holds another asset.")
    SAME_ACCOUNT = strawberry.enum_value("SAME_ACCOUNT", description="Payer and payee are the same account.")
    INSUFFICIENT_FUNDS = strawberry.enum_value("INSUFFICIENT_FUNDS", description="There is not enough available.")
    ACCOUNT_FROZEN = strawberry.enum_value("ACCOUNT_FROZEN", description="The account is frozen: it only receives.")
    ACCOUNT_CLOSED = strawberry.enum_value("ACCOUNT_CLOSED", description="The account is closed.")
    ACCOUNT_NOT_EMPTY = strawberry.enum_value("ACCOUNT_NOT_EMPTY", description="Only an empty account can be closed.")
    JOURNAL_NOT_FOUND = strawberry.enum_value("JOURNAL_NOT_FOUND", description="There is no such journal.")
    ALREADY_REVERSED = strawberry.enum_value("ALREADY_REVERSED", description="A journal is reversed once.")
    ALREADY_RESOLVED = strawberry.enum_value("ALREADY_RESOLVED", description="A hold is posted or voided once.")
    HOLD_NOT_DUE = strawberry.enum_value("HOLD_NOT_DUE", description="The hold's time is not over.")
    EXCEEDS_HOLD = strawberry.enum_value("EXCEEDS_HOLD", description="More than the hold holds.")
    UNBALANCED = strawberry.enum_value("UNBALANCED", description="Debits and credits differ.")
    API_KEY_NOT_FOUND = strawberry.enum_value("API_KEY_NOT_FOUND", description="There is no such API key of yours.")
    TOO_MANY_API_KEYS = strawberry.enum_value("TOO_MANY_API_KEYS", description="As many API keys as one may have.")
    CONSENT_NOT_FOUND = strawberry.enum_value("CONSENT_NOT_FOUND", description="There is no such consent of yours.")
    CONSENT_OVER = strawberry.enum_value("CONSENT_OVER", description="The consent is over, and nothing brings it back.")
    LINK_NOT_BEGUN = strawberry.enum_value("LINK_NOT_BEGUN", description="Nothing is under way for this consent.")
    INSTITUTION_NOT_FOUND = strawberry.enum_value("INSTITUTION_NOT_FOUND", description="There is no such institution.")
    REDIRECT_NOT_REGISTERED = strawberry.enum_value(
        "REDIRECT_NOT_REGISTERED", description="The address is not one that is registered."
    )
    BANK_REFUSED = strawberry.enum_value("BANK_REFUSED", description="The bank, or who speaks for it, refused.")
    BANK_TRANSACTION_NOT_FOUND = strawberry.enum_value(
        "BANK_TRANSACTION_NOT_FOUND", description="There is no such transaction of yours."
    )
    PAYMENT_NOT_FOUND = strawberry.enum_value("PAYMENT_NOT_FOUND", description="There is no such payment of yours.")
    PAYMENT_NOT_CANCELLABLE = strawberry.enum_value(
        "PAYMENT_NOT_CANCELLABLE", description="It is too late: the bank may have the payment."
    )
    PAYEE_ACCOUNT_INVALID = strawberry.enum_value(
        "PAYEE_ACCOUNT_INVALID", description="Not an IBAN, or not a sort code and an account number."
    )
    PAYMENT_NOT_IN_REVIEW = strawberry.enum_value(
        "PAYMENT_NOT_IN_REVIEW", description="No payment of that id waits for your judgement."
    )
    PAYMENT_NOT_PARKED = strawberry.enum_value(
        "PAYMENT_NOT_PARKED", description="No payment of that id waits for you to look into it."
    )
    PAYMENT_CONTRADICTED = strawberry.enum_value(
        "PAYMENT_CONTRADICTED", description="The provider definitely says otherwise."
    )
    PAYMENT_PROPOSAL_OVER = strawberry.enum_value(
        "PAYMENT_PROPOSAL_OVER", description="The proposal waits for nobody any more."
    )
    SECOND_OPERATOR_NEEDED = strawberry.enum_value(
        "SECOND_OPERATOR_NEEDED", description="Another operator is to confirm what you proposed."
    )
    MONEY_IN_SUSPENSE = strawberry.enum_value(
        "MONEY_IN_SUSPENSE", description="The case's money is in suspense: say whose it is, or that it was sent back."
    )
    RECONCILIATION_CASE_NOT_FOUND = strawberry.enum_value(
        "RECONCILIATION_CASE_NOT_FOUND", description="There is no such case, or not one of that kind."
    )
    LIMIT_EXCEEDED = strawberry.enum_value("LIMIT_EXCEEDED", description="More than may be paid at once, or in a day.")
    SCA_REJECTED = strawberry.enum_value("SCA_REJECTED", description="The answer to the challenge is not accepted.")
    SCA_BLOCKED = strawberry.enum_value(
        "SCA_BLOCKED", description="Too many wrong answers: nothing can be authorised for a while."
    )
    SCA_REQUIRED = strawberry.enum_value("SCA_REQUIRED", description="A challenge has to be answered first.")
    SCA_METHOD_UNAVAILABLE = strawberry.enum_value(
        "SCA_METHOD_UNAVAILABLE", description="The viewer cannot be asked in that way."
    )
    TOO_MANY_CODES = strawberry.enum_value(
        "TOO_MANY_CODES", description="As many codes as one person is sent in a while."
    )
    DEVICE_NOT_FOUND = strawberry.enum_value("DEVICE_NOT_FOUND", description="Not there, or not the viewer's own.")
    DEVICE_REFUSED = strawberry.enum_value("DEVICE_REFUSED", description="What the device answered is not accepted.")
    PAYEE_NOT_FOUND = strawberry.enum_value("PAYEE_NOT_FOUND", description="Not there, or not the viewer's own.")
    PAYEE_EXISTS = strawberry.enum_value("PAYEE_EXISTS", description="The viewer saved this payee already.")
    TOO_MANY_DEVICES = strawberry.enum_value("TOO_MANY_DEVICES", description="As many as one person may have.")


@strawberry.interface(description="A refusal. Nothing was changed.")
class UserError:
    code: UserErrorCode = strawberry.field(description="Why, for programs.")
    message: str = strawberry.field(description="Why, for people.")
    path: list[str] = strawberry.field(description="The input field at fault; empty where it is none in particular.")


@strawberry.type(description="A field of the input is wrong. Not remembered: mend it and send it with the same key.")
class InvalidInput(UserError):
    pass


@strawberry.type(description="The amount is not one that can be moved. Not remembered: mend it and use the same key.")
class InvalidAmount(UserError):
    pass


@strawberry.type(description="Not an asset that can be held here. Not remembered.")
class UnknownAsset(UserError):
    pass


@strawberry.type(description="The key came with another body before; that body's answer stands. Use a new key.")
class IdempotencyKeyReused(UserError):
    pass


@strawberry.type(description="Others kept changing the same thing. Retry with the same key.")
class Conflict(UserError):
    pass


@strawberry.type(description="There is no such account of yours.")
class AccountNotFound(UserError):
    pass


@strawberry.type(description="There is no open account with that id in that asset.")
class RecipientNotFound(UserError):
    pass


@strawberry.type(description="The account holds another asset.")
class AssetMismatch(UserError):
    pass


@strawberry.type(description="Payer and payee are the same account.")
class SameAccount(UserError):
    pass


@strawberry.type(description="There is not enough available in the account.")
class InsufficientFunds(UserError):
    available: Money = strawberry.field(description="What was available when the wish was decided.")
    required: Money = strawberry.field(description="What the wish needed.")


@strawberry.type(description="The account is frozen: it only receives.")
class AccountFrozen(UserError):
    pass


@strawberry.type(description="The account is closed.")
class AccountClosed(UserError):
    pass


@strawberry.type(description="Only an account with nothing in it and nothing pending can be closed.")
class AccountNotEmpty(UserError):
    pass


@strawberry.type(description="There is no such journal.")
class JournalNotFound(UserError):
    pass


@strawberry.type(description="A journal is reversed once, and a reversal never.")
class AlreadyReversed(UserError):
    pass


@strawberry.type(description="A hold is posted or voided once.")
class AlreadyResolved(UserError):
    pass


@strawberry.type(description="The hold's time is not over.")
class HoldNotDue(UserError):
    pass


@strawberry.type(description="A hold cannot be posted for more than it holds.")
class ExceedsHold(UserError):
    pass


@strawberry.type(description="Debits and credits differ.")
class Unbalanced(UserError):
    pass


@strawberry.type(description="There is no such API key of yours.")
class ApiKeyNotFound(UserError):
    pass


@strawberry.type(description="There are as many API keys as one may have. Revoke one that is not needed.")
class TooManyApiKeys(UserError):
    pass


@strawberry.type(description="There is no such consent of yours.")
class ConsentNotFound(UserError):
    pass


@strawberry.type(description="The consent is over, and nothing brings it back: link the bank anew.")
class ConsentOver(UserError):
    pass


@strawberry.type(description="Nothing is under way for this consent: begin the link anew.")
class LinkNotBegun(UserError):
    pass


@strawberry.type(description="There is no such institution. Not remembered.")
class InstitutionNotFound(UserError):
    pass


@strawberry.type(description="The address to come back to is not one that is registered. Not remembered.")
class RedirectNotRegistered(UserError):
    pass


@strawberry.type(description="The bank, or who speaks for it, refused: begin the link anew.")
class BankRefused(UserError):
    pass


@strawberry.type(description="There is no such transaction of yours.")
class BankTransactionNotFound(UserError):
    pass


@strawberry.type(description="There is no such payment of yours.")
class PaymentNotFound(UserError):
    pass


@strawberry.type(description="It is too late to take the payment back: the bank may have it.")
class PaymentNotCancellable(UserError):
    pass


@strawberry.type(description="The payee's account cannot be one. Not remembered: mend it and use the same key.")
class PayeeAccountInvalid(UserError):
    pass


@strawberry.type(description="No payment of that id waits for your judgement: nobody judges their own. Not remembered.")
class PaymentNotInReview(UserError):
    pass


@strawberry.type(description="There is no such case, or it is not about money in suspense. Not remembered.")
class ReconciliationCaseNotFound(UserError):
    pass


@strawberry.type(description="No payment of that id waits for you to look into it: nobody decides on their own.")
class PaymentNotParked(UserError):
    pass


@strawberry.type(description="The provider definitely says otherwise. Not remembered.")
class PaymentContradicted(UserError):
    pass


@strawberry.type(
    description="It was confirmed or replaced, or something was heard of the payment since. Propose it anew."
)
class PaymentProposalOver(UserError):
    pass


@strawberry.type(description="Another operator is to confirm what you proposed.")
class SecondOperatorNeeded(UserError):
    pass


@strawberry.type(description="A case is not closed while its money is in suspense. Not remembered.")
class MoneyInSuspense(UserError):
    pass


@strawberry.type(description="More than may be paid at once, or in a day. Not remembered.")
class LimitExceeded(UserError):
    limit: Money = strawberry.field(
        description="How much may be paid: at once, or from one midnight (UTC) to the next."
    )
    used: Money = strawberry.field(description="What counts towards it already: paid, or waiting to be answered for.")
    resets_at: datetime | None = strawberry.field(
        description="When it counts from nothing again; null where it is the limit of one payment, which never does."
    )


@strawberry.type(description="The answer is not accepted. It is the same whatever was wrong with it.")
class ScaRejected(UserError):
    attempts_left: int = strawberry.field(
        description="How many wrong answers are left; 0 where this challenge takes none any more."
    )
    challenge_state: ScaChallengeState | None = strawberry.field(
        description="Where the challenge stands; null where there is no such challenge of yours."
    )


@strawberry.type(description="Too many wrong answers: nothing can be authorised for a while.")
class ScaBlocked(UserError):
    pass


@strawberry.type(description="A challenge has to be answered first. Not remembered.")
class ScaRequired(UserError):
    threshold: Money | None = strawberry.field(
        description="Most that goes to another person without one, at once; null where it is not about money."
    )


@strawberry.type(description="You cannot be asked in that way. Not remembered.")
class ScaMethodUnavailable(UserError):
    pass


@strawberry.type(
    description="As many codes were sent to you as may be in a while. Not remembered: wait, or answer with a device or an app."
)
class TooManyCodes(UserError):
    resets_at: datetime = strawberry.field(description="When the next one would be sent.")


@strawberry.type(description="There is no such device of yours.")
class DeviceNotFound(UserError):
    pass


@strawberry.type(description="What the device answered is not accepted, whatever was wrong with it. Not remembered.")
class DeviceRefused(UserError):
    pass


@strawberry.type(description="There are as many devices as one may have. Remove one that is not needed.")
class TooManyDevices(UserError):
    pass


@strawberry.type(description="There is no such payee that you saved.")
class PayeeNotFound(UserError):
    pass


@strawberry.type(description="You saved this payee already, with this account. Not remembered.")
class PayeeExists(UserError):
    pass


TYPES: Mapping[type[Refusal], type[UserError]] = {
    refusals.InvalidInput: InvalidInput,
    refusals.InvalidAmount: InvalidAmount,
    refusals.UnknownAsset: UnknownAsset,
    refusals.IdempotencyKeyReused: IdempotencyKeyReused,
    refusals.Conflict: Conflict,
    refusals.AccountNotFound: AccountNotFound,
    refusals.RecipientNotFound: RecipientNotFound,
    refusals.AssetMismatch: AssetMismatch,
    refusals.SameAccount: SameAccount,
    refusals.InsufficientFunds: InsufficientFunds,
    refusals.AccountFrozenRefusal: AccountFrozen,
    refusals.AccountClosedRefusal: AccountClosed,
    refusals.AccountNotEmpty: AccountNotEmpty,
    refusals.JournalNotFound: JournalNotFound,
    refusals.AlreadyReversed: AlreadyReversed,
    refusals.AlreadyResolved: AlreadyResolved,
    refusals.HoldNotDue: HoldNotDue,
    refusals.ExceedsHold: ExceedsHold,
    refusals.Unbalanced: Unbalanced,
    refusals.ApiKeyNotFound: ApiKeyNotFound,
    refusals.TooManyApiKeys: TooManyApiKeys,
    refusals.ConsentNotFound: ConsentNotFound,
    refusals.ConsentOver: ConsentOver,
    refusals.LinkNotBegun: LinkNotBegun,
    refusals.InstitutionNotFound: InstitutionNotFound,
    refusals.RedirectNotRegistered: RedirectNotRegistered,
    refusals.BankRefused: BankRefused,
    refusals.BankTransactionNotFound: BankTransactionNotFound,
    refusals.PaymentNotFound: PaymentNotFound,
    refusals.PaymentNotCancellable: PaymentNotCancellable,
    refusals.PayeeAccountInvalid: PayeeAccountInvalid,
    refusals.PaymentNotInReview: PaymentNotInReview,
    refusals.PaymentNotParked: PaymentNotParked,
    refusals.PaymentContradicted: PaymentContradicted,
    refusals.PaymentProposalOver: PaymentProposalOver,
    refusals.SecondOperatorNeeded: SecondOperatorNeeded,
    refusals.MoneyInSuspense: MoneyInSuspense,
    refusals.LimitExceeded: LimitExceeded,
    refusals.ScaRejected: ScaRejected,
    refusals.ScaBlockedRefusal: ScaBlocked,
    refusals.ScaRequired: ScaRequired,
    refusals.ScaMethodUnavailable: ScaMethodUnavailable,
    refusals.TooManyCodes: TooManyCodes,
    refusals.DeviceNotFound: DeviceNotFound,
    refusals.DeviceRefused: DeviceRefused,
    refusals.TooManyDevices: TooManyDevices,
    refusals.PayeeNotFound: PayeeNotFound,
    refusals.PayeeExists: PayeeExists,
    refusals.ReconciliationCaseNotFound: ReconciliationCaseNotFound,
}


async def user_error(context: RequestContext, refusal: Refusal) -> UserError:
    code, path = UserErrorCode[refusal.code.name], list(refusal.path)
    if isinstance(refusal, refusals.InsufficientFunds):
        assert refusal.available is not None, "the ledger says how much there is"
        assert refusal.required is not None, "and how much was needed"
        return InsufficientFunds(
            code=code,
            message=refusal.message,
            path=path,
            available=await money(context, refusal.available.amount, refusal.available.asset),
            required=await money(context, refusal.required.amount, refusal.required.asset),
        )
    if isinstance(refusal, refusals.LimitExceeded):
        assert refusal.limit is not None, "whoever refuses says how much may be paid"
        assert refusal.used is not None, "and how much was"
        return LimitExceeded(
            code=code,
            message=refusal.message,
            path=path,
            limit=await money(context, refusal.limit.amount, refusal.limit.asset),
            used=await money(context, refusal.used.amount, refusal.used.asset),
            resets_at=refusal.resets_at,
        )
    if isinstance(refusal, refusals.ScaRequired):
        most = refusal.threshold
        threshold = None if most is None else await money(context, most.amount, most.asset)
        return ScaRequired(code=code, message=refusal.message, path=path, threshold=threshold)
    if isinstance(refusal, refusals.TooManyCodes):
        assert refusal.resets_at is not None, "whoever refuses says until when"
        return TooManyCodes(code=code, message=refusal.message, path=path, resets_at=refusal.resets_at)
    if isinstance(refusal, refusals.ScaRejected):
        state = ScaChallengeState(refusal.challenge_state) if refusal.challenge_state else None
        return ScaRejected(
            code=code,
            message=refusal.message,
            path=path,
            attempts_left=refusal.attempts_left,
            challenge_state=state,
        )
    return TYPES[type(refusal)](code=code, message=refusal.message, path=path)
