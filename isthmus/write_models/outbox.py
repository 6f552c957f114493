"""Integration events: the small public set that others may rely on. No personal text is in them, sealed or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class IntegrationEvent:
    """`payload` is for `event_codec.dump`. The outbox's other columns (Debezium's) are those of the event."""

    topic: str
    payload: Mapping[str, object]


_PUBLIC: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "AccountOpened": ("accounts.account.opened.v1", ("account_id", "account_type", "asset", "owner")),
    "AccountRenamed": ("accounts.account.renamed.v1", ("account_id", "owner")),
    "AccountFrozen": ("accounts.account.frozen.v1", ("account_id", "owner", "reason")),
    "AccountUnfrozen": ("accounts.account.unfrozen.v1", ("account_id", "owner", "reason")),
    "AccountClosed": ("accounts.account.closed.v1", ("account_id", "owner")),
    "JournalPosted": (
        "ledger.journal.posted.v1",
        ("journal_id", "kind", "legs", "figures", "reverses", "resolves", "linked"),
    ),
    "JournalReserved": (
        "ledger.journal.reserved.v1",
        ("journal_id", "kind", "legs", "figures", "expires_at", "linked"),
    ),
    "HoldVoided": ("ledger.hold.voided.v1", ("journal_id", "reason", "figures")),
    "ApiKeyMade": ("access.api_key.made.v1", ("api_key_id", "owner", "scopes", "expires_at")),
    "ApiKeyConfirmed": ("access.api_key.confirmed.v1", ("api_key_id", "owner")),
    "ApiKeyRevoked": ("access.api_key.revoked.v1", ("api_key_id", "owner")),
    "ConsentRequested": (
        "banking.consent.requested.v1",
        ("consent_id", "owner", "institution_id", "provider", "jurisdiction", "scopes"),
    ),
    "AuthorisationBegun": ("banking.consent.authorisation_begun.v1", ("consent_id", "owner", "renewal")),
    "AuthorisationReturned": ("banking.consent.authorisation_returned.v1", ("consent_id", "owner")),
    "ConsentAuthorised": ("banking.consent.authorised.v1", ("consent_id", "owner", "expires_at")),
    "ConsentRenewalNeeded": ("banking.consent.renewal_needed.v1", ("consent_id", "owner")),
    "ConsentEndChanged": ("banking.consent.end_changed.v1", ("consent_id", "owner", "expires_at")),
    "ConsentExpiryNear": ("banking.consent.expiry_near.v1", ("consent_id", "owner", "expires_at")),
    "ConsentExpired": ("banking.consent.expired.v1", ("consent_id", "owner")),
    "ConsentRejected": ("banking.consent.rejected.v1", ("consent_id", "owner")),
    "ConsentFailed": ("banking.consent.failed.v1", ("consent_id", "owner", "reason")),
    "ConsentRevoked": ("banking.consent.revoked.v1", ("consent_id", "owner", "by")),
    "LinkDeleted": ("banking.consent.link_deleted.v1", ("consent_id", "owner")),
    "ConsentStatusParked": ("banking.consent.status_parked.v1", ("consent_id", "owner", "told")),
    "BankAccountLinked": (
        "banking.account.linked.v1",
        ("bank_account_id", "owner", "consent_id", "institution_id", "provider", "currency"),
    ),
    "BankTransactionTagged": ("banking.transaction.tagged.v1", ("bank_transaction_id", "owner")),
    "PaymentInitiated": (
        "payments.payment.initiated.v1",
        ("payment_id", "owner", "source", "from_account_id", "provider", "asset", "amount", "challenge_id"),
    ),
    # What a bank said of somebody's account is for the payer's eyes.
    "PaymentPayeeChecked": ("payments.payment.payee_checked.v1", ("payment_id", "owner")),
    # By which rule is for the platform's own eyes.
    "PaymentScreened": ("payments.payment.screened.v1", ("payment_id", "owner")),
    "PaymentExempted": ("payments.payment.exempted.v1", ("payment_id", "owner", "rule", "rules_version")),
    "PaymentReleased": ("payments.payment.released.v1", ("payment_id", "owner")),
    "PaymentAskStarted": ("payments.payment.ask_started.v1", ("payment_id", "owner", "attempt")),
    # Where the person is sent to, and what they come back with, is theirs and ours alone.
    "PaymentAsked": ("payments.payment.asked.v1", ("payment_id", "owner", "challenge_id", "poll_after_s")),
    "PaymentAuthorised": ("payments.payment.authorised.v1", ("payment_id", "owner", "by")),
    "PaymentSubmissionStarted": ("payments.payment.submission_started.v1", ("payment_id", "owner", "attempt")),
    "PaymentSubmitted": ("payments.payment.submitted.v1", ("payment_id", "owner", "provider_reference")),
    "PaymentExecuted": ("payments.payment.executed.v1", ("payment_id", "owner")),
    "PaymentSettled": ("payments.payment.settled.v1", ("payment_id", "owner")),
    "PaymentRejected": ("payments.payment.rejected.v1", ("payment_id", "owner", "code")),
    "PaymentCancelled": ("payments.payment.cancelled.v1", ("payment_id", "owner")),
    "PaymentExpired": ("payments.payment.expired.v1", ("payment_id", "owner")),
    "PaymentFailed": ("payments.payment.failed.v1", ("payment_id", "owner", "code", "retryable")),
    "PaymentEvidenceKept": ("payments.payment.evidence_kept.v1", ("payment_id", "owner", "told")),
    "PaymentParked": ("payments.payment.parked.v1", ("payment_id", "owner", "why")),
    # Which operators, and why, is for the platform's own eyes.
    "PaymentDecisionProposed": ("payments.payment.decision_proposed.v1", ("payment_id", "owner")),
    "PaymentDecided": ("payments.payment.decided.v1", ("payment_id", "owner", "finding", "moved")),
    "PaymentLookedInto": ("payments.payment.looked_into.v1", ("payment_id", "owner", "in_order")),
    "ScaChallengeIssued": (
        "sca.challenge.issued.v1",
        ("challenge_id", "owner", "purpose", "subject_id", "method", "expires_at"),
    ),
    "ScaAnsweredWrongly": ("sca.challenge.answered_wrongly.v1", ("challenge_id", "owner")),
    "ScaPassed": ("sca.challenge.passed.v1", ("challenge_id", "owner", "proof")),
    "ScaFailed": ("sca.challenge.failed.v1", ("challenge_id", "owner")),
    "ScaExpired": ("sca.challenge.expired.v1", ("challenge_id", "owner")),
    "ScaInvalidated": ("sca.challenge.invalidated.v1", ("challenge_id", "owner", "reason")),
    "ScaFailureCounted": ("sca.guard.failure_counted.v1", ("guard_id", "owner", "challenge_id")),
    "ScaBlocked": ("sca.guard.blocked.v1", ("guard_id", "owner", "until")),
    "ScaCountCleared": ("sca.guard.count_cleared.v1", ("guard_id", "owner")),
    "DeviceRequested": ("sca.device.requested.v1", ("device_id", "owner", "challenge_id", "enrol_until")),
    "DeviceEnrolled": ("sca.device.enrolled.v1", ("device_id", "owner")),
    "DeviceUsed": ("sca.device.used.v1", ("device_id", "owner", "challenge_id")),
    "AppRequested": ("sca.app.requested.v1", ("app_id", "owner", "challenge_id", "enrol_until")),
    "AppEnrolled": ("sca.app.enrolled.v1", ("app_id", "owner")),
    "AppUsed": ("sca.app.used.v1", ("app_id", "owner", "challenge_id")),
    "AppRemoved": ("sca.app.removed.v1", ("app_id", "owner")),
    "BatchInitiated": (
        "payments.batch.initiated.v1",
        ("batch_id", "owner", "from_account_id", "asset", "total", "payment_ids"),
    ),
    "LimitRaiseAsked": ("payments.limit.raise_asked.v1", ("limit_id", "owner", "asset", "per_payment", "per_day")),
    "LimitSet": ("payments.limit.set.v1", ("limit_id", "owner", "asset", "per_payment", "per_day")),
    "DeviceRemoved": ("sca.device.removed.v1", ("device_id", "owner")),
    "PayeeRequested": ("payees.payee.requested.v1", ("payee_id", "owner", "challenge_id")),
    "PayeeSaved": ("payees.payee.saved.v1", ("payee_id", "owner")),
    "PayeeRemoved": ("payees.payee.removed.v1", ("payee_id", "owner")),
    "ReconciliationCaseOpened": (
        "ledger.reconciliation_case.opened.v1",
        ("case_id", "provider", "asset", "difference", "journal_id", "entry_id", "ours", "theirs", "at", "why"),
    ),
    "ReconciliationCaseClosed": ("ledger.reconciliation_case.closed.v1", ("case_id", "by")),
    "SuspenseDecisionProposed": ("ledger.suspense.decision_proposed.v1", ("case_id",)),
    "SuspenseDecided": ("ledger.suspense.decided.v1", ("case_id", "journal_id", "account_id", "return_entry")),
    "BankAccountUnlinked": ("banking.account.unlinked.v1", ("bank_account_id", "owner", "consent_id")),
}

TOPICS: tuple[str, ...] = tuple(topic for topic, _ in _PUBLIC.values())


def integration_event(kind: str, fields: Mapping[str, object], about: Mapping[str, object]) -> IntegrationEvent:
    """The public form of an event of type `kind` with `fields`. `about`: what every payload says beside them."""
    topic, public = _PUBLIC[kind]
    return IntegrationEvent(topic, {**about, **{name: fields[name] for name in public}})
