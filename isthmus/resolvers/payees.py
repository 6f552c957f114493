"""Payees as they are written and shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

import strawberry
from strawberry import UNSET

from isthmus.domain import accounts_here, own_accounts
from isthmus.domain.funding import funding_reference
from isthmus.domain.payees import PayeeAccount, name_fault, payee_account
from isthmus.domain.payment_events import Source
from isthmus.domain.refusals import InvalidInput, Refusal
from isthmus.domain.validation import first_fault, shown_fault
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import account_key, payee_key
from isthmus.read_models.payments import PaymentRow


@strawberry.input(description="A payee's account: an IBAN, or a sort code and an account number.")
class PayeeAccountInput:
    iban: str | None = strawberry.field(default=UNSET, description="The IBAN; blanks do not count.")
    sort_code: str | None = strawberry.field(default=UNSET, description="Six digits (United Kingdom).")
    account_number: str | None = strawberry.field(default=UNSET, description="Eight digits (United Kingdom).")


@strawberry.input(
    description="Who is to be paid: by name and account, a saved payee, or oneself. Exactly one of these."
)
class PayeeInput:
    name: str | None = strawberry.field(
        default=UNSET, description="Their name, as it is known at their bank. 140 characters at most."
    )
    account: PayeeAccountInput | None = strawberry.field(default=UNSET, description="Their account.")
    account_id: strawberry.ID | None = strawberry.field(
        default=UNSET,
        description="Somebody's account here, in the same asset, in the place of `account`. Whose it is nobody is told.",
    )
    saved_payee_id: strawberry.ID | None = strawberry.field(
        default=UNSET, description="One of the viewer's saved payees, whose name and account are read now."
    )
    own_account_id: strawberry.ID | None = strawberry.field(
        default=UNSET, description="Another of the viewer's accounts here, in the same asset. Nothing leaves."
    )


@dataclass(frozen=True)
class ChosenPayee:
    """`saved`: who it is, name and account to be read of it. `myself`: the account is to be the viewer's own, and then `credits`. `body`:
    what was written, as idempotency keys remember it."""

    name: str = field(repr=False)
    account: PayeeAccount = field(repr=False)
    body: dict[str, str] = field(repr=False)
    saved: UUID | None = None
    myself: bool = False

    @property
    def credits(self) -> UUID | None:
        return self.account.own if self.myself else None

    def fault(self, source: Source) -> Refusal | None:
        """Whether it may be paid from there."""
        if source is Source.BANK and self.account.own is not None:
            path = own_accounts.PATH if self.myself else accounts_here.PATH
            return InvalidInput("Money is brought here with `topUp`, to an account of one's own.", path)
        return None


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
    """An IBAN as it is, or `20-00-00 12345678`, or an account of ours by its name at the provider, or one here by its funding reference."""
    if text is None:
        return None
    account = PayeeAccount.of_text(text)
    if account.iban is not None:
        return account.iban
    if account.merchant is not None:
        return account.merchant
    if account.own is not None:
        return funding_reference(account.own)
    code = account.sort_code or ""
    return f"{code[:2]}-{code[2:4]}-{code[4:]} {account.number}"


def chosen(given: PayeeInput) -> ChosenPayee | Refusal:
    """For a payment."""
    named = _given(given.name) or _given(given.account) or _given(given.account_id)
    if named + _given(given.saved_payee_id) + _given(given.own_account_id) > 1:
        return InvalidInput(
            "Give a name with an account, a saved payee, or an account of your own.", ("input", "payee")
        )
    if _given(given.saved_payee_id):
        saved = payee_key(given.saved_payee_id or "")
        return ChosenPayee("", PayeeAccount(), {"saved_payee": str(saved)}, saved)
    if _given(given.own_account_id):
        own = PayeeAccount(own=account_key(given.own_account_id or ""))
        return ChosenPayee(own_accounts.NAME, own, {"own_account": own.text()}, myself=True)
    account = _here(given) if _given(given.account_id) else account_from(given)
    if isinstance(account, Refusal):
        return account
    name = given.name or ""
    return ChosenPayee(name, account, {"name": name, "account": account.text()})


def account_from(given: PayeeInput) -> PayeeAccount | Refusal:
    """Of somebody by name and account."""
    if _given(given.own_account_id) or _given(given.saved_payee_id) or _given(given.account_id):
        return InvalidInput("Give a name with an account.", ("input", "payee"))
    written = given.account or PayeeAccountInput()
    fault = _name_fault(given.name or "")
    if fault is not None:
        return fault
    return payee_account(written.iban or None, written.sort_code or None, written.account_number or None)


def _here(given: PayeeInput) -> PayeeAccount | Refusal:
    """By our id: whether it is there is seen where it is paid."""
    if _given(given.account):
        return InvalidInput("Give an account, or the id of one here.", ("input", "payee"))
    return _name_fault(given.name or "") or PayeeAccount(own=account_key(given.account_id or ""))


def _name_fault(name: str) -> Refusal | None:
    return first_fault(name_fault(name), shown_fault(name, ("input", "payee", "name")))


def _given(value: object) -> bool:
    return value is not None and value is not UNSET
