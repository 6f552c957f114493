"""Rows D2 to D5 and D8: who answers a challenge that is not theirs, too often, for something else, or from elsewhere.

The other rows are named where their parts are tested: D1 and D6 (devices), D7 (the way back from a bank).
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.api.conftest import Person, Served, token
from tests.api.socket_client import connected
from tests.api.test_payments import CONTRACT, answer, cancel, code_of, failures, funded, initiate, wrong
from tests.attacks.count import Row

ALIASED = 30


@pytest.fixture
def challenge(ada: Person, olga: Person) -> str:
    return str(initiate(ada, funded(ada, olga))["payment"]["challenge"]["id"])


def guesses(code: str, count: int) -> list[str]:
    return [f"{(int(code) + 1 + n) % 1_000_000:06d}" for n in range(count)]


def test_d3_nobody_guesses_more_often_by_asking_in_another_way(
    served: Served, ada: Person, challenge: str, row: Row
) -> None:
    code = code_of(served, challenge)
    for count in (2, 5, ALIASED):
        tries = [*guesses(code, count - 1), code]
        aliased = " ".join(
            f'g{n}: answerScaChallenge(input: {{challengeId: "{challenge}", answer: {{oneTimeCode: "{guess}"}}}}) '
            "{ errors { code } }"
            for n, guess in enumerate(tries)
        )
        with row.case((count, "aliases")):
            assert ada.refused(f"mutation {{ {aliased} }}") == "QUERY_TOO_COMPLEX"
        with row.case((count, "aliases, in a fragment")):
            assert ada.refused(f"mutation {{ ...f }} fragment f on Mutation {{ {aliased} }}") == "QUERY_TOO_COMPLEX"
    with row.case("a batch"):
        wish = {"query": CONTRACT, "operationName": "AnswerScaChallenge", "variables": {}}
        sent = ada._client.post(ada.url, json=[wish] * ALIASED, headers={"Authorization": f"Bearer {ada.token}"})
        assert sent.status_code == 400
    assert failures(served, challenge) == 0, "what is refused whole was not looked at"
    for n, guess in enumerate(guesses(code, ALIASED)):
        with row.case(("one by one, each in another session", n)):
            ada.token = token(ada.subject, seconds=600 + n)
            assert answer(ada, challenge, guess)["errors"]
    assert failures(served, challenge) == 5
    with row.case("the right one, at last"):
        assert answer(ada, challenge, code)["errors"]


async def test_d3_a_socket_is_counted_with_the_rest(served: Served, ada: Person, challenge: str, row: Row) -> None:
    code = code_of(served, challenge)
    async with connected(served) as client:
        await client.sign_in(ada.token)
        for n, guess in enumerate(guesses(code, 8)):
            with row.case(n):
                wish = {"input": {"challengeId": challenge, "answer": {"oneTimeCode": guess}}}
                await client.subscribe(CONTRACT, wish, id=str(n), operationName="AnswerScaChallenge")
                assert (await client.next())["data"]["answerScaChallenge"]["errors"]
                assert (await client.receive())["type"] == "complete"
    assert await asyncio.to_thread(failures, served, challenge) == 5


def test_d4_equal_words_whatever_was_wrong(
    served: Served, ada: Person, grace: Person, olga: Person, challenge: str, row: Row
) -> None:
    """And of another's challenge not even that there is one."""
    account = funded(grace, olga)
    mine = str(initiate(grace, account, "1.00")["payment"]["challenge"]["id"])
    over = initiate(grace, account, "1.00")["payment"]
    cancel(grace, over["id"])
    code = code_of(served, mine)
    nothing: dict[str, tuple[Any, Any]] = {}
    said: set[tuple[str, str, str]] = set()
    tries = {
        "wrong code": (mine, wrong(code)),
        "too short": (mine, "12345"),
        "no digits": (mine, "abcdef"),
        "empty": (mine, ""),
        "another challenge's code": (mine, code_of(served, challenge)),
        "another's challenge, right code": (challenge, code_of(served, challenge)),
        "another's challenge, wrong code": (challenge, "000000"),
        "no challenge": ("c2N4", code),
        "no id": ("\u0000", code),
        "another kind of id": (account, code),
        "over": (over["challenge"]["id"], code),
    }
    for name, (which, given) in tries.items():
        with row.case(name):
            (error,) = answer(grace, which, given)["errors"]
            said.add((error["__typename"], error["code"], error["message"]))
            if which not in (mine, over["challenge"]["id"]):
                nothing[name] = error["attemptsLeft"], error["challengeState"]
    assert len(said) == 1, said
    assert len(set(nothing.values())) == 1, nothing


def test_d5_what_is_over_or_of_another_kind_is_answered_by_nobody(
    served: Served, ada: Person, olga: Person, row: Row
) -> None:
    account = funded(ada, olga)
    taken_back, waiting = (initiate(ada, account, "1.00")["payment"] for _ in range(2))
    cancel(ada, taken_back["id"])
    with row.case("cancelled"):
        assert answer(ada, taken_back["challenge"]["id"], code_of(served, taken_back["challenge"]["id"]))["errors"]
    challenge = waiting["challenge"]["id"]
    others: list[dict[str, Any]] = [
        {"deviceAssertion": "{}"},
        {"deviceAssertion": ""},
        {"decoupledPoll": True},
        {"redirectResult": {"code": "1", "state": "1"}},
    ]
    for given in others:
        with row.case(("a device's or a bank's, where a code is asked for", str(given))):
            wish = {"input": {"challengeId": challenge, "answer": given}}
            assert ada.ask(CONTRACT, wish, "AnswerScaChallenge")["answerScaChallenge"]["errors"]
    nothing_said: list[dict[str, str | None]] = [
        {},
        {"oneTimeCode": "1", "deviceAssertion": "{}"},
        {"oneTimeCode": None},
    ]
    for no_answer in nothing_said:
        with row.case(("not one answer", str(no_answer))):
            nothing = {"input": {"challengeId": challenge, "answer": no_answer}}
            assert ada.refused(CONTRACT, nothing, "AnswerScaChallenge") == "BAD_USER_INPUT"


def test_d8_an_answer_needs_the_session_of_its_person(
    served: Served, ada: Person, grace: Person, challenge: str, row: Row
) -> None:
    code = code_of(served, challenge)
    body = {
        "query": CONTRACT,
        "operationName": "AnswerScaChallenge",
        "variables": {"input": {"challengeId": challenge, "answer": {"oneTimeCode": code}}},
    }
    post = ada._client.post
    elsewhere: dict[str, dict[str, str]] = {
        "nobody": {},
        "a cookie that is none": {"Cookie": "isthmus_session=x"},
        "a form of another page": {"Content-Type": "text/plain", "Origin": "https://evil.example"},
    }
    for name, headers in elsewhere.items():
        with row.case(name):
            told = post(ada.url, json=body, headers=headers)
            assert told.status_code >= 400 or told.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    with row.case("a link that is followed"):
        told = ada._client.get(ada.url, params={"query": CONTRACT, "operationName": "AnswerScaChallenge"})
        assert told.status_code >= 400
    with row.case("another person"):
        assert answer(grace, challenge, code)["errors"]
    assert answer(ada, challenge, code)["errors"] == [], "the control: its person may"
