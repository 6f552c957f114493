"""Row D1 before the answer: nobody is shown another amount, or another payee, than the challenge is bound to."""

from __future__ import annotations

from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from isthmus.graphql.ids import payment_key, sca_challenge_key
from tests.api.banking import on_loop
from tests.api.conftest import Person, Served
from tests.api.test_batches import initiate as initiate_batch
from tests.api.test_batches import line
from tests.api.test_devices import run
from tests.api.test_payments import funded, initiate, shown

CHALLENGE = """query($id: ID!) { node(id: $id) { ... on Payment { challenge { state attemptsLeft
    dynamicLink { amount { amount } payees { name amount { amount } } } } } } }"""


def changed() -> float:
    return REGISTRY.get_sample_value("isthmus_sca_links_changed_total") or 0


@pytest.fixture(scope="module")
def payer(served: Served) -> tuple[Person, str]:
    from isthmus.auth.scopes import Role

    ada = Person(served)
    return ada, funded(ada, Person(served, Role.OPERATOR), "2000.00")


@pytest.mark.parametrize(
    "change",
    [
        "update payments set amount = 5 where id = $1",
        "update payments set asset = 'JPY' where id = $1",
        "update payments set payee_name = (select payee_account from payments where id = $1) where id = $1",
        "update payments set payee_account = payee_name where id = $1",
        "update payments set reference = null where id = $1",
        "update payments set from_account_id = gen_random_uuid() where id = $1",
    ],
)
def test_d1_what_is_changed_before_the_answer_is_not_shown_and_not_to_be_answered(
    served: Served, payer: tuple[Person, str], change: str
) -> None:
    ada, account = payer
    made = initiate(ada, account, "100.00")["payment"]
    key, before = payment_key(made["id"]), changed()

    run(served, change, key)
    challenge = shown(ada, made["id"])["challenge"]

    assert (challenge["dynamicLink"], challenge["state"]) == (None, "INVALIDATED")
    assert changed() > before


def test_d1_whoever_changes_the_digest_too_is_found_by_the_log(served: Served, payer: tuple[Person, str]) -> None:
    ada, account = payer
    small, large = (initiate(ada, account, value)["payment"] for value in ("5.00", "500.00"))
    digest = "(select digest from sca_challenges where id = $2)"
    keys = sca_challenge_key(large["challenge"]["id"]), sca_challenge_key(small["challenge"]["id"])

    run(served, f"update sca_challenges set digest = {digest} where id = $1", *keys)
    link = shown(ada, large["id"])["challenge"]["dynamicLink"]
    assert (link["digest"], link["amount"]["amount"]) == (large["challenge"]["dynamicLink"]["digest"], "500.00")
    run(served, "update payments set amount = 5 where id = $1", payment_key(large["id"]))

    assert shown(ada, large["id"])["challenge"]["dynamicLink"] is None


def test_d1_a_batch_is_shown_whole_as_it_is_bound_or_not_at_all(served: Served, payer: tuple[Person, str]) -> None:
    ada, account = payer
    batch = initiate_batch(ada, account, line("1.00"), line("200.00"))["batch"]
    first, second = (payment_key(one["id"]) for one in batch["payments"])
    asked = {"id": batch["payments"][0]["id"]}
    amounts = [
        one["amount"]["amount"] for one in ada.ask(CHALLENGE, asked)["node"]["challenge"]["dynamicLink"]["payees"]
    ]
    assert amounts == ["1.00", "200.00"]

    run(served, "update payments set amount = 2 where id = $1", second)

    found = ada.ask(CHALLENGE, asked)["node"]["challenge"]
    assert found == {"state": "INVALIDATED", "attemptsLeft": 0, "dynamicLink": None}
    run(served, "update payments set amount = 200, batch_id = null where id = $1", first)
    assert ada.ask(CHALLENGE, asked)["node"]["challenge"]["dynamicLink"] is None


def test_what_nobody_can_tell_any_more_is_shown_without_its_payee_once_it_is_over_and_not_before(
    served: Served, olga: Person
) -> None:
    grace = Person(served)
    made = initiate(grace, funded(grace, olga), "7.00")["payment"]
    texts = served.app.state.running.services.read.texts

    async def erase(person: UUID) -> None:
        async with texts._pool.acquire() as connection:
            await texts._texts.destroy(connection, person)

    on_loop(served, erase(grace.id))
    waiting = shown(grace, made["id"])["challenge"]
    run(served, "update sca_challenges set state = 'FAILED' where id = $1", sca_challenge_key(waiting["id"]))
    over = shown(grace, made["id"])["challenge"]

    assert (waiting["state"], waiting["dynamicLink"]) == ("PENDING", None)
    assert (over["dynamicLink"]["amount"]["amount"], over["dynamicLink"]["payeeName"]) == ("7.00", None)
