"""What people are told of without asking, and in which words.

Words say what happened to whom, and never why: what a rule or an operator refused reads as what a bank refused. That a payment is
looked at by anybody is no notice at all. There are no codes and no links in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import assert_never
from uuid import UUID, uuid5

from isthmus.domain.notifications import Channel


class NoticeKind(StrEnum):
    PAYMENT_EXECUTED = "PAYMENT_EXECUTED"
    PAYMENT_SETTLED = "PAYMENT_SETTLED"
    PAYMENT_REJECTED = "PAYMENT_REJECTED"
    PAYMENT_FAILED = "PAYMENT_FAILED"
    PAYMENT_EXPIRED = "PAYMENT_EXPIRED"
    PAYMENT_CANCELLED = "PAYMENT_CANCELLED"
    SCA_BLOCKED = "SCA_BLOCKED"
    DEVICE_ENROLLED = "DEVICE_ENROLLED"
    DEVICE_REMOVED = "DEVICE_REMOVED"
    AUTHENTICATOR_ENROLLED = "AUTHENTICATOR_ENROLLED"
    AUTHENTICATOR_REMOVED = "AUTHENTICATOR_REMOVED"
    API_KEY_MADE = "API_KEY_MADE"
    PAYEE_SAVED = "PAYEE_SAVED"
    LIMIT_CHANGED = "LIMIT_CHANGED"
    NOTIFICATIONS_SWITCHED_OFF = "NOTIFICATIONS_SWITCHED_OFF"
    CONSENT_EXPIRY_NEAR = "CONSENT_EXPIRY_NEAR"
    CONSENT_EXPIRED = "CONSENT_EXPIRED"
    CONSENT_REVOKED = "CONSENT_REVOKED"
    CONSENT_RENEWAL_NEEDED = "CONSENT_RENEWAL_NEEDED"


K = NoticeKind
#: Nobody can switch these off: whoever took over an account would.
SAFETY = frozenset(
    {
        K.SCA_BLOCKED,
        K.DEVICE_ENROLLED,
        K.DEVICE_REMOVED,
        K.AUTHENTICATOR_ENROLLED,
        K.AUTHENTICATOR_REMOVED,
        K.API_KEY_MADE,
        K.PAYEE_SAVED,
        K.LIMIT_CHANGED,
        K.NOTIFICATIONS_SWITCHED_OFF,
    }
)
#: Events by their types' names, as the log has them. What somebody wishes to be told of is in no log: whoever takes that wish tells of it.
KINDS: Mapping[str, NoticeKind] = {
    "PaymentExecuted": K.PAYMENT_EXECUTED,
    "PaymentSettled": K.PAYMENT_SETTLED,
    "PaymentRejected": K.PAYMENT_REJECTED,
    "PaymentFailed": K.PAYMENT_FAILED,
    "PaymentExpired": K.PAYMENT_EXPIRED,
    "PaymentCancelled": K.PAYMENT_CANCELLED,
    "ScaBlocked": K.SCA_BLOCKED,
    "DeviceEnrolled": K.DEVICE_ENROLLED,
    "DeviceRemoved": K.DEVICE_REMOVED,
    "AppEnrolled": K.AUTHENTICATOR_ENROLLED,
    "AppRemoved": K.AUTHENTICATOR_REMOVED,
    "ApiKeyConfirmed": K.API_KEY_MADE,
    "PayeeSaved": K.PAYEE_SAVED,
    "LimitSet": K.LIMIT_CHANGED,
    "ConsentExpiryNear": K.CONSENT_EXPIRY_NEAR,
    "ConsentExpired": K.CONSENT_EXPIRED,
    "ConsentRevoked": K.CONSENT_REVOKED,
    "ConsentRenewalNeeded": K.CONSENT_RENEWAL_NEEDED,
}


@dataclass(frozen=True)
class Facts:
    """What a notice's words are made of; None where it has no such thing."""

    amount: str | None = None
    payee: str | None = field(default=None, repr=False)
    device: str | None = field(default=None, repr=False)
    bank: str | None = None
    ends: str | None = None


def kind_of(event_type: str, owner: UUID, actor: str) -> NoticeKind | None:
    """None where its owner is told nothing: of what they took back themselves they know. What a key of theirs did is told."""
    kind = KINDS.get(event_type)
    return None if kind is K.PAYMENT_CANCELLED and actor == f"person:{owner}" else kind


