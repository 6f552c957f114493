"""What is paid in tests of payments from a person's bank, and what a person does about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from isthmus.domain.bank_payments import BankWish, Begun, GoTo, PayerAccount
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.paying import PaymentOrder
from tests.sandbox.running import REDIRECT, Sandbox

BOB = PayeeAccount(sort_code="112233", number="12345678")
#: Seconds from one status to the next, as the sandbox is told.
STEP_S = "600"
#: Of an account at a bank in the United Kingdom.
BOBS_IBAN = PayeeAccount(iban="GB29NWBK60161331926819")


def wish(institution: str, **other: Any) -> BankWish:
    """12.34 GBP to Bob."""
    told: dict[str, Any] = {"amount": Decimal("12.34"), "asset": "GBP", "payee_account": BOB, "reference": "Rent, July"}
    payer: PayerAccount | None = other.pop("payer", None)
    payment_id = uuid4()
    order = PaymentOrder(payment_id, payee_name="Bob", **(told | other))
    return BankWish(order, institution, "GB", UUID(int=7), REDIRECT, f"state-{payment_id.hex}", payer)


def answered(sandbox: Sandbox, begun: Begun, answer: str = "approve") -> str:
    """What the person does at their bank. The address that they come back to."""
    assert isinstance(begun.authorization, GoTo)
    page = sandbox.http.get(begun.authorization.url, follow_redirects=True)
    back = sandbox.approve(str(page.url), answer=answer)
    assert back.status_code == 303, back.text
    location: str = back.headers["location"]
    return location


@contextmanager
def paid(sandbox: Sandbox, amount: str, bank: str = "harbour") -> Iterator[None]:
    """The sandbox's bank has paid just so much, by its own book, in between."""
    before = sandbox.paid_to("Bob", bank)
    yield
    assert sandbox.paid_to("Bob", bank) - before == Decimal(amount)


def later(sandbox: Sandbox, steps: int) -> None:
    """The banks go on: a step is what happens next to a payment. Nothing does by itself while a test looks."""
    for _ in range(steps):
        sandbox.tell("clock", advance_s=float(STEP_S) + 1)
