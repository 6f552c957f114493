"""What each provider's word for a payment means to us. Total: a word that is not known is UNKNOWN, never a fault.

Sources: TrueLayer's payments and payouts v3 (docs.truelayer.com), Yapily's openapi 12.13 (17 authorisation and 9 payment statuses) and
docs.yapily.com (payment status), Plaid's payment initiation (14 statuses), ISO 20022 ExternalPaymentTransactionStatus1Code.
"""

from __future__ import annotations

from collections.abc import Mapping

from isthmus.domain.payment_news import ProviderPayment

P = ProviderPayment

_TRUELAYER = {
    "authorization_required": P.AWAITING,
    "authorizing": P.AWAITING,
    "attempt_failed": P.AWAITING,  # it may be begun again
    "authorized": P.SUBMITTED,
    "executed": P.EXECUTED,
    "settled": P.SETTLED,
    "failed": P.FAILED,
}
_TRUELAYER_PAYOUT = {
    "pending": P.SUBMITTED,
    "authorized": P.SUBMITTED,
    "executed": P.EXECUTED,
    "failed": P.FAILED,
}
_YAPILY = {
    "PENDING": P.SUBMITTED,
    "FAILED": P.FAILED,
    "DECLINED": P.REJECTED,
    "COMPLETED": P.SUBMITTED,  # the bank took the order; whether money has moved is its ISO status' to say
    "COMPLETED_SETTLEMENT_IN_PROCESS": P.SUBMITTED,
    "EXPIRED": P.EXPIRED,
    "UNKNOWN": P.UNKNOWN,
    "ACTIVE": P.SUBMITTED,
    "INACTIVE": P.CANCELLED,
}
_YAPILY_CONSENT = {
    "AWAITING_AUTHORIZATION": P.AWAITING,
    "AWAITING_FURTHER_AUTHORIZATION": P.AWAITING,
    "AWAITING_RE_AUTHORIZATION": P.AWAITING,
    "AUTHORIZED": P.AUTHORISED,
    # A payment was made with it, and what that is called we were not told: asked for again, under the same key, it is.
    "CONSUMED": P.AUTHORISED,
    "REJECTED": P.REJECTED,
    "REVOKED": P.CANCELLED,
    "FAILED": P.FAILED,
    "EXPIRED": P.EXPIRED,
    "UNKNOWN": P.UNKNOWN,
    "INVALID": P.FAILED,
    "AWAITING_DECOUPLED_PRE_AUTHORIZATION": P.AWAITING,
    "AWAITING_PRE_AUTHORIZATION": P.AWAITING,
    "PRE_AUTHORIZED": P.AWAITING,
    "AWAITING_DECOUPLED_AUTHORIZATION": P.AWAITING,
    "AWAITING_SCA_METHOD": P.AWAITING,
    "AWAITING_SCA_CODE": P.AWAITING,
}
_PLAID = {
    "INPUT_NEEDED": P.AWAITING,
    "AUTHORISING": P.SUBMITTED,  # the person has been to the bank, which works on it: nobody can take it back
    "PROCESSING": P.SUBMITTED,
    "INITIATED": P.SUBMITTED,  # at banks that tell no more this is the last
    "ESTABLISHED": P.SUBMITTED,
    "EXECUTED": P.EXECUTED,
    "SETTLED": P.SETTLED,
    "COMPLETED": P.SUBMITTED,  # as ESTABLISHED: a standing order's
    "INSUFFICIENT_FUNDS": P.REJECTED,
    "REJECTED": P.REJECTED,
    "FAILED": P.FAILED,
    "BLOCKED": P.REJECTED,
    "CANCELLED": P.CANCELLED,
    "UNKNOWN": P.UNKNOWN,
}
_ISO = {
    "PDNG": P.SUBMITTED,
    "RCVD": P.SUBMITTED,
    "ACTC": P.SUBMITTED,
    "ACCP": P.SUBMITTED,
    "ACSP": P.SUBMITTED,
    "ACWC": P.SUBMITTED,
    "ACWP": P.SUBMITTED,
    "ACFC": P.SUBMITTED,
    "ACFW": P.SUBMITTED,
    "ACPD": P.SUBMITTED,
    "ACCO": P.SUBMITTED,
    "PATC": P.SUBMITTED,
    "PART": P.UNKNOWN,  # a part of a payment is nothing that we sent
    "ACSC": P.EXECUTED,  # settled on the payer's side; for what it is the last word, see `yapily_state`
    "ACCC": P.SETTLED,
    "RJCT": P.REJECTED,
    "CANC": P.CANCELLED,
    "BLCK": P.REJECTED,
}
_ALL: Mapping[str, Mapping[str, ProviderPayment]] = {
    "truelayer": _TRUELAYER,
    "truelayer_payout": _TRUELAYER_PAYOUT,
    "yapily": _YAPILY,
    "yapily_consent": _YAPILY_CONSENT,
    "plaid": _PLAID,
    "iso20022": _ISO,
}


_OVER = frozenset({P.REJECTED, P.CANCELLED, P.EXPIRED, P.FAILED})
_MOVED = frozenset({P.EXECUTED, P.SETTLED})


def payment_state(dialect: str, told: str) -> ProviderPayment:
    return _ALL[dialect].get(told.removeprefix("PAYMENT_STATUS_"), ProviderPayment.UNKNOWN)


def yapily_state(status: str, iso: str | None, *, acsc_settles: bool) -> ProviderPayment:
    """Yapily's own word and the bank's, as one. `acsc_settles`: a bank that never sends ACCC, so that ACSC is its last word; only there,
    and with ACCC, is a payment settled."""
    primary = payment_state("yapily", status)
    if iso is None or primary is ProviderPayment.UNKNOWN:
        return primary
    bank = payment_state("iso20022", iso)
    if iso == "ACSC" and acsc_settles:
        bank = ProviderPayment.SETTLED
    if primary in _OVER and bank in _MOVED:
        return (
            ProviderPayment.UNKNOWN
        )  # the one says that nothing was paid, the other that it was: a person has to look
    if primary in _OVER and bank not in _OVER and bank is not ProviderPayment.UNKNOWN:
        return primary
    return bank


def known(dialect: str) -> frozenset[str]:
    return frozenset(_ALL[dialect])
