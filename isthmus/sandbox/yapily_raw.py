"""What a bank itself said of its transactions, before Yapily made one shape of it: Open Banking's in the United Kingdom (OBIE 3.1), the
Berlin Group's in the EEA (NextGenPSD2 1.3), FDX's in the United States.

OBIE: amounts without a sign, as text, and an indicator. Berlin Group: signed text; what is pending has no id. FDX: numbers without a sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from isthmus.sandbox.answers import number, text
from isthmus.sandbox.book import BOOKED, Account, Movement
from isthmus.sandbox.seeding import BANKS
from isthmus.sandbox.transfers import is_iban

Body = dict[str, Any]


def answer(account: Account, movements: Sequence[Movement], *, named: bool = True) -> Body:
    """`named`: whether the bank gives pending transactions an id."""
    match BANKS[account.bank].country:
        case "GB":
            return {"Data": {"Transaction": [_obie(one, named=named) for one in movements]}, "Links": {}, "Meta": {}}
        case "DE":
            booked = [_berlin_group(one) for one in movements if one.state == BOOKED]
            pending = [_berlin_group(one) for one in movements if one.state != BOOKED]
            return {"account": {"iban": account.iban}, "transactions": {"booked": booked, "pending": pending}}
        case _:
            return {"transactions": [_fdx(one, named=named) for one in movements]}


def _obie(movement: Movement, *, named: bool) -> Body:
    booked, out = movement.state == BOOKED, movement.amount < 0
    other = "CreditorAccount" if out else "DebtorAccount"
    information = movement.reference
    party: Body = {}
    if movement.counterparty_account is not None:
        scheme = "UK.OBIE.IBAN" if is_iban(movement.counterparty_account) else "UK.OBIE.SortCodeAccountNumber"
        party = {
            other: {
                "SchemeName": scheme,
                "Identification": movement.counterparty_account,
                "Name": movement.name,
            }
        }
    elif movement.reference == "CARD":
        party = {"MerchantDetails": {"MerchantName": movement.name}}
    else:  # an account must have an identification: a name alone is only written down
        information = f"{movement.name} {movement.reference}".strip()
    return {
        "AccountId": movement.account,
        **({"TransactionId": movement.id} if booked or named else {}),
        "Amount": {"Amount": text(abs(movement.amount)), "Currency": movement.currency},
        "CreditDebitIndicator": "Debit" if out else "Credit",
        "Status": "Booked" if booked else "Pending",
        "BookingDateTime": movement.booked_at or movement.at,
        "TransactionInformation": information,
        **party,
    }


def _berlin_group(movement: Movement) -> Body:
    who = "creditor" if movement.amount < 0 else "debtor"
    account = movement.counterparty_account
    party = {f"{who}Account": {"iban" if is_iban(account) else "bban": account}} if account is not None else {}
    booked = movement.booked_at
    return {
        **({"transactionId": movement.id, "bookingDate": booked[:10]} if booked is not None else {}),
        "valueDate": (booked or movement.at)[:10],
        "transactionAmount": {"currency": movement.currency, "amount": text(movement.amount)},
        f"{who}Name": movement.name,
        **party,
        "remittanceInformationUnstructured": movement.reference,
    }


def _fdx(movement: Movement, *, named: bool) -> Body:
    booked = movement.booked_at
    return {
        **({"transactionId": movement.id} if booked is not None or named else {}),
        **({"postedTimestamp": booked} if booked is not None else {}),
        "transactionTimestamp": movement.at,
        "description": movement.reference,
        "debitCreditMemo": "DEBIT" if movement.amount < 0 else "CREDIT",
        "status": "POSTED" if booked is not None else "PENDING",
        "amount": number(abs(movement.amount)),
        "payee": movement.name,
    }
