"""Screening, limits and an operator's judgement through the API: what the payer sees of it, and what they do not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from isthmus.graphql.ids import payment_key
from tests.api.banking import on_loop
from tests.api.conftest import Person, Served
from tests.api.paging import walked
from tests.api.test_payments import IBAN, answer, balance, cancel, code_of, funded, initiate, shown

LISTED, CLOSE, CLEAR = "Mordecai Vane", "M. Vane", "Bob Builder"
LIST = "synthetic-2026-11-01"
REVIEWS = """query($first: Int! = 200, $after: String) { paymentsForReview(first: $first, after: $after) { totalCount
    pageInfo { hasNextPage endCursor }
    edges { node { rule listVersion since payment { id state payee { name account } amount { amount asset } } } } } }"""


def payee(name: str) -> dict[str, Any]:
    return {"payee": {"name": name, "account": {"iban": IBAN}}}


def judge(operator: Person, mutation: str, payment: str, key: str | None = None) -> Any:
    kind = mutation[0].upper() + mutation[1:]
    query = f"""mutation($input: {kind}Input!) {{ {mutation}(input: $input) {{ replayed
        payment {{ id state failure {{ code message retryable }} }} errors {{ __typename code message path }} }} }}"""
    wish = {"paymentId": payment, "idempotencyKey": key or uuid4().hex}
    return operator.ask(query, {"input": wish})[mutation]


def codes(done: Any) -> list[str]:
    return [error["code"] for error in done["errors"]]


def waiting(served: Served, person: Person, account: str, value: str = "10.00") -> Any:
    """A payment of theirs that was answered for and waits for an operator."""
    payment = initiate(person, account, value, **payee(CLOSE))["payment"]
    answered = answer(person, payment["challenge"]["id"], code_of(served, payment["challenge"]["id"]))
    assert (answered["errors"], answered["payment"]["state"]) == ([], "AWAITING_SCA")
    return answered["payment"]


def listed(operator: Person, payment: str) -> Any:
    found = [edge["node"] for edge in operator.ask(REVIEWS)["paymentsForReview"]["edges"]]
    return next((one for one in found if one["payment"]["id"] == payment), None)


def events(served: Served, payment: str) -> list[Any]:
    async def read(key: UUID) -> list[Any]:
        connection = await asyncpg.connect(served.database_url)
        try:
            return await connection.fetch(
                "select type, data->>'rule' as rule, data->>'list_version' as list from event_store where aggregate_id = $1 "
                "order by version",
                key,
            )
        finally:
            await connection.close()

    return on_loop(served, read(payment_key(payment)))  # type: ignore[no-any-return]  # what the loop gives back is what it was given


def trail(served: Served, person: Person, payment: str) -> list[str]:
    served.hold_projection(False)
    query = """query($after: String) { auditTrail(first: 200, after: $after) { pageInfo { hasNextPage endCursor }
        edges { node { aggregateId eventType } } } }"""
    found, after = list[str](), None
    while True:
        page = person.ask(query, {"after": after})["auditTrail"]
        found += [edge["node"]["eventType"] for edge in page["edges"] if edge["node"]["aggregateId"] == payment]
        if not page["pageInfo"]["hasNextPage"]:
            return found
        after = page["pageInfo"]["endCursor"]


def test_a_listed_payee_is_rejected_at_once_without_hold_or_challenge_and_why_is_recorded(
    served: Served, ada: Person, olga: Person, alan: Person
) -> None:
    account = funded(ada, olga)

    done = initiate(ada, account, **payee(LISTED))

    payment = done["payment"]
    assert (done["errors"], payment["state"], payment["challenge"]) == ([], "REJECTED", None)
    assert payment["failure"] == {"code": "COMPLIANCE", "message": "This payment cannot be made.", "retryable": False}
    assert balance(ada, account) == ("100.00", "100.00")
    assert shown(ada, payment["id"])["challenge"] is None, "it is shown, also by itself"
    assert [tuple(one) for one in events(served, payment["id"])] == [
        ("PaymentInitiated", None, None),
        ("PaymentPayeeChecked", None, None),
        ("PaymentScreened", "sanctions-name-exact", LIST),
        ("PaymentRejected", None, None),
    ]
    made = ["PaymentInitiated", "PaymentPayeeChecked"]
    assert trail(served, ada, payment["id"]) == [*made, "PaymentRejected"], "no tipping off"
    assert "PaymentScreened" in trail(served, alan, payment["id"])
    assert codes(cancel(ada, payment["id"])) == ["PAYMENT_NOT_CANCELLABLE"]


def test_what_is_clear_goes_on_as_ever_and_that_it_was_screened_is_recorded(
    served: Served, ada: Person, olga: Person
) -> None:
    payment = initiate(ada, funded(ada, olga), **payee(CLEAR))["payment"]
    answered = answer(ada, payment["challenge"]["id"], code_of(served, payment["challenge"]["id"]))

    assert answered["payment"]["state"] == "AUTHORISED"
    assert [tuple(one) for one in events(served, payment["id"])] == [
        ("PaymentInitiated", None, None),
        ("PaymentPayeeChecked", None, None),
        ("PaymentScreened", "sanctions-name-clear", LIST),
        ("PaymentAuthorised", None, None),
    ]


def test_what_is_close_waits_for_an_operator_after_the_answer_and_goes_on_at_their_word(
    served: Served, ada: Person, olga: Person
) -> None:
    account = funded(ada, olga)
    early = initiate(ada, account, "1.00", **payee(CLOSE))["payment"]
    assert early["challenge"]["state"] == "PENDING", "it looks like any other"
    assert listed(olga, early["id"]) is None
    assert codes(judge(olga, "releasePayment", early["id"])) == ["PAYMENT_NOT_IN_REVIEW"]
    payment = waiting(served, ada, account)
    assert payment["challenge"]["state"] == "PASSED"
    assert balance(ada, account) == ("100.00", "89.00"), "its money is reserved"

    review = listed(olga, payment["id"])
    assert (review["rule"], review["listVersion"]) == ("sanctions-name-close", LIST)
    assert review["payment"]["payee"] == {"name": CLOSE, "account": IBAN.replace(" ", "")}

    key = uuid4().hex
    done = judge(olga, "releasePayment", payment["id"], key)
    assert (done["errors"], done["payment"]["state"]) == ([], "AUTHORISED")
    assert judge(olga, "releasePayment", payment["id"], key) == done | {"replayed": True}
    assert listed(olga, payment["id"]) is None
    assert [step["state"] for step in shown(ada, payment["id"])["history"]] == ["AWAITING_SCA", "AUTHORISED"]
    made = ["PaymentInitiated", "PaymentPayeeChecked"]
    assert trail(served, ada, payment["id"]) == [*made, "PaymentAuthorised"], "no tipping off"
    assert codes(judge(olga, "refusePayment", payment["id"])) == ["PAYMENT_NOT_IN_REVIEW"], "it is over"


def test_what_an_operator_refuses_is_told_in_the_words_of_the_rules(served: Served, ada: Person, olga: Person) -> None:
    account = funded(ada, olga)
    payment = waiting(served, ada, account)

    done = judge(olga, "refusePayment", payment["id"])

    assert (done["errors"], done["payment"]["state"]) == ([], "REJECTED")
    by_rule = initiate(ada, account, **payee(LISTED))["payment"]
    assert shown(ada, payment["id"])["failure"] == shown(ada, by_rule["id"])["failure"] == done["payment"]["failure"]
    assert balance(ada, account) == ("100.00", "100.00")


@pytest.mark.parametrize("mutation", ["releasePayment", "refusePayment"])
def test_judging_is_for_operators_and_of_what_waits(served: Served, ada: Person, olga: Person, mutation: str) -> None:
    payment = waiting(served, ada, funded(ada, olga))
    kind = mutation[0].upper() + mutation[1:]
    query = f"mutation($input: {kind}Input!) {{ {mutation}(input: $input) {{ position }} }}"

    assert ada.refused(query, {"input": {"paymentId": payment["id"], "idempotencyKey": "k"}}) == "FORBIDDEN"
    assert ada.refused(REVIEWS) == "FORBIDDEN"
    for nothing in ("nothing", ada.open()):
        assert codes(judge(olga, mutation, nothing)) == ["PAYMENT_NOT_IN_REVIEW"]
    assert shown(ada, payment["id"])["state"] == "AWAITING_SCA"


def test_what_waits_is_paged_longest_first(served: Served, ada: Person, olga: Person) -> None:
    account = funded(ada, olga)
    made = [waiting(served, ada, account, "1.00")["id"] for _ in range(3)]
    seen = walked(olga, REVIEWS, "paymentsForReview", first=1)

    assert [one for one in seen if one in made] == made
    for one in seen:
        judge(olga, "refusePayment", one)


def test_an_account_frozen_between_challenge_and_answer_pays_nothing_until_it_is_thawed_and_released(
    served: Served, ada: Person, olga: Person
) -> None:
    account = funded(ada, olga)
    payment = initiate(ada, account)["payment"]
    assert olga.change("freezeAccount", account)["errors"] == []

    answered = answer(ada, payment["challenge"]["id"], code_of(served, payment["challenge"]["id"]))

    assert (answered["errors"], answered["payment"]["state"]) == ([], "AWAITING_SCA")
    assert listed(olga, payment["id"])["rule"] == "account-frozen"
    assert codes(judge(olga, "releasePayment", payment["id"])) == ["ACCOUNT_FROZEN"]
    assert olga.change("unfreezeAccount", account)["errors"] == []
    assert judge(olga, "releasePayment", payment["id"])["payment"]["state"] == "AUTHORISED"


LIMITED = """mutation($input: InitiatePaymentInput!) { initiatePayment(input: $input) { payment { id } errors { code message path
    ... on LimitExceeded { limit { amount asset } used { amount asset } resetsAt } } } }"""


def pay(person: Person, account: str, value: str, key: str | None = None) -> Any:
    wish = {"fromAccountId": account, "amount": {"amount": value, "asset": "EUR"}, "idempotencyKey": key or uuid4().hex}
    return person.ask(LIMITED, {"input": wish | payee(CLEAR)})["initiatePayment"]


def test_f28_of_fifty_at_once_from_two_accounts_only_as_many_pass_as_the_day_allows(
    served: Served, ada: Person, olga: Person
) -> None:
    accounts = [funded(ada, olga, "1000000.00") for _ in range(2)]

    with ThreadPoolExecutor(16) as at_once:
        done = list(at_once.map(lambda n: pay(ada, accounts[n % 2], "6000.00"), range(50)))

    passed = [one for one in done if not one["errors"]]
    assert len(passed) == 8, "8 of 6,000 are in 50,000, and 9 are not"
    refused = [one["errors"][0] for one in done if one["errors"]]
    assert {error["code"] for error in refused} == {"LIMIT_EXCEEDED"}
    midnight = datetime.combine(datetime.now(UTC).date() + timedelta(days=1), time(0), UTC)
    assert refused[-1]["limit"] == {"amount": "50000.00", "asset": "EUR"}
    assert {error["used"]["amount"] for error in refused} == {"48000.00"}
    assert {datetime.fromisoformat(error["resetsAt"]) for error in refused} == {midnight}
    reserved = sum(1_000_000 - Decimal(balance(ada, account)[1]) for account in accounts)
    assert reserved == 48_000


def test_one_payment_has_a_limit_that_never_resets(served: Served, ada: Person, olga: Person) -> None:
    account = funded(ada, olga, "100000.00")

    error = pay(ada, account, "25000.01")["errors"][0]

    assert (error["code"], error["path"], error["resetsAt"]) == ("LIMIT_EXCEEDED", ["input", "amount"], None)
    assert error["limit"]["amount"] == "25000.00"
    assert pay(ada, account, "25000.00")["errors"] == []


def test_what_came_to_nothing_counts_no_more_and_an_answer_stays_the_answer(
    served: Served, ada: Person, olga: Person
) -> None:
    account, key = funded(ada, olga, "100000.00"), uuid4().hex
    first = pay(ada, account, "25000.00", key)["payment"]["id"]
    pay(ada, account, "20000.00")
    over = uuid4().hex
    assert codes(pay(ada, account, "5000.01", over)) == ["LIMIT_EXCEEDED"]
    assert pay(ada, account, "25000.00", key)["payment"]["id"] == first, "also while the refusal is remembered"
    assert initiate(ada, account, "5000.00", **payee(LISTED))["payment"]["state"] == "REJECTED"

    assert cancel(ada, first)["errors"] == []

    assert pay(ada, account, "5000.01", over)["errors"] == [], "not remembered: the same wish is granted now"
