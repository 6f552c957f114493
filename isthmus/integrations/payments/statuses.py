"""What each provider's word for a payment means to us. Total: a word that is not known is UNKNOWN, never a fault.

Sources: TrueLayer's payments and payouts v3 (docs.truelayer.com), Yapily's openapi 12.13 (9 payment statuses), Plaid's payment initiation
(14 statuses), ISO 20022 ExternalPaymentTransactionStatus1Code.
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
    "COMPLETED": P.EXECUTED,
    "COMPLETED_SETTLEMENT_IN_PROCESS": P.SUBMITTED,
    "EXPIRED": P.EXPIRED,
    "UNKNOWN": P.UNKNOWN,
    "ACTIVE": P.SUBMITTED,
    "INACTIVE": P.CANCELLED,
}
_PLAID = {
    "INPUT_NEEDED": P.AWAITING,
    "AUTHORISING": P.AWAITING,
    "PROCESSING": P.SUBMITTED,
    "INITIATED": P.SUBMITTED,
    "ESTABLISHED": P.SUBMITTED,
    "EXECUTED": P.EXECUTED,
    "SETTLED": P.SETTLED,
    "COMPLETED": P.SUBMITTED,
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
    "ACCO": P.SUBMITTED,
    "PATC": P.SUBMITTED,
    "PART": P.UNKNOWN,  # a part of a payment is nothing that we sent
    "ACSC": P.EXECUTED,
    "ACCC": P.SETTLED,
    "RJCT": P.REJECTED,
    "CANC": P.CANCELLED,
    "BLCK": P.REJECTED,
}
_ALL: Mapping[str, Mapping[str, ProviderPayment]] = {
    "truelayer": _TRUELAYER,
    "truelayer_payout": _TRUELAYER_PAYOUT,
    "yapily": _YAPILY,
    "plaid": _PLAID,
    "iso20022": _ISO,
}


def payment_state(dialect: str, told: str) -> ProviderPayment:
    return _ALL[dialect].get(told.removeprefix("PAYMENT_STATUS_"), ProviderPayment.UNKNOWN)


def known(dialect: str) -> frozenset[str]:
    return frozenset(_ALL[dialect])
