"""Plaid's part of the sandbox, through Plaid's own client, unchanged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from plaid import ApiClient, ApiException, Configuration
from plaid.api.plaid_api import PlaidApi
from plaid.model.accounts_get_request import AccountsGetRequest
from plaid.model.country_code import CountryCode
from plaid.model.institutions_get_request import InstitutionsGetRequest
from plaid.model.item_public_token_exchange_request import ItemPublicTokenExchangeRequest
from plaid.model.item_remove_request import ItemRemoveRequest
from plaid.model.link_token_create_request import LinkTokenCreateRequest
from plaid.model.link_token_create_request_user import LinkTokenCreateRequestUser
from plaid.model.products import Products
from plaid.model.sandbox_item_reset_login_request import SandboxItemResetLoginRequest
from plaid.model.sandbox_public_token_create_request import SandboxPublicTokenCreateRequest
from plaid.model.sandbox_public_token_create_request_options import SandboxPublicTokenCreateRequestOptions
from plaid.model.transactions_sync_request import TransactionsSyncRequest
from plaid.model.webhook_verification_key_get_request import WebhookVerificationKeyGetRequest

from isthmus.sandbox.plaid import CLIENT_ID, SECRET
from tests.sandbox.running import Inbox, Sandbox


@pytest.fixture
def plaid(sandbox: Sandbox) -> Iterator[PlaidApi]:
    keys = {"clientId": CLIENT_ID, "secret": SECRET}
    with ApiClient(Configuration(host=f"{sandbox.url}/plaid", api_key=keys)) as client:
        yield PlaidApi(client)


def linked(plaid: PlaidApi, bank: str = "harbour", webhook: str | None = None) -> str:
    """An access token."""
    options = SandboxPublicTokenCreateRequestOptions(**({"webhook": webhook} if webhook else {}))
    made = plaid.sandbox_public_token_create(
        SandboxPublicTokenCreateRequest(
            institution_id=f"ins_{bank}", initial_products=[Products("transactions")], options=options
        )
    )
    exchanged = plaid.item_public_token_exchange(ItemPublicTokenExchangeRequest(public_token=made.public_token))
    token: str = exchanged.access_token
    return token


def sync(plaid: PlaidApi, token: str, cursor: str = "", count: int = 100) -> tuple[list[Any], str]:
    """Every page of one update."""
    pages = []
    while True:
        page = plaid.transactions_sync(TransactionsSyncRequest(access_token=token, cursor=cursor, count=count))
        pages.append(page)
        cursor = page.next_cursor
        if not page.has_more:
            return pages, cursor


def refusal(error: pytest.ExceptionInfo[ApiException]) -> str:
    assert error.value.status == 400
    code: str = json.loads(error.value.body)["error_code"]
    return code


def test_a_link_token_leads_to_the_banks_page_and_back_with_a_public_token(sandbox: Sandbox, plaid: PlaidApi) -> None:
    made = plaid.link_token_create(
        LinkTokenCreateRequest(
            client_name="Isthmus",
            language="en",
            country_codes=[CountryCode("GB")],
            products=[Products("transactions")],
            user=LinkTokenCreateRequestUser(client_user_id="u1"),
            redirect_uri="https://app.example/linked",
        )
    )
    chosen = sandbox.http.get(f"{made.hosted_link_url}?institution_id=ins_harbour")
    page = chosen.headers["location"]
    assert "Harbour Bank" in sandbox.http.get(page).text
    assert sandbox.approve(page, password="wrong").status_code == 401
    back = sandbox.approve(page).headers["location"]
    assert back.startswith("https://app.example/linked?link_token=link-sandbox-")
    public = back.partition("public_token=")[2]
    plaid.item_public_token_exchange(ItemPublicTokenExchangeRequest(public_token=public))
    with pytest.raises(ApiException) as again:
        plaid.item_public_token_exchange(ItemPublicTokenExchangeRequest(public_token=public))
    assert refusal(again) == "INVALID_PUBLIC_TOKEN"
    assert sandbox.approve(page).status_code == 404, "an ask is answered once"


def test_accounts_and_their_balances_are_the_books(sandbox: Sandbox, plaid: PlaidApi) -> None:
    told = plaid.accounts_get(AccountsGetRequest(access_token=linked(plaid)))
    book = sandbox.accounts("harbour")
    assert [(a.account_id, f"{a.balances.current:.2f}", f"{a.balances.available:.2f}") for a in told.accounts] == [
        (a["id"], a["booked"], a["available"]) for a in book
    ]
    assert {a.balances.iso_currency_code for a in told.accounts} == {"GBP"}


@pytest.mark.parametrize("count", [3, 500])
def test_pages_of_any_size_tell_the_same_and_leave_nothing_for_the_next_update(
    sandbox: Sandbox, plaid: PlaidApi, count: int
) -> None:
    token = linked(plaid)
    pages, cursor = sync(plaid, token, count=count)
    added = [one for page in pages for one in page.added]
    assert all(len(page.added) + len(page.removed) + len(page.modified) <= count for page in pages)
    assert len({one.transaction_id for one in added}) == len(added) > 10
    assert not any(page.removed or page.modified for page in pages), "what was pending before is not mentioned"
    again, following = sync(plaid, token, cursor, count)
    assert (len(again), again[0].added, following) == (1, [], cursor)


def test_a_pending_transaction_is_removed_and_added_under_another_id_when_it_is_booked(
    sandbox: Sandbox, plaid: PlaidApi
) -> None:
    token = linked(plaid)
    _, cursor = sync(plaid, token, count=500)
    account = sandbox.accounts("harbour")[0]["id"]
    made = sandbox.tell("movements", account=account, amount=-1234, name="Bob", pending=True)
    pages, cursor = sync(plaid, token, cursor)
    (pending,) = pages[0].added
    assert (pending.amount, pending.pending, pending.pending_transaction_id) == (12.34, True, None)
    sandbox.tell("movements/settle", movement=made["id"])
    pages, cursor = sync(plaid, token, cursor, count=1)
    assert [[one.transaction_id for one in page.removed] for page in pages] == [[pending.transaction_id], []]
    (posted,) = pages[1].added
    assert (posted.amount, posted.pending, posted.pending_transaction_id) == (12.34, False, pending.transaction_id)
    assert posted.transaction_id != pending.transaction_id
    sandbox.tell("movements/amend", movement=made["id"], name="Bob & Sons")
    (page,), _ = sync(plaid, token, cursor)
    assert [(one.transaction_id, one.name) for one in page.modified] == [(posted.transaction_id, "Bob & Sons")]


def test_a_change_between_two_pages_is_an_error_until_the_update_is_begun_anew(
    sandbox: Sandbox, plaid: PlaidApi
) -> None:
    token = linked(plaid)
    first = plaid.transactions_sync(TransactionsSyncRequest(access_token=token, count=5))
    sandbox.tell("movements", account=sandbox.accounts("harbour")[0]["id"], amount=500, name="Gift")
    with pytest.raises(ApiException) as mutated:
        plaid.transactions_sync(TransactionsSyncRequest(access_token=token, cursor=first.next_cursor, count=5))
    assert refusal(mutated) == "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"
    pages, _ = sync(plaid, token, count=500)
    assert "Gift" in {one.name for page in pages for one in page.added}


def test_the_clock_ages_what_is_pending_and_brings_new_days(sandbox: Sandbox, plaid: PlaidApi) -> None:
    token = linked(plaid)
    _, cursor = sync(plaid, token, count=500)
    account = sandbox.accounts("harbour")[0]["id"]
    sandbox.tell("movements", account=account, amount=-1, name="Bob", pending=True, books_in_s=3_600)
    _, cursor = sync(plaid, token, cursor)
    sandbox.tell("clock", advance_s=10 * 86_400)
    pages, _ = sync(plaid, token, cursor, count=500)
    assert "Bob" in {one.name for one in pages[0].added}
    assert len(pages[0].added) > 3
    assert len(pages[0].removed) >= 1


def test_an_item_that_needs_a_sign_in_refuses_until_it_is_repaired_in_update_mode(
    sandbox: Sandbox, plaid: PlaidApi, inbox: Inbox
) -> None:
    token = linked(plaid, webhook=inbox.url)
    plaid.sandbox_item_reset_login(SandboxItemResetLoginRequest(access_token=token))
    with pytest.raises(ApiException) as refused:
        plaid.accounts_get(AccountsGetRequest(access_token=token))
    assert refusal(refused) == "ITEM_LOGIN_REQUIRED"
    made = plaid.link_token_create(
        LinkTokenCreateRequest(
            client_name="Isthmus",
            language="en",
            country_codes=[CountryCode("GB")],
            user=LinkTokenCreateRequestUser(client_user_id="u1"),
            access_token=token,
        )
    )
    page = sandbox.http.get(f"{made.hosted_link_url}?institution_id=ins_harbour").headers["location"]
    sandbox.approve(page)
    assert len(plaid.accounts_get(AccountsGetRequest(access_token=token)).accounts) == 2
    codes = [json.loads(body)["webhook_code"] for _, body in inbox.wait(3)]
    assert sorted(codes) == ["ERROR", "LOGIN_REPAIRED", "SYNC_UPDATES_AVAILABLE"]


def test_webhooks_are_signed_by_the_key_that_they_name_and_come_again_until_they_are_taken(
    sandbox: Sandbox, plaid: PlaidApi, inbox: Inbox
) -> None:
    inbox.statuses = [500, 503]
    linked(plaid, webhook=inbox.url)
    headers, body = inbox.wait(1)[0]
    signed = headers["plaid-verification"]
    kid = jwt.get_unverified_header(signed)["kid"]
    key = plaid.webhook_verification_key_get(WebhookVerificationKeyGetRequest(key_id=kid)).key
    jwk = {name: getattr(key, name) for name in ("kty", "crv", "x", "y", "alg", "use", "kid")}
    claims = jwt.decode(signed, jwt.PyJWK(jwk).key, algorithms=["ES256"])
    assert claims["request_body_sha256"] == hashlib.sha256(body).hexdigest()
    (told,) = sandbox.http.get(f"{sandbox.url}/sandbox/webhooks").json()
    assert told["statuses"] == [500, 503, 200]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"clientId": CLIENT_ID, "secret": "other"}, "INVALID_API_KEYS"),
        ({"clientId": CLIENT_ID, "secret": SECRET}, "INVALID_ACCESS_TOKEN"),
    ],
)
def test_wrong_keys_and_tokens_are_refused(sandbox: Sandbox, wrong: dict[str, str], code: str) -> None:
    with (
        ApiClient(Configuration(host=f"{sandbox.url}/plaid", api_key=wrong)) as client,
        pytest.raises(ApiException) as refused,
    ):
        PlaidApi(client).accounts_get(AccountsGetRequest(access_token="access-sandbox-no"))
    assert refusal(refused) == code


def test_a_removed_item_is_gone(plaid: PlaidApi) -> None:
    token = linked(plaid)
    plaid.item_remove(ItemRemoveRequest(access_token=token))
    with pytest.raises(ApiException) as refused:
        plaid.accounts_get(AccountsGetRequest(access_token=token))
    assert refusal(refused) == "INVALID_ACCESS_TOKEN"


def test_institutions_are_those_of_the_country(plaid: PlaidApi) -> None:
    told = plaid.institutions_get(InstitutionsGetRequest(count=10, offset=0, country_codes=[CountryCode("DE")]))
    assert [(one.institution_id, one.name) for one in told.institutions] == [("ins_nordlicht", "Nordlicht Bank")]
