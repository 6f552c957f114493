"""What every refusal has, as data: a code for programs, a sentence for people, and the field at fault."""

from __future__ import annotations

from enum import Enum

import strawberry


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
    CASE_PROPOSAL_OVER = strawberry.enum_value(
        "CASE_PROPOSAL_OVER", description="The proposal waits for nobody any more."
    )
    SECOND_OPERATOR_NEEDED = strawberry.enum_value(
        "SECOND_OPERATOR_NEEDED",
        description="Another operator is to confirm what you proposed, or what would be yours.",
    )
    MONEY_IN_SUSPENSE = strawberry.enum_value(
        "MONEY_IN_SUSPENSE",
        description="The case's money is in suspense: propose whose it is, or that it was sent back.",
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
