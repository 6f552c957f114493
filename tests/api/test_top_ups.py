"""Money that a person brings here from a linked bank, with the sandbox's bank and its book of our account: credited once it has arrived."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from isthmus.domain.funding import funding_reference
from isthmus.domain.reconciliation import Class
from isthmus.domain.refusals import ConsentOver
from isthmus.failpoints import InjectedFault, armed
from isthmus.graphql.ids import account_key, payment_key
from isthmus.write_models.reconciliation_report import Report
from tests.api import banking
from tests.api.banking import accounts, linked, on_loop
from tests.api.conftest import Person, Served
from tests.api.test_bank_payments import (
    _bank,  # noqa: F401 - the bank does nothing by itself
    answer,
    at_bank,
    carried_on,
    column,
    executed,
    memo,
    reference,
)
from tests.api.test_payments import balance, shown
from tests.api.test_reconciliation import Books, books, case_of, today  # noqa: F401 - a fixture
from tests.api.test_webhooks import worked_off
from tests.sandbox.running import Sandbox

TOP_UP = """mutation($input: TopUpInput!) { topUp(input: $input) { replayed errors { code path } payment {
    id state payee { name account } reference toAccount { id }
    challenge { __typename id state ... on RedirectChallenge { url } dynamicLink { digest payees { name account } } } } } }"""


@pytest.fixture(scope="module")
def jo(served: Served, banks: Sandbox) -> Person:
    """Somebody whose bank is linked."""
    banking.know_institutions(served)
    made = Person(served)
    linked(served, banks, made)
    return made


@pytest.fixture(scope="module")
def at_jos_bank(jo: Person) -> str:
    found: str = next(one["id"] for one in accounts(jo) if one["name"] == "Current account")
    return found


def top_up(person: Person, source: str, target: str, value: str = "25.00", **other: Any) -> Any:
    wish = {"fromAccountId": source, "toAccountId": target, "idempotencyKey": uuid4().hex}
    return person.ask(TOP_UP, {"input": wish | {"amount": {"amount": value, "asset": "GBP"}} | other})["topUp"]


def webhook(served: Served, payment: Any) -> None:
    """It says that the money has arrived."""
    told = f'{{"type": "payment_settled", "event_id": "{uuid4()}", "payment_id": "{reference(served, payment)}"}}'
    on_loop(served, served.banking.webhooks.take("truelayer", {}, "/webhooks/truelayer", told.encode()))
    worked_off(served)


def pounds(served: Served, books: Books, days: set[date]) -> list[Report]:  # noqa: F811 - the fixture
    """Mostly there is one day."""
    reports = [one for day in sorted(days) for one in on_loop(served, books.reconciler.run(day))]
    return [one for one in reports if one.asset == "GBP"]


def test_the_same_wish_is_answered_as_before_though_the_bank_is_not_linked_any_more(
    served: Served, jo: Person, at_jos_bank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever did not hear the answer would otherwise bring the money twice."""
    target, key = jo.open(asset="GBP"), uuid4().hex
    done = top_up(jo, at_jos_bank, target, idempotencyKey=key)

    async def ended(*_: Any) -> ConsentOver:
        return ConsentOver("The bank is not linked any more.", ("input", "fromAccountId"))

    monkeypatch.setattr(served.app.state.running.services.payments._banks, "payer", ended)
    again, other = top_up(jo, at_jos_bank, target, idempotencyKey=key), top_up(jo, at_jos_bank, target)

    assert (again["errors"], again["replayed"], again["payment"]["id"]) == ([], True, done["payment"]["id"])
    assert [error["code"] for error in other["errors"]] == ["CONSENT_OVER"]


