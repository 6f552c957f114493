"""T9: told so, a route is late, cut off, wrong or does not say what it did; then it is well again."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from isthmus.sandbox.plaid import CLIENT_ID, SECRET
from tests.sandbox.running import Sandbox

HEADERS = {"PLAID-CLIENT-ID": CLIENT_ID, "PLAID-SECRET": SECRET}


def ask(sandbox: Sandbox, path: str, timeout_s: float = 5.0, **body: object) -> httpx.Response:
    return sandbox.http.post(f"{sandbox.url}/plaid/{path}", json=body, headers=HEADERS, timeout=timeout_s)


@pytest.fixture
def token(sandbox: Sandbox) -> str:
    made = ask(sandbox, "sandbox/public_token/create", institution_id="ins_harbour", initial_products=["transactions"])
    token: str = ask(sandbox, "item/public_token/exchange", public_token=made.json()["public_token"]).json()[
        "access_token"
    ]
    return token


@pytest.mark.parametrize(("kind", "status"), [("error_before", 500), ("error_after", 500), ("too_many", 429)])
def test_an_error_is_told_and_only_some_of_them_did_nothing(
    sandbox: Sandbox, token: str, kind: str, status: int
) -> None:
    sandbox.tell("misbehaviour", route="POST /plaid/item/remove", kind=kind)
    assert ask(sandbox, "item/remove", access_token=token).status_code == status
    done = ask(sandbox, "accounts/get", access_token=token).status_code == 400
    assert done == (kind == "error_after")


@pytest.mark.parametrize("kind", ["hang_before", "hang_after"])
def test_a_hang_ends_with_the_callers_patience(sandbox: Sandbox, token: str, kind: str) -> None:
    sandbox.tell("misbehaviour", route="POST /plaid/item/*", kind=kind)
    began = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        ask(sandbox, "item/remove", 0.3, access_token=token)
    assert time.monotonic() - began < 5
    done = ask(sandbox, "accounts/get", access_token=token).status_code == 400
    assert done == (kind == "hang_after")


def test_an_answer_breaks_off(sandbox: Sandbox, token: str) -> None:
    sandbox.tell("misbehaviour", route="POST /plaid/accounts/get", kind="truncated")
    with pytest.raises(httpx.RemoteProtocolError):
        ask(sandbox, "accounts/get", access_token=token)
    assert ask(sandbox, "accounts/get", access_token=token).status_code == 200, "once was asked for"


def test_amounts_are_no_numbers_or_of_another_currency(sandbox: Sandbox, token: str) -> None:
    sandbox.tell("misbehaviour", route="POST /plaid/accounts/get", kind="nan")
    sandbox.tell("misbehaviour", route="POST /plaid/accounts/get", kind="wrong_currency")
    assert '"current":NaN' in ask(sandbox, "accounts/get", access_token=token).text
    accounts = ask(sandbox, "accounts/get", access_token=token).json()["accounts"]
    assert {one["balances"]["iso_currency_code"] for one in accounts} == {"JPY"}


def test_a_page_comes_again_in_the_place_of_the_next(sandbox: Sandbox, token: str) -> None:
    first = ask(sandbox, "transactions/sync", access_token=token, count=3).json()
    sandbox.tell("misbehaviour", route="POST /plaid/transactions/sync", kind="page_again")
    again = ask(sandbox, "transactions/sync", access_token=token, count=3, cursor=first["next_cursor"]).json()
    assert again == first
    after = ask(sandbox, "transactions/sync", access_token=token, count=3, cursor=first["next_cursor"]).json()
    assert after["added"] != first["added"]


def test_an_answer_drips(sandbox: Sandbox, token: str) -> None:
    sandbox.tell("misbehaviour", route="POST /plaid/item/get", kind="drip", seconds=0.002)
    began = time.monotonic()
    answer = ask(sandbox, "item/get", access_token=token)
    assert time.monotonic() - began > 0.002 * len(answer.content)
    assert json.loads(answer.text)["item"]["error"] is None


def test_an_unknown_kind_is_refused(sandbox: Sandbox) -> None:
    answer = sandbox.http.post(f"{sandbox.url}/sandbox/misbehaviour", json={"route": "POST /*", "kind": "sulk"})
    assert answer.status_code == 400
    assert "no such misbehaviour: sulk" in answer.json()["error"]
