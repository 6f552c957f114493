"""What operators ask and say of payments that are parked, and a bank that says what it is told to."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg

from isthmus.domain.banking import ProviderUnavailable
from isthmus.domain.payment_news import PaymentNews, ProviderPayment, RecordPaymentNews
from isthmus.graphql.ids import payment_key
from isthmus.write_models.bank_mirror import system_envelope
from tests.api.banking import on_loop
from tests.api.conftest import Person, Served
from tests.api.test_payments import answer, code_of, initiate

P = ProviderPayment
PARKED = """query($first: Int! = 200, $after: String) { paymentsParked(first: $first, after: $after) { totalCount
    pageInfo { hasNextPage endCursor } edges { node { why since rail providerReference submissions
        payment { id state moved { amount } } reserved { amount } booked { amount } evidence { told at }
        proposal { id finding amount { amount } reason proposedBy } } } } }"""
_ERRORS = "errors { code path }"
LOOK = f"""mutation($input: LookAtPaymentAgainInput!) {{ lookAtPaymentAgain(input: $input) {{ replayed told
    payment {{ state }} parked {{ why }} {_ERRORS} }} }}"""
PROPOSE = f"""mutation($input: ProposePaymentDecisionInput!) {{ proposePaymentDecision(input: $input) {{ replayed
    parked {{ proposal {{ id }} }} {_ERRORS} }} }}"""
CONFIRM = f"""mutation($input: ConfirmPaymentDecisionInput!) {{ confirmPaymentDecision(input: $input) {{ replayed
    payment {{ state moved {{ amount }} failure {{ code retryable }} }} {_ERRORS} }} }}"""


@dataclass
class Bank:
    """Who pays from the platform's money, as far as it is asked what became of a payment. Says nothing unless it was told what."""

    name: str = "truelayer"
    says: dict[str, PaymentNews] = field(default_factory=dict)

    async def look_up(self, reference: str) -> PaymentNews:
        if reference not in self.says:
            raise ProviderUnavailable("down")
        return self.says[reference]


@dataclass
class Desk:
    served: Served
    bank: Bank

    def tell(
        self, payment: str, state: ProviderPayment, told: str, amount: str | None = None, name: str = "p1"
    ) -> PaymentNews:
        """News of a payment, as if it had been heard."""
        desk = self.served.app.state.running.services.payments
        value = None if amount is None else Decimal(amount)
        news = PaymentNews(state, told, name, amount=value, asset="EUR", our_payment=payment_key(payment))
        wish = RecordPaymentNews(payment_key(payment), news, uuid4())
        on_loop(self.served, desk._commands.run(wish, system_envelope(wish, uuid4().hex, "test")))
        return news

    def submitted(self, person: Person, account: str, value: str = "30.00", name: str = "p1") -> str:
        """A payment that the bank has, by that name."""
        payment = initiate(person, account, value)["payment"]
        code = code_of(self.served, payment["challenge"]["id"])
        assert answer(person, payment["challenge"]["id"], code)["errors"] == []
        self.tell(payment["id"], P.SUBMITTED, "created", name=name)
        return str(payment["id"])

    def parked(self, person: Person, account: str, name: str = "p1") -> str:
        """One of which the bank told another amount."""
        payment = self.submitted(person, account, name=name)
        self.tell(payment, P.EXECUTED, "executed", "29.50", name)
        return payment

    def posted(self, code: str) -> Decimal:
        async def read() -> Any:
            connection = await asyncpg.connect(self.served.database_url)
            try:
                return await connection.fetchval(
                    "select b.posted from accounts a join account_balances b on b.account_id = a.id where a.code = $1",
                    code,
                )
            finally:
                await connection.close()

        return on_loop(self.served, read()) or Decimal(0)


def listed(operator: Person, payment: str) -> Any:
    edges = operator.ask(PARKED)["paymentsParked"]["edges"]
    return next((edge["node"] for edge in edges if edge["node"]["payment"]["id"] == payment), None)


def look(operator: Person, payment: str, **more: Any) -> Any:
    wish = {"paymentId": payment, "idempotencyKey": uuid4().hex} | more
    return operator.ask(LOOK, {"input": wish})["lookAtPaymentAgain"]


def propose(operator: Person, payment: str, amount: str | None = None, **more: Any) -> Any:
    """What moved, or that nothing did."""
    wish = {"paymentId": payment, "reason": "the bank's desk said so", "idempotencyKey": uuid4().hex} | more
    wish["finding"] = "NOT_EXECUTED" if amount is None else "EXECUTED"
    if amount is not None:
        wish["amount"] = {"amount": amount, "asset": "EUR"}
    return operator.ask(PROPOSE, {"input": wish})["proposePaymentDecision"]


def confirm(operator: Person, payment: str, proposal: Any, key: str | None = None) -> Any:
    wish = {"paymentId": payment, "proposalId": proposal, "idempotencyKey": key or uuid4().hex}
    return operator.ask(CONFIRM, {"input": wish})["confirmPaymentDecision"]


def proposed(operator: Person, payment: str, amount: str | None = None, **more: Any) -> str:
    done = propose(operator, payment, amount, **more)
    assert done["errors"] == []
    return str(done["parked"]["proposal"]["id"])


def unsaid(operator: Person, payment: str) -> Any:
    wish = {"paymentId": payment, "finding": "EXECUTED", "reason": "x", "idempotencyKey": uuid4().hex}
    return operator.ask(PROPOSE, {"input": wish})["proposePaymentDecision"]