def test_it_is_credited_once_it_has_arrived_and_both_books_have_it(
    served: Served,
    banks: Sandbox,
    books: Books,  # noqa: F811 - the fixture
    jo: Person,
    olga: Person,
    at_jos_bank: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, target, noted, key = today(), jo.open("GBP"), memo(served), uuid4().hex
    done, again = (top_up(jo, at_jos_bank, target, idempotencyKey=key) for _ in range(2))
    payment = done["payment"]
    challenge = payment["challenge"]
    assert (done["errors"], again["payment"]["id"], again["replayed"]) == ([], payment["id"], True)
    assert (payment["state"], challenge["__typename"]) == ("AWAITING_SCA", "RedirectChallenge")
    assert payment["payee"] == {"name": "Isthmus", "account": "sandbox-merchant-gbp"}
    assert challenge["dynamicLink"]["payees"] == [payment["payee"]]
    assert (payment["reference"], payment["toAccount"]["id"]) == (funding_reference(account_key(target)), target)

    answered = answer(jo, payment, redirectResult=at_bank(banks, challenge["url"]))
    assert (answered["errors"], answered["payment"]["state"]) == ([], "SUBMITTED")
    executed(banks, served, payment)
    carried_on(served, payment)
    assert shown(jo, payment["id"])["state"] == "EXECUTED"
    assert balance(jo, target) == ("0.00", "0.00"), "it has left, and is nobody's here"

    async def genuine(*_: Any) -> str:
        return uuid4().hex

    monkeypatch.setattr(served.banking.webhooks._senders["truelayer"], "verify", genuine)
    banks.tell("actions", action="truelayer.payment", payment=reference(served, payment), status="settled")
    with armed("bank_payments.answered:1:raise") as points:
        webhook(served, payment)
        with suppress(InjectedFault):
            carried_on(served, payment)
        assert points["bank_payments.answered"].passed
    assert balance(jo, target) == ("0.00", "0.00"), "whoever was to write it died"
    for _ in range(2):
        webhook(served, payment)
        carried_on(served, payment)

    assert shown(jo, payment["id"])["state"] == "SETTLED"
    assert (balance(jo, target), memo(served)) == (("25.00", "25.00"), noted)
    (movement,) = [one for one in on_loop(served, entries(books)) if reference(served, payment) in one.names]
    assert (movement.amount, movement.pay_in) == (Decimal(25), False), "no money that somebody sent by themselves"
    reports = pounds(served, books, {begun, today()})
    matched = [one.sums[Class.MATCHED] for one in reports]
    assert sum(one.ours for one in matched) == sum(one.theirs for one in matched) == reports[-1].closing == 25
    assert case_of(olga, movement.entry_id) is None


async def entries(books: Books) -> Any:  # noqa: F811 - the fixture
    now = datetime.now(UTC)
    found = await books.reconciler._statements["truelayer"].entries("GBP", now - timedelta(hours=1), now)
    return found.entries


def test_what_the_person_refuses_at_the_bank_brings_nothing(
    served: Served, banks: Sandbox, jo: Person, at_jos_bank: str
) -> None:
    target = jo.open("GBP")
    payment = top_up(jo, at_jos_bank, target)["payment"]

    answer(jo, payment, redirectResult=at_bank(banks, payment["challenge"]["url"], "decline"))

    assert (shown(jo, payment["id"])["state"], balance(jo, target)) == ("REJECTED", ("0.00", "0.00"))
    used = column(served, "select credits_account_id from payments where id = $1", payment_key(payment["id"]))
    assert used == account_key(target)


def test_what_cannot_be_brought_is_refused(
    served: Served, jo: Person, ada: Person, at_jos_bank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, anothers, euros = jo.open("GBP"), ada.open("GBP"), jo.open("EUR")

    def refused(person: Person, *wish: str) -> Any:
        (error,) = top_up(person, *wish)["errors"]
        return error["code"], error["path"][-1]

    assert refused(jo, at_jos_bank, anothers) == ("ACCOUNT_NOT_FOUND", "toAccountId")
    assert refused(jo, at_jos_bank, euros) == ("ASSET_MISMATCH", "toAccountId")
    assert refused(ada, at_jos_bank, anothers) == ("ACCOUNT_NOT_FOUND", "fromAccountId")
    assert refused(jo, own, own) == ("ACCOUNT_NOT_FOUND", "fromAccountId")
    monkeypatch.setattr(served.app.state.running.services.payments._banks.providers["truelayer"], "collects", {})
    assert refused(jo, at_jos_bank, own) == ("BANK_REFUSED", "fromAccountId")
