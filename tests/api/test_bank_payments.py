"""Contract 03 for payments from a linked bank, with the sandbox's bank in between: its customer is asked there, and what it says counts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from isthmus.graphql.ids import payment_key
from tests.api import banking
from tests.api.banking import accounts, linked, on_loop
from tests.api.conftest import Person, Served
from tests.api.test_payments import CONTRACT, cancel, initiate, shown
from tests.api.test_webhooks import worked_off
from tests.sandbox.running import REDIRECT, Sandbox

PAYEE = {"name": "Bob Builder", "account": {"iban": "GB29 NWBK 6016 1331 9268 19"}}


@pytest.fixture(scope="module")
def jo(served: Served, banks: Sandbox) -> Person:
    """Somebody whose bank is linked."""
    banking.know_institutions(served)
    made = Person(served)
    linked(served, banks, made)
    return made


@pytest.fixture(scope="module")
def account(jo: Person) -> str:
    found: str = next(one["id"] for one in accounts(jo) if one["name"] == "Current account")
    return found


@pytest.fixture(autouse=True)
def _bank(banks: Sandbox) -> Any:
    """The bank does nothing by itself."""
    banks.tell("facts", name="truelayer.hold", value="1")
    yield
    banks.tell("facts", name="truelayer.hold", value=None)


def pay(person: Person, account: str, value: str = "12.34", **other: Any) -> Any:
    told = initiate(person, account, payee=PAYEE, amount={"amount": value, "asset": "GBP"}, **other)
    assert told["errors"] == [], told
    return told["payment"]


def at_bank(banks: Sandbox, url: str, answer: str = "approve") -> dict[str, str]:
    """What the person comes back with."""
    back = banks.approve(url, answer=answer).headers["location"]
    assert back.startswith(REDIRECT)
    (name,) = parse_qs(urlsplit(back).query)["payment_id"]
    return {"code": name, "state": name}


def answer(person: Person, payment: Any, **given: Any) -> Any:
    wish = {"challengeId": payment["challenge"]["id"], "answer": given}
    return person.ask(CONTRACT, {"input": wish}, "AnswerScaChallenge")["answerScaChallenge"]


def carried_on(served: Served, payment: Any) -> str:
    outcome: str = on_loop(served, served.paying.saga.advance(payment_key(payment["id"])))
    return outcome


def column(served: Served, query: str, *values: Any) -> Any:
    async def read() -> Any:
        async with served.banking.mirror._pool.acquire() as connection:
            return await connection.fetchval(query, *values)

    return on_loop(served, read())


def reference(served: Served, payment: Any) -> str:
    found: str = column(served, "select provider_reference from payments where id = $1", payment_key(payment["id"]))
    return found


def memo(served: Served) -> tuple[Decimal, Decimal]:
    query = "select coalesce(sum(b.posted), 0) from accounts a join account_balances b on b.account_id = a.id where a.code = $1"
    return column(served, query, "memo:user-bank:GBP"), column(served, query, "memo:payee:GBP")


def executed(banks: Sandbox, served: Served, payment: Any) -> None:
    banks.tell("actions", action="truelayer.payment", payment=reference(served, payment), status="executed")


def booked(banks: Sandbox) -> Decimal:
    return sum((Decimal(one["transferred"]) for one in banks.accounts("harbour")), Decimal(0))


def test_it_is_authorised_at_the_bank_executed_and_noted_in_our_book(
    served: Served, banks: Sandbox, jo: Person, account: str
) -> None:
    before, noted = booked(banks), memo(served)
    payment = pay(jo, account)
    challenge = payment["challenge"]
    assert (payment["state"], payment["provider"]) == ("AWAITING_SCA", "truelayer")
    assert (challenge["__typename"], challenge["state"], len(challenge["dynamicLink"]["digest"])) == (
        "RedirectChallenge",
        "PENDING",
        64,
    )

    answered = answer(jo, payment, redirectResult=at_bank(banks, challenge["url"]))

    assert answered["errors"] == []
    assert (answered["payment"]["state"], answered["payment"]["challenge"]["state"]) == ("SUBMITTED", "PASSED")
    assert answered["payment"]["challenge"]["url"] is None, "it is of no use any more"
    executed(banks, served, payment)
    assert carried_on(served, payment) == "looked"
    states = [step["state"] for step in shown(jo, payment["id"])["history"]]
    assert states == ["AWAITING_SCA", "AUTHORISED", "SUBMITTED", "EXECUTED"]
    assert [now - then for now, then in zip(memo(served), noted, strict=True)] == [Decimal("12.34")] * 2
    assert before - booked(banks) == Decimal("12.34"), "the bank's own book"
    assert answer(jo, payment, redirectResult={"code": "", "state": reference(served, payment)})["errors"] == []


def test_what_the_person_refuses_at_the_bank_is_rejected(
    served: Served, banks: Sandbox, jo: Person, account: str
) -> None:
    payment = pay(jo, account)

    answered = answer(jo, payment, redirectResult=at_bank(banks, payment["challenge"]["url"], "decline"))

    assert [(one["code"], one["challengeState"]) for one in answered["errors"]] == [("SCA_REJECTED", "FAILED")]
    now = shown(jo, payment["id"])
    assert (now["state"], now["failure"]["code"]) == ("REJECTED", "authorization_failed")


def test_d7_what_somebody_else_came_back_with_passes_nothing_and_counts_for_nothing(
    served: Served, banks: Sandbox, jo: Person, ada: Person, account: str
) -> None:
    one, other = pay(jo, account), pay(jo, account)
    back = at_bank(banks, one["challenge"]["url"])

    crossed = answer(jo, other, redirectResult=back)["errors"][0]
    anothers = answer(ada, one, redirectResult=back)["errors"][0]
    coded = answer(jo, other, oneTimeCode="123456")["errors"][0]

    assert (crossed["code"], crossed["challengeState"], crossed["attemptsLeft"]) == ("SCA_REJECTED", "PENDING", 5)
    assert (anothers["code"], anothers["message"]) == (crossed["code"], crossed["message"])
    assert (coded["message"], coded["attemptsLeft"]) == (crossed["message"], 4), (
        "a code of ours is no answer of the bank's"
    )
    assert shown(jo, one["id"])["state"] == "AWAITING_SCA", "nobody asked the bank yet"
    assert answer(jo, one, redirectResult=back)["payment"]["state"] == "SUBMITTED"


def test_d7_nobody_is_sent_elsewhere_than_where_the_provider_said(served: Served, jo: Person, account: str) -> None:
    """Whatever a person writes is sealed as addresses are: a payee's name may be the address of a page that looks like a bank's."""
    payment = pay(jo, account)
    change = "update sca_challenges set url = (select payee_name from payments where id = $1) where subject_id = $1 returning url"
    assert column(served, change, payment_key(payment["id"]))

    assert shown(jo, payment["id"])["challenge"]["url"] == payment["challenge"]["url"]


def test_f41_who_does_not_come_back_is_found_by_the_webhook_and_the_bank_is_asked(
    served: Served, banks: Sandbox, jo: Person, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = pay(jo, account)
    at_bank(banks, payment["challenge"]["url"])
    told = f'{{"type": "payment_executed", "event_id": "{uuid4()}", "payment_id": "{reference(served, payment)}"}}'

    async def genuine(*_: Any) -> str:
        return uuid4().hex

    webhooks = served.banking.webhooks
    monkeypatch.setattr(webhooks._senders["truelayer"], "verify", genuine)
    on_loop(served, webhooks.take("truelayer", {}, "/webhooks/truelayer", told.encode()))
    worked_off(served)

    query = "select count(*) from pgqueuer where dedupe_key = $1 and status = 'queued'"
    assert column(served, query, f"advance_payment:{payment_key(payment['id'])}") == 1
    carried_on(served, payment)
    assert shown(jo, payment["id"])["state"] == "SUBMITTED", "not what the webhook says, but what the bank does"


def test_e6_a_bank_that_tells_of_other_money_is_not_believed(
    served: Served, banks: Sandbox, jo: Person, account: str
) -> None:
    payment = pay(jo, account)
    back = at_bank(banks, payment["challenge"]["url"])
    banks.tell("misbehaviour", route="GET /truelayer/api/v3/payments/*", kind="wrong_currency", times=1)

    answered = answer(jo, payment, redirectResult=back)

    assert [one["challengeState"] for one in answered["errors"]] == ["INVALIDATED"]
    assert shown(jo, payment["id"])["state"] == "AWAITING_SCA"
    assert column(served, "select parked from payments where id = $1", payment_key(payment["id"])) == "OTHER_AMOUNT"


def test_it_is_taken_back_at_the_bank_too_and_not_once_it_is_too_late(
    served: Served, banks: Sandbox, jo: Person, account: str
) -> None:
    payment, late = pay(jo, account), pay(jo, account)
    at_bank(banks, late["challenge"]["url"])

    done, refused = cancel(jo, payment["id"]), cancel(jo, late["id"])

    assert (done["errors"], done["payment"]["state"]) == ([], "CANCELLED")
    assert [one["code"] for one in refused["errors"]] == ["PAYMENT_NOT_CANCELLABLE"]
    assert shown(jo, late["id"])["state"] == "SUBMITTED"
    at_bank(banks, payment["challenge"]["url"])  # its page stood open
    carried_on(served, payment)
    assert shown(jo, payment["id"])["state"] == "CANCELLED"


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"amount": {"amount": "1.00", "asset": "EUR"}}, "ASSET_MISMATCH"),
        ({"method": "ONE_TIME_CODE"}, "SCA_METHOD_UNAVAILABLE"),
    ],
)
def test_what_a_bank_cannot_be_asked_is_refused(
    served: Served, jo: Person, ada: Person, account: str, other: dict[str, Any], code: str
) -> None:
    wish: dict[str, Any] = {"payee": PAYEE, "amount": {"amount": "1.00", "asset": "GBP"}} | other

    assert [one["code"] for one in initiate(jo, account, **wish)["errors"]] == [code]
    assert next(one["code"] for one in initiate(ada, account, **wish)["errors"]) in ("ACCOUNT_NOT_FOUND", code)
