"""What each provider's word for a consent means to us. Total: a word that is not known is UNKNOWN, never a fault.

Sources: Plaid's item errors and webhooks; TrueLayer's `consent_status`; Yapily's openapi 12.13 (17 authorisation statuses); the Berlin
Group's consentStatus; GoCardless' requisition statuses.
"""

from __future__ import annotations

from collections.abc import Mapping

from isthmus.domain.banking import ProviderConsent

_PLAID = {
    "GOOD": ProviderConsent.AUTHORISED,
    "LOGIN_REPAIRED": ProviderConsent.AUTHORISED,
    "ITEM_LOGIN_REQUIRED": ProviderConsent.RENEWAL_NEEDED,
    "INVALID_CREDENTIALS": ProviderConsent.RENEWAL_NEEDED,
    "INVALID_MFA": ProviderConsent.RENEWAL_NEEDED,
    "INVALID_SEND_METHOD": ProviderConsent.RENEWAL_NEEDED,
    "INVALID_UPDATED_USERNAME": ProviderConsent.RENEWAL_NEEDED,
    "INSUFFICIENT_CREDENTIALS": ProviderConsent.RENEWAL_NEEDED,
    "ITEM_LOCKED": ProviderConsent.RENEWAL_NEEDED,
    "MFA_NOT_SUPPORTED": ProviderConsent.RENEWAL_NEEDED,
    "USER_SETUP_REQUIRED": ProviderConsent.RENEWAL_NEEDED,
    "PENDING_DISCONNECT": ProviderConsent.RENEWAL_NEEDED,
    "PENDING_EXPIRATION": ProviderConsent.AUTHORISED,
    "NEW_ACCOUNTS_AVAILABLE": ProviderConsent.AUTHORISED,
    "ACCESS_NOT_GRANTED": ProviderConsent.RENEWAL_NEEDED,
    "NO_ACCOUNTS": ProviderConsent.RENEWAL_NEEDED,
    "ITEM_NOT_FOUND": ProviderConsent.REVOKED,
    "INVALID_ACCESS_TOKEN": ProviderConsent.REVOKED,
    "USER_PERMISSION_REVOKED": ProviderConsent.REVOKED,
    # Of one account among several: the Item itself goes on.
    "USER_ACCOUNT_REVOKED": ProviderConsent.AUTHORISED,
}
_TRUELAYER = {
    "AuthorisationPending": ProviderConsent.AWAITING,
    "Authorised": ProviderConsent.AUTHORISED,
    "Expired": ProviderConsent.EXPIRED,
    "Revoked": ProviderConsent.REVOKED,
    "Rejected": ProviderConsent.REJECTED,
    "Failed": ProviderConsent.FAILED,
}
_YAPILY = {
    "AWAITING_AUTHORIZATION": ProviderConsent.AWAITING,
    "AWAITING_FURTHER_AUTHORIZATION": ProviderConsent.AWAITING,
    "AWAITING_RE_AUTHORIZATION": ProviderConsent.RENEWAL_NEEDED,
    "AUTHORIZED": ProviderConsent.AUTHORISED,
    "CONSUMED": ProviderConsent.EXPIRED,
    "REJECTED": ProviderConsent.REJECTED,
    "REVOKED": ProviderConsent.REVOKED,
    "FAILED": ProviderConsent.FAILED,
    "EXPIRED": ProviderConsent.EXPIRED,
    # A word of Yapily's own for "the bank did not say": as little known to us.
    "UNKNOWN": ProviderConsent.UNKNOWN,
    "INVALID": ProviderConsent.FAILED,
    "AWAITING_DECOUPLED_PRE_AUTHORIZATION": ProviderConsent.AWAITING,
    "AWAITING_PRE_AUTHORIZATION": ProviderConsent.AWAITING,
    "PRE_AUTHORIZED": ProviderConsent.AWAITING,
    "AWAITING_DECOUPLED_AUTHORIZATION": ProviderConsent.AWAITING,
    "AWAITING_SCA_METHOD": ProviderConsent.AWAITING,
    "AWAITING_SCA_CODE": ProviderConsent.AWAITING,
}
_BERLIN_GROUP = {
    "received": ProviderConsent.AWAITING,
    "partiallyAuthorised": ProviderConsent.AWAITING,
    "valid": ProviderConsent.AUTHORISED,
    "rejected": ProviderConsent.REJECTED,
    "revokedByPsu": ProviderConsent.REVOKED,
    "terminatedByTpp": ProviderConsent.REVOKED,
    "expired": ProviderConsent.EXPIRED,
}
_GOCARDLESS = {
    "CR": ProviderConsent.AWAITING,
    "GC": ProviderConsent.AWAITING,
    "UA": ProviderConsent.AWAITING,
    "SA": ProviderConsent.AWAITING,
    "GA": ProviderConsent.AWAITING,
    "LN": ProviderConsent.AUTHORISED,
    "RJ": ProviderConsent.REJECTED,
    "EX": ProviderConsent.EXPIRED,
}
CONSENTS: Mapping[str, Mapping[str, ProviderConsent]] = {
    "plaid": _PLAID,
    "truelayer": _TRUELAYER,
    "yapily": _YAPILY,
    "berlin_group": _BERLIN_GROUP,
    "gocardless": _GOCARDLESS,
}


def consent_state(provider: str, word: str) -> ProviderConsent:
    return CONSENTS.get(provider, {}).get(word, ProviderConsent.UNKNOWN)
