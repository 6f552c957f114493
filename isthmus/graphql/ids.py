"""Global ids: opaque to clients. One thing has one id: any other spelling of it is malformed, and answered as missing."""

from __future__ import annotations

import base64
import binascii
from enum import Enum
from uuid import UUID

from isthmus.domain.identifiers import NOWHERE

_LENGTH_MAX = 100


class Kind(Enum):
    """Two bytes each, so that no id needs padding."""

    ACCOUNT = b"ac"
    AGGREGATE = b"ag"
    API_KEY = b"ak"
    BANK_ACCOUNT = b"ba"
    BANK_TRANSACTION = b"bt"
    CONSENT = b"co"
    DEVICE = b"de"
    JOURNAL = b"jo"
    NOTIFICATION = b"no"
    PAYEE = b"py"
    PAYMENT = b"pa"
    PERSON = b"pe"
    RECONCILIATION_CASE = b"rc"
    SCA_CHALLENGE = b"sc"
    TRANSACTION = b"tx"


def encode(kind: Kind, *parts: UUID) -> str:
    raw = kind.value + b"".join(part.bytes for part in parts)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(text: str) -> tuple[Kind, tuple[UUID, ...]] | None:
    """None for whatever `encode` did not make."""
    if not text.isascii() or len(text) > _LENGTH_MAX:
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        kind = Kind(raw[:2])
    except (binascii.Error, ValueError):
        return None
    body = raw[2:]
    if len(body) != (32 if kind is Kind.TRANSACTION else 16):
        return None
    parts = tuple(UUID(bytes=body[start : start + 16]) for start in range(0, len(body), 16))
    return (kind, parts) if encode(kind, *parts) == text else None


def proposal_key(text: str) -> UUID:
    """A proposal's id, or NOWHERE: it has no place in the graph, and is told as it is."""
    try:
        return UUID(text)
    except ValueError:
        return NOWHERE


def account_key(text: str) -> UUID:
    """The account's id, or NOWHERE: a malformed id goes the same way as a missing one."""
    match decode(text):
        case (Kind.ACCOUNT, (account_id,)):
            return account_id
        case _:
            return NOWHERE


def api_key_key(text: str) -> UUID:
    """The API key's id, or NOWHERE."""
    match decode(text):
        case (Kind.API_KEY, (api_key_id,)):
            return api_key_id
        case _:
            return NOWHERE


def consent_key(text: str) -> UUID:
    """The consent's id, or NOWHERE."""
    match decode(text):
        case (Kind.CONSENT, (consent_id,)):
            return consent_id
        case _:
            return NOWHERE


def bank_account_key(text: str) -> UUID:
    """The bank account's id, or NOWHERE."""
    match decode(text):
        case (Kind.BANK_ACCOUNT, (bank_account_id,)):
            return bank_account_id
        case _:
            return NOWHERE


def bank_transaction_key(text: str) -> UUID:
    """The bank transaction's id, or NOWHERE."""
    match decode(text):
        case (Kind.BANK_TRANSACTION, (transaction_id,)):
            return transaction_id
        case _:
            return NOWHERE


def payment_key(text: str) -> UUID:
    """The payment's id, or NOWHERE."""
    match decode(text):
        case (Kind.PAYMENT, (payment_id,)):
            return payment_id
        case _:
            return NOWHERE


def payee_key(text: str) -> UUID:
    """The saved payee's id, or NOWHERE."""
    match decode(text):
        case (Kind.PAYEE, (payee_id,)):
            return payee_id
        case _:
            return NOWHERE


def device_key(text: str) -> UUID:
    """The device's id, or NOWHERE."""
    match decode(text):
        case (Kind.DEVICE, (device_id,)):
            return device_id
        case _:
            return NOWHERE


def sca_challenge_key(text: str) -> UUID:
    """The challenge's id, or NOWHERE."""
    match decode(text):
        case (Kind.SCA_CHALLENGE, (challenge_id,)):
            return challenge_id
        case _:
            return NOWHERE


def case_key(text: str) -> UUID:
    """The reconciliation case's id, or NOWHERE."""
    match decode(text):
        case (Kind.RECONCILIATION_CASE, (case_id,)):
            return case_id
        case _:
            return NOWHERE


def aggregate_id(aggregate_type: str, key: UUID) -> str:
    known = {
        "account": Kind.ACCOUNT,
        "api_key": Kind.API_KEY,
        "bank_account": Kind.BANK_ACCOUNT,
        "bank_transaction": Kind.BANK_TRANSACTION,
        "consent": Kind.CONSENT,
        "journal": Kind.JOURNAL,
        "payment": Kind.PAYMENT,
        "reconciliation_case": Kind.RECONCILIATION_CASE,
        "sca_challenge": Kind.SCA_CHALLENGE,
        "sca_device": Kind.DEVICE,
        "saved_payee": Kind.PAYEE,
    }
    return encode(known.get(aggregate_type, Kind.AGGREGATE), key)
