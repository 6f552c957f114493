"""Contract 03 through the API: to pay, to answer for it, to take it back."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from isthmus.graphql.ids import payment_key, sca_challenge_key
from tests.api.banking import on_loop
from tests.api.conftest import Person, Served
from tests.api.conftest import deposit as deposited

CONTRACT = (Path(__file__).parent.parent / "contract" / "03-payments-sca.graphql").read_text(encoding="utf-8")
IBAN = "GB29 NWBK 6016 1331 9268 19"


def funded(person: Person, olga: Person, amount: str = "100.00") -> str:
    account = person.open()
    deposited(olga, account, amount)
    return account


def initiate(person: Person, account: str, value: str = "12.34", **other: Any) -> Any:
    wish = {
        "fromAccountId": account,
        "amount": {"amount": value, "asset": "EUR"},
        "payee": {"name": "Bob Builder", "account": {"iban": IBAN}},
        "reference": "Rent",
        "idempotencyKey": uuid4().hex,
    } | other
    return person.ask(CONTRACT, {"input": wish}, "InitiatePayment")["initiatePayment"]


def answer(person: Person, challenge: str, code: str) -> Any:
    wish = {"challengeId": challenge, "answer": {"oneTimeCode": code}}
    return person.ask(CONTRACT, {"input": wish}, "AnswerScaChallenge")["answerScaChallenge"]


def cancel(person: Person, payment: str) -> Any:
    wish = {"paymentId": payment, "idempotencyKey": uuid4().hex}
    return person.ask(CONTRACT, {"input": wish}, "CancelPayment")["cancelPayment"]


def shown(person: Person, payment: str) -> Any:
    return person.ask(CONTRACT, {"id": payment}, "Payment")["node"]


def code_of(served: Served, challenge: str) -> str:
    """What is sent to the payer."""
    desk = served.app.state.running.services.sca
    key = sca_challenge_key(challenge)

    async def digest() -> str:
        async with desk._pool.acquire() as connection:
            found: str = await connection.fetchval("select digest from sca_challenges where id = $1", key)
        return found

    return str(desk._codes.code(key, on_loop(served, digest())))


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


def balance(person: Person, account: str) -> tuple[str, str]:
    """(posted, available)."""
    found = person.account(account, "balance { posted { amount } available { amount } }")["balance"]
    return found["posted"]["amount"], found["available"]["amount"]


def test_a_payment_waits_for_its_challenge_and_the_answer_moves_it_on(
    served: Served, ada: Person, olga: Person
) -> None:
    account = funded(ada, olga)

    done = initiate(ada, account)

    assert done["errors"] == []
    payment = done["payment"]
    assert (payment["state"], payment["amount"]) == ("AWAITING_SCA", {"amount": "12.34", "asset": "EUR"})
    assert payment["payee"] == {"name": "Bob Builder", "account": IBAN.replace(" ", "")}
    challenge = payment["challenge"]
    assert (challenge["__typename"], challenge["state"], challenge["attemptsLeft"]) == (
        "OneTimeCodeChallenge",
        "PENDING",
        5,
    )
    link = challenge["dynamicLink"]
    assert (link["amount"], link["payeeName"]) == ({"amount": "12.34", "asset": "EUR"}, "Bob Builder")
    assert len(link["digest"]) == 64
    assert balance(ada, account) == ("100.00", "87.66"), "what is asked for is not there twice"

    answered = answer(ada, challenge["id"], code_of(served, challenge["id"]))

    assert answered["errors"] == []
    assert answered["payment"]["state"] == "AUTHORISED"
    assert answered["payment"]["challenge"]["state"] == "PASSED"
    assert [step["state"] for step in shown(ada, payment["id"])["history"]] == ["AWAITING_SCA", "AUTHORISED"]


def test_an_answer_counts_once_and_equal_words_say_no_whatever_was_wrong(
    served: Served, ada: Person, grace: Person, olga: Person
) -> None:
    challenge = initiate(ada, funded(ada, olga))["payment"]["challenge"]["id"]
    code = code_of(served, challenge)

    first = answer(ada, challenge, wrong(code))["errors"][0]
    another = answer(grace, challenge, code)["errors"][0]
    nobodys = answer(ada, "nothing", code)["errors"][0]
    assert answer(ada, challenge, code)["errors"] == []
    again = answer(ada, challenge, code)["errors"][0]

    told = [(error["code"], error["message"]) for error in (first, another, nobodys, again)]
    assert len(set(told)) == 1
    assert (first["attemptsLeft"], first["challengeState"]) == (4, "PENDING")
    assert (again["attemptsLeft"], again["challengeState"]) == (0, "PASSED")
    assert (another["attemptsLeft"], another["challengeState"]) == (nobodys["attemptsLeft"], nobodys["challengeState"])


def test_d3_five_wrong_answers_over_several_challenges_block_and_new_ones_do_not_help(
    served: Served, ada: Person, olga: Person
) -> None:
    account = funded(ada, olga)
    challenges = [initiate(ada, account, "1.00")["payment"]["challenge"]["id"] for _ in range(3)]
    left = []
    for n in range(5):
        challenge = challenges[n % 3]
        error = answer(ada, challenge, wrong(code_of(served, challenge)))["errors"][0]
        left.append((error["attemptsLeft"], error["challengeState"]))

    assert left == [(4, "PENDING"), (3, "PENDING"), (2, "PENDING"), (1, "PENDING"), (0, "FAILED")]
    for challenge in challenges:
        assert answer(ada, challenge, code_of(served, challenge))["errors"], "not even the right one any more"
    refused = initiate(ada, account, "1.00")
    assert [error["code"] for error in refused["errors"]] == ["SCA_BLOCKED"]


def test_d3_two_hundred_guesses_at_once_are_five(served: Served, ada: Person, olga: Person) -> None:
    challenge = initiate(ada, funded(ada, olga))["payment"]["challenge"]["id"]
    code = code_of(served, challenge)
    guesses = [f"{n:06d}" for n in range(200) if f"{n:06d}" != code]

    with ThreadPoolExecutor(16) as at_once:
        answers = list(at_once.map(lambda guess: answer(ada, challenge, guess), guesses))

    assert all(one["errors"] for one in answers)
    assert failures(served, challenge) == 5


def test_d2_two_hundred_right_answers_at_once_pass_once(served: Served, ada: Person, olga: Person) -> None:
    challenge = initiate(ada, funded(ada, olga))["payment"]["challenge"]["id"]
    code = code_of(served, challenge)

    with ThreadPoolExecutor(16) as at_once:
        answers = list(at_once.map(lambda _: answer(ada, challenge, code), range(200)))

    assert sum(one["errors"] == [] for one in answers) == 1


def failures(served: Served, challenge: str) -> int:
    async def count() -> int:
        connection = await asyncpg.connect(served.database_url)
        try:
            found: int = await connection.fetchval(
                "select count(*) from event_store where aggregate_id = $1 and type = 'ScaAnsweredWrongly'",
                sca_challenge_key(challenge),
            )
        finally:
            await connection.close()
        return found

    return asyncio.run(count())


def test_it_is_taken_back_and_the_money_is_free_again(served: Served, ada: Person, grace: Person, olga: Person) -> None:
    account = funded(ada, olga)
    payment = initiate(ada, account)["payment"]

    assert [error["code"] for error in cancel(grace, payment["id"])["errors"]] == ["PAYMENT_NOT_FOUND"]
    done = cancel(ada, payment["id"])

    assert (done["errors"], done["payment"]["state"]) == ([], "CANCELLED")
    assert done["payment"]["challenge"]["state"] == "INVALIDATED"
    assert balance(ada, account) == ("100.00", "100.00")
    late = answer(ada, payment["challenge"]["id"], code_of(served, payment["challenge"]["id"]))
    assert late["errors"][0]["challengeState"] == "INVALIDATED"
    assert cancel(ada, payment["id"])["payment"]["state"] == "CANCELLED"


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"payee": {"name": "Bob", "account": {"iban": "GB30 NWBK 6016 1331 9268 19"}}}, "PAYEE_ACCOUNT_INVALID"),
        (
            {"payee": {"name": "Bob", "account": {"sortCode": "20-00", "accountNumber": "12345678"}}},
            "PAYEE_ACCOUNT_INVALID",
        ),
        ({"payee": {"name": "Bob", "account": {}}}, "INVALID_INPUT"),
        ({"payee": {"name": "Bob", "account": {"iban": IBAN, "sortCode": "200000"}}}, "INVALID_INPUT"),
        ({"payee": {"name": " ", "account": {"iban": IBAN}}}, "INVALID_INPUT"),
        ({"reference": "x" * 19}, "INVALID_INPUT"),
        ({"amount": {"amount": "100.01", "asset": "EUR"}}, "INSUFFICIENT_FUNDS"),
        ({"amount": {"amount": "1", "asset": "GBP"}}, "ASSET_MISMATCH"),
        ({"amount": {"amount": "0", "asset": "EUR"}}, "INVALID_AMOUNT"),
        ({"fromAccountId": "nothing"}, "ACCOUNT_NOT_FOUND"),
    ],
)
def test_what_cannot_be_paid_is_refused_and_reserves_nothing(
    served: Served, ada: Person, olga: Person, other: dict[str, Any], code: str
) -> None:
    account = funded(ada, olga)

    refused = initiate(ada, account, **other)

    assert (refused["payment"], [error["code"] for error in refused["errors"]]) == (None, [code])
    assert balance(ada, account) == ("100.00", "100.00")


def test_the_same_wish_again_is_the_same_payment_and_nobody_else_sees_it(
    served: Served, ada: Person, grace: Person, olga: Person
) -> None:
    account, key = funded(ada, olga), uuid4().hex
    first = initiate(ada, account, idempotencyKey=key)["payment"]
    again = initiate(ada, account, idempotencyKey=key)["payment"]
    other = initiate(ada, account, "1.00", idempotencyKey=key)

    assert again["id"] == first["id"]
    assert again["challenge"]["id"] == first["challenge"]["id"]
    assert [error["code"] for error in other["errors"]] == ["IDEMPOTENCY_KEY_REUSED"]
    assert shown(grace, first["id"]) is None
    assert payment_key(first["id"]).int
    listed = ada.ask("{ viewer { payments(first: 5) { totalCount edges { node { id state } } } } }")["viewer"]
    assert listed["payments"]["totalCount"] == 1
    assert [edge["node"]["id"] for edge in listed["payments"]["edges"]] == [first["id"]]
