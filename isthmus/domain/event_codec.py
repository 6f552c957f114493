"""Events as JSON and back, with the schema version of each type and the upcasters that lift old ones on reading.

Stored events are never changed: a new shape is a new schema version and a function here that lifts the one before it.
Amounts and times are strings, so that nothing passes through a float.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from inspect import cleandoc
from typing import Any, cast
from uuid import UUID

import msgspec
import orjson

from isthmus.domain.accounts import AccountClosed, AccountFrozen, AccountOpened, AccountRenamed, AccountUnfrozen
from isthmus.domain.api_keys import ApiKeyConfirmed, ApiKeyMade, ApiKeyRevoked
from isthmus.domain.bank_accounts import BankAccountLinked, BankAccountUnlinked, BankTransactionTagged
from isthmus.domain.batches import BatchInitiated
from isthmus.domain.consent_events import (
    AuthorisationBegun,
    AuthorisationReturned,
    ConsentAuthorised,
    ConsentEndChanged,
    ConsentExpired,
    ConsentExpiryNear,
    ConsentFailed,
    ConsentRejected,
    ConsentRenewalNeeded,
    ConsentRequested,
    ConsentRevoked,
    ConsentStatusParked,
    LinkDeleted,
)
from isthmus.domain.events import Event
from isthmus.domain.ledger import HoldVoided, JournalPosted, JournalReserved
from isthmus.domain.money import text_of
from isthmus.domain.payment_asks import PaymentAsked, PaymentAskStarted
from isthmus.domain.payment_decisions import PaymentDecided, PaymentDecisionProposed, PaymentLookedInto
from isthmus.domain.payment_events import (
    PaymentAuthorised,
    PaymentCancelled,
    PaymentEvidenceKept,
    PaymentExecuted,
    PaymentExempted,
    PaymentExpired,
    PaymentFailed,
    PaymentInitiated,
    PaymentParked,
    PaymentPayeeChecked,
    PaymentRejected,
    PaymentReleased,
    PaymentScreened,
    PaymentSettled,
    PaymentSubmissionStarted,
    PaymentSubmitted,
)
from isthmus.domain.personal import SEALED_PATTERN, Sealed
from isthmus.domain.personal_limits import LimitRaiseAsked, LimitSet
from isthmus.domain.reconciliation_cases import ReconciliationCaseClosed, ReconciliationCaseOpened
from isthmus.domain.saved_payees import PayeeRemoved, PayeeRequested, PayeeSaved
from isthmus.domain.sca import (
    ScaAnsweredWrongly,
    ScaBlocked,
    ScaChallengeIssued,
    ScaCountCleared,
    ScaExpired,
    ScaFailed,
    ScaFailureCounted,
    ScaInvalidated,
    ScaPassed,
)
from isthmus.domain.sca_apps import AppEnrolled, AppRemoved, AppRequested, AppUsed
from isthmus.domain.sca_devices import DeviceEnrolled, DeviceRemoved, DeviceRequested, DeviceUsed
from isthmus.domain.suspense_decisions import SuspenseDecided, SuspenseDecisionProposed

Data = dict[str, Any]
Upcaster = Callable[[Data], Data]

ACCOUNT = "account"
JOURNAL = "journal"
API_KEY = "api_key"
CONSENT = "consent"
BANK_ACCOUNT = "bank_account"
BANK_TRANSACTION = "bank_transaction"
PAYMENT = "payment"
SCA_CHALLENGE = "sca_challenge"
SCA_GUARD = "sca_guard"
SCA_DEVICE = "sca_device"
SCA_APP = "sca_app"
PERSONAL_LIMIT = "personal_limit"
PAYMENT_BATCH = "payment_batch"
SAVED_PAYEE = "saved_payee"
RECONCILIATION_CASE = "reconciliation_case"

#: Every event type: its class, its current schema version and whose stream it is in.
EVENT_TYPES: Mapping[str, tuple[type, int, str]] = {
    "AccountOpened": (AccountOpened, 1, ACCOUNT),
    "AccountRenamed": (AccountRenamed, 1, ACCOUNT),
    "AccountFrozen": (AccountFrozen, 2, ACCOUNT),
    "AccountUnfrozen": (AccountUnfrozen, 2, ACCOUNT),
    "AccountClosed": (AccountClosed, 1, ACCOUNT),
    "JournalPosted": (JournalPosted, 1, JOURNAL),
    "JournalReserved": (JournalReserved, 1, JOURNAL),
    "HoldVoided": (HoldVoided, 1, JOURNAL),
    "ApiKeyMade": (ApiKeyMade, 1, API_KEY),
    "ApiKeyConfirmed": (ApiKeyConfirmed, 1, API_KEY),
    "ApiKeyRevoked": (ApiKeyRevoked, 1, API_KEY),
    "ConsentRequested": (ConsentRequested, 1, CONSENT),
    "AuthorisationBegun": (AuthorisationBegun, 1, CONSENT),
    "AuthorisationReturned": (AuthorisationReturned, 1, CONSENT),
    "ConsentAuthorised": (ConsentAuthorised, 1, CONSENT),
    "ConsentRenewalNeeded": (ConsentRenewalNeeded, 1, CONSENT),
    "ConsentEndChanged": (ConsentEndChanged, 1, CONSENT),
    "ConsentExpiryNear": (ConsentExpiryNear, 1, CONSENT),
    "ConsentExpired": (ConsentExpired, 1, CONSENT),
    "ConsentRejected": (ConsentRejected, 1, CONSENT),
    "ConsentFailed": (ConsentFailed, 1, CONSENT),
    "ConsentRevoked": (ConsentRevoked, 1, CONSENT),
    "LinkDeleted": (LinkDeleted, 1, CONSENT),
    "ConsentStatusParked": (ConsentStatusParked, 1, CONSENT),
    "BankAccountLinked": (BankAccountLinked, 1, BANK_ACCOUNT),
    "BankAccountUnlinked": (BankAccountUnlinked, 1, BANK_ACCOUNT),
    "BankTransactionTagged": (BankTransactionTagged, 1, BANK_TRANSACTION),
    "PaymentInitiated": (PaymentInitiated, 1, PAYMENT),
    "PaymentPayeeChecked": (PaymentPayeeChecked, 1, PAYMENT),
    "PaymentScreened": (PaymentScreened, 1, PAYMENT),
    "PaymentExempted": (PaymentExempted, 1, PAYMENT),
    "PaymentReleased": (PaymentReleased, 1, PAYMENT),
    "PaymentAskStarted": (PaymentAskStarted, 1, PAYMENT),
    "PaymentAsked": (PaymentAsked, 1, PAYMENT),
    "PaymentAuthorised": (PaymentAuthorised, 1, PAYMENT),
    "PaymentSubmissionStarted": (PaymentSubmissionStarted, 1, PAYMENT),
    "PaymentSubmitted": (PaymentSubmitted, 1, PAYMENT),
    "PaymentExecuted": (PaymentExecuted, 1, PAYMENT),
    "PaymentSettled": (PaymentSettled, 1, PAYMENT),
    "PaymentRejected": (PaymentRejected, 1, PAYMENT),
    "PaymentCancelled": (PaymentCancelled, 1, PAYMENT),
    "PaymentExpired": (PaymentExpired, 1, PAYMENT),
    "PaymentFailed": (PaymentFailed, 1, PAYMENT),
    "PaymentEvidenceKept": (PaymentEvidenceKept, 1, PAYMENT),
    "PaymentParked": (PaymentParked, 1, PAYMENT),
    "PaymentDecisionProposed": (PaymentDecisionProposed, 1, PAYMENT),
    "PaymentDecided": (PaymentDecided, 1, PAYMENT),
    "PaymentLookedInto": (PaymentLookedInto, 1, PAYMENT),
    "ScaChallengeIssued": (ScaChallengeIssued, 1, SCA_CHALLENGE),
    "ScaAnsweredWrongly": (ScaAnsweredWrongly, 1, SCA_CHALLENGE),
    "ScaPassed": (ScaPassed, 1, SCA_CHALLENGE),
    "ScaFailed": (ScaFailed, 1, SCA_CHALLENGE),
    "ScaExpired": (ScaExpired, 1, SCA_CHALLENGE),
    "ScaInvalidated": (ScaInvalidated, 1, SCA_CHALLENGE),
    "ScaFailureCounted": (ScaFailureCounted, 1, SCA_GUARD),
    "ScaBlocked": (ScaBlocked, 1, SCA_GUARD),
    "ScaCountCleared": (ScaCountCleared, 1, SCA_GUARD),
    "DeviceRequested": (DeviceRequested, 1, SCA_DEVICE),
    "DeviceEnrolled": (DeviceEnrolled, 1, SCA_DEVICE),
    "DeviceUsed": (DeviceUsed, 1, SCA_DEVICE),
    "DeviceRemoved": (DeviceRemoved, 1, SCA_DEVICE),
    "AppRequested": (AppRequested, 1, SCA_APP),
    "AppEnrolled": (AppEnrolled, 1, SCA_APP),
    "AppUsed": (AppUsed, 1, SCA_APP),
    "AppRemoved": (AppRemoved, 1, SCA_APP),
    "BatchInitiated": (BatchInitiated, 1, PAYMENT_BATCH),
    "LimitRaiseAsked": (LimitRaiseAsked, 1, PERSONAL_LIMIT),
    "LimitSet": (LimitSet, 1, PERSONAL_LIMIT),
    "PayeeRequested": (PayeeRequested, 1, SAVED_PAYEE),
    "PayeeSaved": (PayeeSaved, 1, SAVED_PAYEE),
    "PayeeRemoved": (PayeeRemoved, 1, SAVED_PAYEE),
    "ReconciliationCaseOpened": (ReconciliationCaseOpened, 1, RECONCILIATION_CASE),
    "ReconciliationCaseClosed": (ReconciliationCaseClosed, 1, RECONCILIATION_CASE),
    "SuspenseDecisionProposed": (SuspenseDecisionProposed, 1, RECONCILIATION_CASE),
    "SuspenseDecided": (SuspenseDecided, 1, RECONCILIATION_CASE),
}


def _with_unspecified_reason(data: Data) -> Data:
    """Version 1 did not say why an account was frozen, and an account had one freeze at most."""
    return {**data, "reason": "UNSPECIFIED"}


#: The field that an aggregate's events name it by. A journal's depends on whether it resolves a hold.
_NAMED_BY: Mapping[str, str] = {
    ACCOUNT: "account_id",
    API_KEY: "api_key_id",
    CONSENT: "consent_id",
    BANK_ACCOUNT: "bank_account_id",
    BANK_TRANSACTION: "bank_transaction_id",
    PAYMENT: "payment_id",
    SCA_CHALLENGE: "challenge_id",
    SCA_GUARD: "guard_id",
    SCA_DEVICE: "device_id",
    SCA_APP: "app_id",
    PERSONAL_LIMIT: "limit_id",
    PAYMENT_BATCH: "batch_id",
    SAVED_PAYEE: "payee_id",
    RECONCILIATION_CASE: "case_id",
}

#: (type, version) -> lifts that version by one.
UPCASTERS: Mapping[tuple[str, int], Upcaster] = {
    ("AccountFrozen", 1): _with_unspecified_reason,
    ("AccountUnfrozen", 1): _with_unspecified_reason,
}


class UnknownEvent(Exception):
    """An event type, or a schema version of it, that this release does not know: written by a newer one."""


def upcast(event_type: str, schema_version: int, data: Data) -> Data:
    known = EVENT_TYPES.get(event_type)
    if known is None or schema_version > known[1]:
        raise UnknownEvent(f"{event_type} v{schema_version}")
    for version in range(schema_version, known[1]):
        data = UPCASTERS[event_type, version](data)
    return data


def encode(event: Event) -> bytes:
    """As JSON: ids and times as text, amounts as plain digits."""
    return dump(fields_of(event))


def fields_of(event: Event) -> Data:
    """An event's fields for `dump`. Lists are encoded already: the event and its public form, which share them, pay once."""
    return {
        name: orjson.Fragment(dump(value)) if isinstance(value, tuple) else value for name, value in vars(event).items()
    }