def delivery_key(event_id: UUID, channel: Channel) -> UUID:
    """What a message is sent under, however often it is."""
    return uuid5(event_id, channel)


def wait_after(tries: int) -> timedelta:
    """How long until a message that was not taken is sent again: 5 s, 10 s, 20 s … up to ten minutes."""
    return timedelta(seconds=min(5 * 2 ** min(tries - 1, 10), 600))


def words(kind: NoticeKind, facts: Facts) -> tuple[str, str] | None:
    """Title and text; None where nobody can tell any more what it is about."""
    match kind:
        case (
            K.PAYMENT_EXECUTED
            | K.PAYMENT_SETTLED
            | K.PAYMENT_REJECTED
            | K.PAYMENT_FAILED
            | K.PAYMENT_EXPIRED
            | K.PAYMENT_CANCELLED
        ):
            title, text = _PAYMENTS[kind]
            about = f"{facts.amount} to {facts.payee}"
            return None if facts.amount is None or facts.payee is None else (title, f"{about} {text}")
        case K.SCA_BLOCKED:
            return (
                "Too many wrong answers",
                "Nothing can be authorised for a while, because it was answered wrongly too often. If it was not you, call us.",
            )
        case K.DEVICE_ENROLLED | K.DEVICE_REMOVED:
            if facts.device is None:
                return None
            if kind is K.DEVICE_ENROLLED:
                return "A new device", f"“{facts.device}” can now authorise payments. If it was not you, call us."
            return "A device was removed", f"“{facts.device}” authorises nothing any more. If it was not you, call us."
        case (
            K.AUTHENTICATOR_ENROLLED
            | K.AUTHENTICATOR_REMOVED
            | K.API_KEY_MADE
            | K.PAYEE_SAVED
            | K.LIMIT_CHANGED
            | K.NOTIFICATIONS_SWITCHED_OFF
        ):
            title, text = _STEP_UPS[kind]
            return title, f"{text} If it was not you, call us."
        case K.CONSENT_EXPIRY_NEAR | K.CONSENT_EXPIRED | K.CONSENT_REVOKED | K.CONSENT_RENEWAL_NEEDED:
            title, text = _CONSENTS[kind]
            bank, ends = facts.bank or "your bank", f"on {facts.ends}" if facts.ends else "soon"
            return title, text.format(bank=bank, ends=ends)
        case _:
            assert_never(kind)


_PAYMENTS = {
    K.PAYMENT_EXECUTED: ("Payment sent", "was sent."),
    K.PAYMENT_SETTLED: ("Payment arrived", "has arrived."),
    K.PAYMENT_REJECTED: ("Payment not made", "was not made. No money was moved."),
    K.PAYMENT_FAILED: ("Payment failed", "could not be made. No money was moved."),
    K.PAYMENT_EXPIRED: ("Payment not confirmed", "was not confirmed in time. No money was moved."),
    K.PAYMENT_CANCELLED: ("Payment cancelled", "was cancelled. No money was moved."),
}
_STEP_UPS = {
    K.AUTHENTICATOR_ENROLLED: ("A new authenticator app", "Codes of an authenticator app can now authorise payments."),
    K.AUTHENTICATOR_REMOVED: ("An authenticator app was removed", "Its codes authorise nothing any more."),
    K.API_KEY_MADE: ("A new API key", "A program can now use an API key of yours."),
    K.PAYEE_SAVED: ("A new payee was saved", "You may be asked less when you pay them."),
    K.LIMIT_CHANGED: ("Your limits were changed", "How much you can pay was changed."),
    K.NOTIFICATIONS_SWITCHED_OFF: ("Notifications were switched off", "You will not be told of everything any more."),
}
_CONSENTS = {
    K.CONSENT_EXPIRY_NEAR: ("Access ends soon", "What you let us see at {bank} ends {ends}. Renew it to go on."),
    K.CONSENT_EXPIRED: ("Access has ended", "What you let us see at {bank} has ended. Renew it to go on."),
    K.CONSENT_REVOKED: ("Access was taken back", "We see nothing at {bank} any more."),
    K.CONSENT_RENEWAL_NEEDED: (
        "Your bank wants to see you",
        "Sign in at {bank} again, so that we can go on reading it.",
    ),
}
