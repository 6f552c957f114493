"""What a payment at TrueLayer may be: every field that is wrong is named."""

from __future__ import annotations

import re
from typing import Any

from isthmus.sandbox.seeding import BANKS
from isthmus.sandbox.transfers import is_iban
from isthmus.sandbox.truelayer_errors import Body, Problem, bank_of

#: Schemes that a payment can go by, and the client's own account at TrueLayer, by currency. The first scheme is taken by default.
SCHEMES = {"GBP": ("faster_payments_service",), "EUR": ("sepa_credit_transfer", "sepa_credit_transfer_instant")}
MERCHANT_ACCOUNTS = {currency: f"sandbox-merchant-{currency.lower()}" for currency in SCHEMES}
#: From memory: TrueLayer's documentation was not at hand when this was written.
_REFERENCE_MAX = {"GBP": 18, "EUR": 140}


def check(body: Body) -> None:
    """Raises Problem with all that is wrong."""
    wrong: dict[str, list[str]] = {}

    def must(holds: bool, field: str, sentence: str) -> None:
        if not holds:
            wrong.setdefault(field, []).append(sentence)

    amount, currency = body.get("amount_in_minor"), body.get("currency")
    must(type(amount) is int and amount > 0, "amount_in_minor", "must be a whole number above 0")
    must(currency in SCHEMES, "currency", "is not supported")
    method = _object(body.get("payment_method"))
    must(method.get("type") == "bank_transfer", "payment_method.type", "must be bank_transfer")
    _check_provider(_object(method.get("provider_selection")), currency, must)
    _check_beneficiary(_object(method.get("beneficiary")), currency, must)
    user = _object(body.get("user"))
    reachable = _is_text(user.get("name")) and (_is_text(user.get("email")) or _is_text(user.get("phone")))
    must(_is_text(user.get("id")) or reachable, "user", "must have an id, or a name with an email or a phone")
    metadata = body.get("metadata") or {}
    texts = isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    must(texts, "metadata", "must be texts by name")
    if wrong:
        raise Problem(400, "Invalid Parameters", "The request is not what it must be.", wrong)


def check_payout(body: Body) -> None:
    """Raises Problem with all that is wrong."""
    wrong: dict[str, list[str]] = {}

    def must(holds: bool, field: str, sentence: str) -> None:
        if not holds:
            wrong.setdefault(field, []).append(sentence)

    amount, currency = body.get("amount_in_minor"), body.get("currency")
    must(type(amount) is int and amount > 0, "amount_in_minor", "must be a whole number above 0")
    must(currency in SCHEMES, "currency", "is not supported")
    ours = MERCHANT_ACCOUNTS.get(str(currency))
    must(body.get("merchant_account_id") == ours, "merchant_account_id", "is not an account of yours in this currency")
    beneficiary = _object(body.get("beneficiary"))
    must(beneficiary.get("type") == "external_account", "beneficiary.type", "must be external_account")
    _check_external(beneficiary, currency, "beneficiary", must)
    if wrong:
        raise Problem(400, "Invalid Parameters", "The request is not what it must be.", wrong)


def _check_provider(selection: Body, currency: object, must: Any) -> None:
    field = "payment_method.provider_selection"
    match selection.get("type"):
        case "preselected":
            bank = bank_of(str(selection.get("provider_id")))
            must(bank is not None, f"{field}.provider_id", "is not a provider")
            must(
                bank is None or BANKS[bank].currency == currency,
                f"{field}.provider_id",
                "does not do payments in this currency",
            )
            scheme = selection.get("scheme_id")
            fits = scheme is None or scheme in SCHEMES.get(str(currency), ())
            must(fits, f"{field}.scheme_id", "is not a scheme of the provider")
        case "user_selected":
            pass
        case _:
            must(False, f"{field}.type", "must be preselected or user_selected")


def _check_beneficiary(beneficiary: Body, currency: object, must: Any) -> None:
    field = "payment_method.beneficiary"
    match beneficiary.get("type"):
        case "external_account":
            _check_external(beneficiary, currency, field, must)
        case "merchant_account":
            ours = MERCHANT_ACCOUNTS.get(str(currency))
            fits = beneficiary.get("merchant_account_id") == ours
            must(fits, f"{field}.merchant_account_id", "is not an account of yours in this currency")
        case _:
            must(False, f"{field}.type", "must be external_account or merchant_account")


def _check_external(beneficiary: Body, currency: object, field: str, must: Any) -> None:
    must(_is_text(beneficiary.get("account_holder_name")), f"{field}.account_holder_name", "is required")
    reference = beneficiary.get("reference")
    fits = _is_text(reference) and len(str(reference)) <= _REFERENCE_MAX.get(str(currency), 140)
    must(fits, f"{field}.reference", "is required, and has a greatest length")
    must(_is_account(_object(beneficiary.get("account_identifier"))), f"{field}.account_identifier", "is none")


def _is_account(identifier: Body) -> bool:
    match identifier.get("type"):
        case "iban":
            return is_iban(identifier.get("iban"))
        case "sort_code_account_number":
            code, number = str(identifier.get("sort_code")), str(identifier.get("account_number"))
            return re.fullmatch(r"\d{6}", code) is not None and re.fullmatch(r"\d{8}", number) is not None
        case _:
            return False


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _object(value: object) -> Body:
    return value if isinstance(value, dict) else {}
