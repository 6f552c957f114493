"""Refusals as data: one GraphQL type for each refusal of the domain, by one map that is total (a test counts them)."""

from __future__ import annotations

from collections.abc import Mapping

import strawberry

from isthmus.domain import refusals
from isthmus.domain.refusals import Refusal
from isthmus.graphql.context import RequestContext
from isthmus.resolvers.money import Money, money
from isthmus.resolvers.payment_errors import (
    CaseProposalOver,
    DeviceNotFound,
    DeviceRefused,
    LimitExceeded,
    MoneyInSuspense,
    PayeeAccountInvalid,
    PayeeExists,
    PayeeNotFound,
    PaymentContradicted,
    PaymentNotCancellable,
    PaymentNotFound,
    PaymentNotInReview,
    PaymentNotParked,
    PaymentProposalOver,
    ReconciliationCaseNotFound,
    ScaBlocked,
    ScaMethodUnavailable,
    ScaRejected,
    ScaRequired,
    SecondOperatorNeeded,
    TooManyCodes,
    TooManyDevices,
)
from isthmus.resolvers.sca_states import ScaChallengeState
from isthmus.resolvers.user_error import UserError, UserErrorCode


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
    refusals.CaseProposalOver: CaseProposalOver,
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
    if isinstance(refusal, refusals.ScaBlockedRefusal):
        assert refusal.resets_at is not None, "whoever refuses says until when"
        return ScaBlocked(code=code, message=refusal.message, path=path, resets_at=refusal.resets_at)
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
