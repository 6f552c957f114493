"""What money was spent on or came from, in few words of our own: none where a dialect does not tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum


class Category(StrEnum):
    GROCERIES = "GROCERIES"
    EATING_OUT = "EATING_OUT"
    TRANSPORT = "TRANSPORT"
    SHOPPING = "SHOPPING"
    BILLS = "BILLS"
    TRAVEL = "TRAVEL"
    ENTERTAINMENT = "ENTERTAINMENT"
    INCOME = "INCOME"
    TRANSFER = "TRANSFER"
    FEES = "FEES"
    OTHER = "OTHER"


#: Of `personal_finance_category.primary`.
PLAID: Mapping[str, Category] = {
    "BANK_FEES": Category.FEES,
    "ENTERTAINMENT": Category.ENTERTAINMENT,
    "FOOD_AND_DRINK": Category.EATING_OUT,
    "GENERAL_MERCHANDISE": Category.SHOPPING,
    "GENERAL_SERVICES": Category.OTHER,
    "GOVERNMENT_AND_NON_PROFIT": Category.OTHER,
    "HOME_IMPROVEMENT": Category.SHOPPING,
    "INCOME": Category.INCOME,
    "LOAN_DISBURSEMENTS": Category.TRANSFER,
    "LOAN_PAYMENTS": Category.BILLS,
    "MEDICAL": Category.OTHER,
    "OTHER": Category.OTHER,
    "PERSONAL_CARE": Category.OTHER,
    "RENT_AND_UTILITIES": Category.BILLS,
    "TRANSFER_IN": Category.TRANSFER,
    "TRANSFER_OUT": Category.TRANSFER,
    "TRANSPORTATION": Category.TRANSPORT,
    "TRAVEL": Category.TRAVEL,
}
#: Of `personal_finance_category.detailed`, where it is other than its primary.
PLAID_DETAILED: Mapping[str, Category] = {
    "FOOD_AND_DRINK_BEER_WINE_AND_LIQUOR": Category.GROCERIES,
    "FOOD_AND_DRINK_GROCERIES": Category.GROCERIES,
    "GENERAL_SERVICES_INSURANCE": Category.BILLS,
    "GENERAL_SERVICES_AUTOMOTIVE": Category.TRANSPORT,
    "GOVERNMENT_AND_NON_PROFIT_TAX_PAYMENT": Category.BILLS,
}
#: Of the first of `transaction_classification`.
TRUELAYER: Mapping[str, Category] = {
    "Auto & Transport": Category.TRANSPORT,
    "Bills and Utilities": Category.BILLS,
    "Entertainment": Category.ENTERTAINMENT,
    "Fees & Charges": Category.FEES,
    "Food & Dining": Category.EATING_OUT,
    "Home": Category.BILLS,
    "Income": Category.INCOME,
    "Shopping": Category.SHOPPING,
    "Transfer": Category.TRANSFER,
    "Travel": Category.TRAVEL,
}
#: Of the second, where it is other than the first.
TRUELAYER_DETAILED: Mapping[str, Category] = {"Groceries": Category.GROCERIES}


def of_plaid(primary: str, detailed: str) -> Category:
    return PLAID_DETAILED.get(detailed) or PLAID.get(primary, Category.OTHER)


def of_truelayer(classification: Sequence[str]) -> Category | None:
    if not classification:
        return None
    detailed = TRUELAYER_DETAILED.get(classification[1]) if len(classification) > 1 else None
    return detailed or TRUELAYER.get(classification[0], Category.OTHER)
