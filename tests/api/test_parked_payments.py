"""Payments that are parked, through the API: what operators see of them, and how two of them end it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from isthmus.auth.scopes import Role
from isthmus.domain.parked_books import differences_code
from isthmus.domain.payment_events import clearing_code
from isthmus.domain.payment_news import PaymentNews
from isthmus.failpoints import armed
from isthmus.graphql.ids import payment_key
from isthmus.write_models.verifier import verify
from tests.api.banking import on_loop
from tests.api.conftest import Person, Served
from tests.api.paging import walked
from tests.api.parked import LOOK, PARKED, Bank, Desk, P, confirm, listed, look, propose, proposed, unsaid
from tests.api.test_payment_compliance import codes, events, trail
from tests.api.test_payments import answer, balance, code_of, funded, initiate, shown


@pytest.fixture
def desk(served: Served) -> Iterator[Desk]:
    parked = served.app.state.running.services.parked
    before, bank = parked._payouts, Bank()
    parked._payouts = {"truelayer": bank}
    yield Desk(served, bank)
    parked._payouts = before


@pytest.fixture
def otto(served: Served) -> Person:
    return Person(served, Role.OPERATOR)


def test_another_amount_is_seen_with_what_was_told_and_booked_as_two_operators_find_it(
    desk: Desk, ada: Person, olga: Person, otto: Person
) -> None:
    account = funded(ada, olga)
    payment, before = desk.parked(ada, account), desk.posted(clearing_code("truelayer", "EUR"))

    seen = listed(olga, payment)
    assert (seen["why"], seen["rail"], seen["providerReference"]) == ("OTHER_AMOUNT", "OWN_ACCOUNT", "p1")
    assert [one["told"] for one in seen["evidence"]] == ["EXECUTED executed 29.5 EUR"]
    assert (seen["reserved"]["amount"], seen["booked"]["amount"], seen["proposal"]) == ("30.00", "0.00", None)

    assert codes(propose(olga, payment)) == ["PAYMENT_CONTRADICTED"], "it moved, the bank said"
    key = uuid4().hex
    given = [propose(olga, payment, "29.50", idempotencyKey=key) for _ in range(2)]
    assert given[1] == given[0] | {"replayed": True}
    waits = listed(otto, payment)["proposal"]
    assert (waits["finding"], waits["amount"]["amount"]) == ("EXECUTED", "29.50")
    assert (waits["reason"], waits["proposedBy"]) == ("the bank's desk said so", f"person:{olga.id}")
    assert codes(confirm(olga, payment, waits["id"])) == ["SECOND_OPERATOR_NEEDED"]
    assert balance(ada, account) == ("100.00", "70.00"), "nothing came of it yet"

    done = confirm(otto, payment, waits["id"], key)
    assert done["errors"] == []
    assert (done["payment"]["state"], done["payment"]["moved"]["amount"]) == ("EXECUTED", "29.50")
    assert confirm(otto, payment, waits["id"], key) == done | {"replayed": True}
    assert balance(ada, account) == ("70.50", "70.50"), "what moved, and no more is held"
    assert desk.posted(clearing_code("truelayer", "EUR")) - before == Decimal("-29.50")
    assert listed(olga, payment) is None
    made = ["PaymentInitiated", "PaymentPayeeChecked", "PaymentAuthorised", "PaymentSubmitted", "PaymentEvidenceKept"]
    assert trail(desk.served, ada, payment) == [*made, "PaymentExecuted"], "no word of who looked at it"
    assert [one["type"] for one in events(desk.served, payment)][-4:] == [
        "PaymentParked",
        "PaymentDecisionProposed",
        "PaymentExecuted",
        "PaymentDecided",
    ]


def test_more_than_they_answered_for_is_charged_to_nobody_and_the_statement_is_one_movement(
    desk: Desk, ada: Person, olga: Person, otto: Person
) -> None:
    account = funded(ada, olga)
    payment, before = desk.submitted(ada, account, name="p-more"), desk.posted(differences_code("truelayer", "EUR"))
    desk.bank.says["p-more"] = desk.tell(payment, P.EXECUTED, "executed", "31.00", "p-more")
    refused = propose(olga, payment, "30.00")

    done = confirm(otto, payment, proposed(olga, payment, "31.00"))

    assert refused["errors"] == [{"code": "PAYMENT_CONTRADICTED", "path": ["input", "amount"]}]
    assert done["payment"]["state"] == "EXECUTED"
    assert balance(ada, account) == ("70.00", "70.00")
    assert desk.posted(differences_code("truelayer", "EUR")) - before == 1

    async def entries_and_findings() -> Any:
        from isthmus.write_models.reconciliation_rows import our_entries

        async with desk.served.app.state.running.services.payments._pool.acquire() as connection:
            now = await connection.fetchval("select now()")
            hour = await connection.fetchval("select interval '1 hour'")
            found = await our_entries(connection, "truelayer", "EUR", now - hour, now + hour)
            report = await verify(connection)
        return [one.amount for one in found if "p-more" in one.names], report.sound

    assert on_loop(desk.served, entries_and_findings()) == ([-31], True)


def test_what_was_never_done_is_free_again_and_news_that_says_otherwise_is_seen(
    desk: Desk, ada: Person, olga: Person, otto: Person
) -> None:
    account = funded(ada, olga)
    payment = desk.submitted(ada, account)
    desk.tell(payment, P.UNKNOWN, "limbo")
    proposal = proposed(olga, payment)
    desk.bank.says["p1"] = PaymentNews(P.EXECUTED, "executed", "p1", amount=Decimal(30), asset="EUR")
    assert codes(confirm(otto, payment, proposal)) == ["PAYMENT_CONTRADICTED"], "it is asked then, too"
    del desk.bank.says["p1"]

    done = confirm(otto, payment, proposal)

    assert (done["payment"]["state"], done["payment"]["failure"]) == (
        "FAILED",
        {"code": "NOT_EXECUTED", "retryable": True},
    )
    assert balance(ada, account) == ("100.00", "100.00")
    assert codes(confirm(otto, payment, proposal)) == ["PAYMENT_NOT_PARKED"]
    desk.tell(payment, P.EXECUTED, "executed", "30.00")
    assert listed(olga, payment)["why"] == "CONTRADICTION"
    assert shown(ada, payment)["state"] == "FAILED", "nothing brings it back"


def test_of_a_decision_and_news_at_once_exactly_one_wins(desk: Desk, ada: Person, olga: Person, otto: Person) -> None:
    """Twice, so that either may be first; whichever is, the book says what it says."""
    account = funded(ada, olga)
    for n in range(2):
        payment, before = desk.submitted(ada, account, "10.00"), Decimal(balance(ada, account)[0])
        desk.tell(payment, P.UNKNOWN, "limbo")
        proposal = proposed(olga, payment)
        with ThreadPoolExecutor(2) as at_once:
            acts = [
                lambda payment=payment: desk.tell(payment, P.EXECUTED, "executed", "10.00"),
                lambda payment=payment, proposal=proposal: confirm(otto, payment, proposal),
            ]
            done = [one.result() for one in [at_once.submit(act) for act in (acts if n else acts[::-1])]]
        decided = done[1] if n else done[0]

        state, posted = shown(ada, payment)["state"], Decimal(balance(ada, account)[0])
        won = not decided["errors"]
        assert (state, before - posted) == (("FAILED", 0) if won else ("EXECUTED", 10))
        assert (listed(olga, payment) is not None) == won, "what contradicts it is seen"


def test_whoever_looks_again_has_the_provider_asked_now(desk: Desk, ada: Person, olga: Person, otto: Person) -> None:
    account = funded(ada, olga)
    payment = desk.parked(ada, account)
    assert olga.refused(LOOK, {"input": {"paymentId": payment, "idempotencyKey": uuid4().hex}}) == "UNAVAILABLE"
    desk.bank.says["p1"] = PaymentNews(P.EXECUTED, "executed", "p1", amount=Decimal("29.50"), asset="EUR")
    proposal = proposed(otto, payment, "29.50")
    still = look(olga, payment)
    assert (still["errors"], still["told"], still["parked"]) == ([], "EXECUTED executed", {"why": "OTHER_AMOUNT"})
    assert codes(confirm(olga, payment, proposal)) == ["PAYMENT_PROPOSAL_OVER"]

    desk.bank.says["p1"] = PaymentNews(P.EXECUTED, "executed", "p1", amount=Decimal(30), asset="EUR")
    with armed("parked.recorded:1:raise"):
        assert olga.refused(LOOK, {"input": {"paymentId": payment, "idempotencyKey": uuid4().hex}}) == "INTERNAL"
    assert (shown(ada, payment)["state"], listed(olga, payment)["why"]) == ("EXECUTED", "OTHER_AMOUNT")
    done = look(olga, payment)

    assert (done["errors"], done["payment"]["state"], done["parked"]) == ([], "EXECUTED", None)
    assert (listed(olga, payment), balance(ada, account)) == (None, ("70.00", "70.00"))


def test_one_whose_name_at_the_provider_nobody_knew_is_found_by_it_if_the_provider_says_that_it_is_it(
    desk: Desk, ada: Person, olga: Person
) -> None:
    account = funded(ada, olga)
    made = initiate(ada, account, "30.00")["payment"]
    assert answer(ada, made["challenge"]["id"], code_of(desk.served, made["challenge"]["id"]))["errors"] == []
    payment = made["id"]
    desk.tell(payment, P.UNKNOWN, "UNREACHABLE", name="")
    asked = look(olga, payment)
    assert (asked["errors"], asked["told"]) == ([], None)
    for name, ours in (("theirs", uuid4()), ("mine", payment_key(payment))):
        desk.bank.says[name] = PaymentNews(
            P.EXECUTED, "executed", name, amount=Decimal(30), asset="EUR", our_payment=ours
        )

    wrong = look(olga, payment, providerReference="theirs")
    unnamed = propose(olga, payment, "30.00")
    found = look(olga, payment, providerReference="mine")

    for refused in (wrong, unnamed):
        assert refused["errors"] == [{"code": "INVALID_INPUT", "path": ["input", "providerReference"]}]
    assert (found["errors"], found["payment"]["state"], found["parked"]) == ([], "EXECUTED", None)
    assert balance(ada, account) == ("70.00", "70.00")


def test_only_operators_and_of_what_is_parked_and_not_their_own(
    desk: Desk, ada: Person, olga: Person, otto: Person
) -> None:
    account = funded(ada, olga)
    clear, payment = desk.submitted(ada, account, "1.00"), desk.parked(ada, account)
    for name in (clear, account, "nothing"):
        for done in (look(olga, name), propose(olga, name), confirm(olga, name, str(uuid4()))):
            assert codes(done) == ["PAYMENT_NOT_PARKED"]
    for wish in ({"reason": " "}, {"reason": "x" * 501}, {"providerReference": "a b"}, {"amount": None}):
        assert codes(propose(olga, payment, "1.00", **wish) if "amount" not in wish else unsaid(olga, payment)) == [
            "INVALID_INPUT"
        ]
    assert ada.refused(PARKED) == "FORBIDDEN"
    mine = funded(otto_as_payer := Person(desk.served, Role.CUSTOMER, Role.OPERATOR), olga)
    own = desk.parked(otto_as_payer, mine)
    assert codes(propose(otto_as_payer, own, "29.50")) == ["PAYMENT_NOT_PARKED"], "nobody decides on their own"
    proposal = proposed(olga, own, "29.50")
    assert codes(confirm(otto_as_payer, own, proposal)) == ["PAYMENT_NOT_PARKED"]


def test_what_is_parked_is_paged_longest_first(desk: Desk, ada: Person, olga: Person) -> None:
    account = funded(ada, olga)
    made = [desk.parked(ada, account, f"p{n}") for n in range(2)]
    seen = walked(olga, PARKED, "paymentsParked", first=2)

    assert [one for one in seen if one in made] == made