def dump(value: object) -> bytes:
    return orjson.dumps(value, default=_encode_odd)


def decode(event_type: str, schema_version: int, data: Data) -> Event:
    """Raises UnknownEvent, or msgspec.ValidationError where the data is not what its schema says."""
    lifted = upcast(event_type, schema_version, data)
    return cast(Event, msgspec.convert(lifted, EVENT_TYPES[event_type][0], dec_hook=_decode_odd))


def stream_of(event: Event) -> tuple[str, UUID]:
    """(aggregate type, aggregate id) of the stream that the event belongs to."""
    kind = EVENT_TYPES[type(event).__name__][2]
    if kind in _NAMED_BY:
        return kind, getattr(event, _NAMED_BY[kind])
    if isinstance(event, JournalPosted) and event.resolves is not None:
        return JOURNAL, event.resolves
    return JOURNAL, cast(JournalPosted, event).journal_id


def json_schema(event_type: str) -> Data:
    """The JSON Schema of an event type's current version."""
    schema = msgspec.json.schema(EVENT_TYPES[event_type][0], schema_hook=_schema_odd)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_cleaned(schema)}


def _cleaned(schema: Any) -> Any:
    """Docstrings are indented on some Pythons and not on others; the published schema is one."""
    if isinstance(schema, dict):
        return {
            key: cleandoc(value) if key == "description" and isinstance(value, str) else _cleaned(value)
            for key, value in schema.items()
        }
    return [_cleaned(one) for one in schema] if isinstance(schema, list) else schema


def _encode_odd(value: object) -> str:
    if isinstance(value, Decimal):
        return text_of(value)
    if isinstance(value, UUID):
        return str(value)  # a driver's own kind of UUID
    raise TypeError(type(value))


def _decode_odd(kind: type, value: object) -> object:
    if kind is Sealed and isinstance(value, str):
        return Sealed(value)
    raise NotImplementedError(kind)


def _schema_odd(kind: type) -> Data:
    if kind is Sealed:
        return {"type": "string", "pattern": SEALED_PATTERN, "x-personal": True}
    raise NotImplementedError(kind)
