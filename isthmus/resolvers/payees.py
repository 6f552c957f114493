"""Payees as they are written and shown."""

from __future__ import annotations

import strawberry
from strawberry import UNSET

from isthmus.domain.payees import PayeeAccount, name_fault, payee_account
from isthmus.domain.refusals import Refusal
from isthmus.domain.validation import first_fault, shown_fault
from isthmus.graphql.context import AppInfo
from isthmus.read_models.payments import PaymentRow


@strawberry.input(description="A payee's account: an IBAN, or a sort code and an account number.")
class PayeeAccountInput:
    iban: str | None = strawberry.field(default=UNSET, description="The IBAN; blanks do not count.")
    sort_code: str | None = strawberry.field(default=UNSET, description="Six digits (United Kingdom).")
    account_number: str | None = strawberry.field(default=UNSET, description="Eight digits (United Kingdom).")


@strawberry.input(description="Who is to be paid.")
class PayeeInput:
    name: str = strawberry.field(description="Their name, as it is known at their bank. 140 characters at most.")
    account: PayeeAccountInput = strawberry.field(description="Their account.")


@strawberry.type(description="Who is paid.")
class Payee:
    row: strawberry.Private[PaymentRow]

    @strawberry.field(description="Their name; null once the payer's personal data are erased.")
    async def name(self, info: AppInfo) -> str | None:
        return await info.context.loaders.texts.load(self.row.payee_name)

    @strawberry.field(description="Their account; null once the payer's personal data are erased.")
    async def account(self, info: AppInfo) -> str | None:
        return shown_account(await info.context.loaders.texts.load(self.row.payee_account))


def shown_account(text: str | None) -> str | None:
    """An IBAN as it is, or `20-00-00 12345678`, or an account of ours by its name at the provider."""
    if text is None:
        return None
    account = PayeeAccount.of_text(text)
    if account.iban is not None:
        return account.iban
    if account.merchant is not None:
        return account.merchant
    code = account.sort_code or ""
    return f"{code[:2]}-{code[2:4]}-{code[4:]} {account.number}"


def account_from(given: PayeeInput) -> PayeeAccount | Refusal:
    fault = first_fault(name_fault(given.name), shown_fault(given.name, ("input", "payee", "name")))
    if fault is not None:
        return fault
    written = given.account
    return payee_account(written.iban or None, written.sort_code or None, written.account_number or None)
