"""Accounts, transfers and deposits through the contract's own operations."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from tests.api.conftest import CONTRACT, SETTLE, Person, Served, deposit

JOURNAL = """query($id: ID!) { node(id: $id) { ... on Journal {
    reference kind status entries { account { id } direction amount { amount } } } } }"""
AS_OF = """query($id: ID!, $t: DateTime!) { node(id: $id) { ... on Account {
    balance(asOf: $t) { posted { amount } asOf version } } } }"""


def opening(person: Person, **changed: Any) -> Any:
    wish = {"asset": "EUR", "name": "Main", "idempotencyKey": uuid4().hex} | changed
    return person.ask(CONTRACT, {"input": wish}, "OpenAccount")["openAccount"]


def balance_at(person: Person, account: str, instant: str) -> Any:
    return person.ask(AS_OF, {"id": account, "t": instant})["node"]["balance"]


def test_an_opened_account_is_empty_and_prints_with_its_assets_scale(ada: Person) -> None:
    for asset, zero in (("EUR", "0.00"), ("JPY", "0"), ("ETH", "0." + "0" * 18)):
        account = opening(ada, asset=asset)["account"]

        assert account["balance"]["available"] == {"amount": zero, "asset": asset}


@pytest.mark.parametrize(
    ("changed", "code", "path"),
    [
        ({"asset": "XYZ"}, "UNKNOWN_ASSET", ["input", "asset"]),
        ({"name": ""}, "INVALID_INPUT", ["input", "name"]),
        ({"name": " \t"}, "INVALID_INPUT", ["input", "name"]),
        ({"name": "x" * 101}, "INVALID_INPUT", ["input", "name"]),
        ({"name": "a\x00b"}, "INVALID_INPUT", ["input", "name"]),
        ({"idempotencyKey": ""}, "INVALID_INPUT", ["input", "idempotencyKey"]),
        ({"idempotencyKey": "x" * 256}, "INVALID_INPUT", ["input", "idempotencyKey"]),
        ({"idempotencyKey": "a\x00b"}, "INVALID_INPUT", ["input", "idempotencyKey"]),
    ],
)
def test_a_wrong_input_is_refused_and_not_remembered(ada: Person, changed: Any, code: str, path: list[str]) -> None:
    key = uuid4().hex

    refused = opening(ada, **({"idempotencyKey": key} | changed))
    mended = opening(ada, idempotencyKey=key)

    assert refused["account"] is None
    assert [(error["code"], error["path"]) for error in refused["errors"]] == [(code, path)]
    assert int(refused["position"]) >= 0
    assert mended["errors"] == []


def test_a_replay_gets_the_first_answer_though_the_account_has_moved_on(ada: Person, olga: Person) -> None:
    wish = {"asset": "EUR", "name": "First", "idempotencyKey": uuid4().hex}
    query = CONTRACT.replace(
        "account { id name asset balance", "replayed account { id name status openedAt asset balance"
    )

    first = ada.ask(query, {"input": wish}, "OpenAccount")["openAccount"]
    deposit(olga, first["account"]["id"], "5.00")
    again = ada.ask(query, {"input": wish}, "OpenAccount")["openAccount"]
    other = ada.ask(query, {"input": wish | {"name": "Second"}}, "OpenAccount")["openAccount"]

    assert again == first | {"replayed": True}
    assert [error["__typename"] for error in other["errors"]] == ["IdempotencyKeyReused"]


def test_money_moves_between_two_people(served: Served, ada: Person, grace: Person, funded: str) -> None:
    target = grace.open()

    answer = ada.transfer(funded, target, "12.34", reference="dinner")
    journal = answer["journal"]
    seen = grace.ask(JOURNAL, {"id": journal["id"]})

    assert answer["errors"] == []
    assert journal["reference"] == "dinner"
    assert [(e["direction"], e["account"], e["amount"]["amount"]) for e in journal["entries"]] == [
        ("DEBIT", {"id": funded}, "12.34"),
        ("CREDIT", None, "12.34"),
    ]
    assert [entry["account"] for entry in seen["node"]["entries"]] == [None, {"id": target}]
    assert (seen["node"]["reference"], seen["node"]["kind"], seen["node"]["status"]) == (
        "dinner",
        "INTERNAL_TRANSFER",
        "POSTED",
    )


def test_a_replayed_transfer_shows_the_balances_of_the_first_time(ada: Person, funded: str) -> None:
    target, key = ada.open(), uuid4().hex
    query = CONTRACT.replace(
        "entries { account { id }", "entries { account { id name balance { posted { amount } version } }"
    )
    wish = {
        "fromAccountId": funded,
        "toAccountId": target,
        "amount": {"amount": "1.00", "asset": "EUR"},
        "reference": None,
        "idempotencyKey": key,
    }

    first = ada.ask(query, {"input": wish}, "TransferInternally")["transferInternally"]
    ada.transfer(funded, target, "2.00")
    same_value = wish | {"amount": {"amount": "1", "asset": "EUR"}}
    again = ada.ask(query, {"input": same_value}, "TransferInternally")["transferInternally"]

    assert [entry["account"]["balance"]["posted"]["amount"] for entry in first["journal"]["entries"]] == [
        "99.00",
        "1.00",
    ]
    assert again == first | {"replayed": True}


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        ("0", "INVALID_AMOUNT"),
        ("0.00", "INVALID_AMOUNT"),
        ("-1", "INVALID_AMOUNT"),
        ("0.001", "INVALID_AMOUNT"),
        ("1" + "0" * 60, "INVALID_AMOUNT"),
        ("100.01", "INSUFFICIENT_FUNDS"),
        ("9" * 40, "INSUFFICIENT_FUNDS"),
    ],
)
def test_an_amount_that_cannot_be_moved(ada: Person, funded: str, amount: str, code: str) -> None:
    answer = ada.transfer(funded, ada.open(), amount)

    assert answer["journal"] is None
    assert [error["code"] for error in answer["errors"]] == [code]
    if code == "INSUFFICIENT_FUNDS":
        assert answer["errors"][0]["available"] == {"amount": "100.00", "asset": "EUR"}


def test_a_reference_is_bounded(ada: Person, funded: str) -> None:
    target = ada.open()

    assert ada.transfer(funded, target, "1", reference="x" * 140)["errors"] == []
    for reference in ("x" * 141, "a\x00b"):
        assert [e["code"] for e in ada.transfer(funded, target, "1", reference=reference)["errors"]] == [
            "INVALID_INPUT"
        ]


def test_the_same_account_and_another_asset_are_refused(ada: Person, funded: str) -> None:
    other = ada.open("GBP")

    assert [e["code"] for e in ada.transfer(funded, funded, "1")["errors"]] == ["SAME_ACCOUNT"]
    assert [e["code"] for e in ada.transfer(funded, other, "1")["errors"]] == ["RECIPIENT_NOT_FOUND"]
    assert [e["code"] for e in ada.transfer(funded, other, "1", asset="GBP")["errors"]] == ["ASSET_MISMATCH"]


def test_history_is_exact_at_every_instant(ada: Person, olga: Person) -> None:
    account = ada.open()
    node = ada.account(account, "openedAt balance { asOf version }")
    shown = [("0.00", node["balance"])]
    for amount in ("1.00", "2.00", "4.00"):
        deposit(olga, account, amount)
        now = ada.account(account, "balance { posted { amount } asOf version }")["balance"]
        shown.append((now["posted"]["amount"], now))

    assert [posted for posted, _ in shown] == ["0.00", "1.00", "3.00", "7.00"]
    assert node["balance"]["asOf"] == node["openedAt"]
    for posted, balance in shown:
        then = balance_at(ada, account, balance["asOf"])
        assert (then["posted"]["amount"], then["asOf"], then["version"]) == (
            posted,
            balance["asOf"],
            balance["version"],
        )
        instant = datetime.fromisoformat(balance["asOf"])
        before = balance_at(ada, account, (instant - timedelta(microseconds=1)).isoformat())
        assert before["version"] == max(balance["version"] - 1, 0)


def test_what_moves_no_money_leaves_the_balance_as_it_was(ada: Person, olga: Person) -> None:
    account = ada.open()
    deposit(olga, account, "1.00")
    before = ada.account(account, "balance { posted { amount } asOf version }")

    olga.change("freezeAccount", account)
    olga.change("unfreezeAccount", account)

    assert ada.account(account, "balance { posted { amount } asOf version }") == before


def test_balances_read_together_are_of_one_moment(served: Served, ada: Person, funded: str) -> None:
    """The bank test: with transfers under way, every reading sums to what is there."""
    accounts = [funded, ada.open(), ada.open()]
    payer, done = Person(served), threading.Event()
    payer.token = ada.token

    def pay() -> None:
        for number in range(30):
            payer.transfer(accounts[number % 3], accounts[(number + 1) % 3], "1.00")
        done.set()

    paying = threading.Thread(target=pay)
    paying.start()
    sums: set[Decimal] = set()
    versions: dict[str, int] = {}
    while not done.is_set():
        edges = ada.ask(CONTRACT, None, "Viewer")["viewer"]["accounts"]["edges"]
        sums.add(sum((Decimal(edge["node"]["balance"]["posted"]["amount"]) for edge in edges), Decimal(0)))
        for edge in [*edges, {"node": {"id": funded} | ada.account(funded, "balance { version }")}]:
            account, version = edge["node"]["id"], edge["node"]["balance"]["version"]
            assert version >= versions.get(account, 0), "no session sees a balance go back"
            versions[account] = version
    paying.join()

    assert sums == {Decimal("100.00")}
    assert max(versions.values()) > 1


def test_before_opening_there_is_zero_and_the_future_is_refused(ada: Person) -> None:
    account = ada.open()
    later = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()

    assert balance_at(ada, account, "2020-01-01T00:00:00Z") == {
        "posted": {"amount": "0.00"},
        "asOf": "2020-01-01T00:00:00.000000Z",
        "version": 0,
    }
    assert ada.refused(AS_OF, {"id": account, "t": later}) == "BAD_USER_INPUT"
    assert ada.refused(AS_OF, {"id": account, "t": "9999-12-31T23:59:59Z"}) == "BAD_USER_INPUT"


def test_a_deposit_is_settled_once_per_reference_whoever_does_it(served: Served, ada: Person, olga: Person) -> None:
    from isthmus.auth.scopes import Role

    account, reference = ada.open(), uuid4().hex
    first = deposit(olga, account, "5.00", reference=reference)
    again = deposit(Person(served, Role.OPERATOR), account, "5.0", reference=reference)
    other = deposit(olga, account, "6.00", reference=reference)

    assert (first["replayed"], again["replayed"]) == (False, True)
    assert again["journal"] == first["journal"]
    assert [error["code"] for error in other["errors"]] == ["IDEMPOTENCY_KEY_REUSED"]
    assert ada.account(account, "balance { posted { amount } }")["balance"]["posted"]["amount"] == "5.00"


def test_a_deposit_to_nowhere_is_refused(olga: Person) -> None:
    for account in ("zzz", "YWMAAAAAAAAAAAAAAAAAAAAA"):
        answer = deposit(olga, account, "5.00")
        assert [error["code"] for error in answer["errors"]] == ["ACCOUNT_NOT_FOUND"]


CHANGES = {
    "renameAccount": ('{ accountId: "%s", name: "New", idempotencyKey: "%s" }', {"name": "New", "status": "OPEN"}),
    "closeAccount": ('{ accountId: "%s", idempotencyKey: "%s" }', {"name": "Main", "status": "CLOSED"}),
    "freezeAccount": ('{ accountId: "%s", idempotencyKey: "%s" }', {"name": "Main", "status": "FROZEN"}),
    "unfreezeAccount": ('{ accountId: "%s", idempotencyKey: "%s" }', {"name": "Main", "status": "OPEN"}),
}


@pytest.mark.parametrize("mutation", sorted(CHANGES))
def test_an_account_is_changed_and_the_answer_shows_it(ada: Person, olga: Person, mutation: str) -> None:
    account, key = ada.open(), uuid4().hex
    who = olga if "freeze" in mutation else ada
    wish, expected = CHANGES[mutation]
    shown_by = "account { id name status } position replayed errors { code }"
    query = f"mutation {{ {mutation}(input: {wish % (account, key)}) {{ {shown_by} }} }}"

    first, again = who.ask(query)[mutation], who.ask(query)[mutation]
    shown = ada.account(account, "name status")

    assert first["account"] == {"id": account} | expected
    assert again == first | {"replayed": True}
    assert shown == expected


def test_a_frozen_account_only_receives(ada: Person, olga: Person, funded: str) -> None:
    target = ada.open()
    olga.change("freezeAccount", funded)

    assert [e["code"] for e in ada.transfer(funded, target, "1")["errors"]] == ["ACCOUNT_FROZEN"]
    assert deposit(olga, funded, "1.00")["errors"] == []


def test_accounts_are_paged_counted_and_filtered(ada: Person) -> None:
    opened = [ada.open(name=f"n{number}") for number in range(5)]
    query = """query($after: String, $kinds: [AccountKind!]) { viewer { accounts(first: 2, after: $after, filter: {kinds: $kinds}) {
        totalCount edges { node { id kind } } pageInfo { hasNextPage hasPreviousPage endCursor } } } }"""

    pages, after = [], None
    for _ in range(3):
        page = ada.ask(query, {"after": after})["viewer"]["accounts"]
        pages.append(page)
        after = page["pageInfo"]["endCursor"]
    banks = ada.ask(query, {"kinds": ["BANK"]})["viewer"]["accounts"]
    ledger = ada.ask(query, {"kinds": ["LEDGER", "BANK"]})["viewer"]["accounts"]

    assert [edge["node"]["id"] for page in pages for edge in page["edges"]] == opened
    assert [page["pageInfo"]["hasNextPage"] for page in pages] == [True, True, False]
    assert [page["pageInfo"]["hasPreviousPage"] for page in pages] == [False, True, True]
    assert (banks["totalCount"], banks["edges"], banks["pageInfo"]["endCursor"]) == (0, [], None)
    assert ledger["totalCount"] == 5


def test_the_registry_says_how_amounts_print(ada: Person) -> None:
    assets = {asset["code"]: asset for asset in ada.ask("{ assets { code kind name scale } }")["assets"]}

    assert assets["EUR"] == {"code": "EUR", "kind": "FIAT", "name": "Euro", "scale": 2}
    assert assets["ETH"]["scale"] == 18


def test_settling_needs_a_reference(ada: Person, olga: Person) -> None:
    for reference in ("", "  ", "x" * 141):
        wish = {"accountId": ada.open(), "amount": {"amount": "1", "asset": "EUR"}, "reference": reference}
        answer = olga.ask(SETTLE, {"input": wish})["settleDeposit"]
        assert [(e["code"], e["path"]) for e in answer["errors"]] == [("INVALID_INPUT", ["input", "reference"])]
