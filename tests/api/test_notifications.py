"""What somebody was told of: listed, marked as read, live and after a connection that was lost, to nobody else; and what they want."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from isthmus.write_models.notices import Notices
from tests.api.banking import on_loop
from tests.api.conftest import Person, Served
from tests.api.socket_client import connected
from tests.api.test_payment_compliance import LISTED as ON_THE_LIST
from tests.api.test_payment_compliance import payee
from tests.api.test_payments import answer, code_of, funded, initiate, wrong

RECEIVED = """subscription($after: Position) { notificationReceived(after: $after) {
    id kind title body about position readAt } }"""
LISTED = """{ viewer { notifications(first: 5) { totalCount unreadCount edges { node { id kind title body about position } } } } }"""
READ = "mutation($input: MarkNotificationsReadInput!) { markNotificationsRead(input: $input) { unreadCount errors { code } } }"
PREFER = """mutation($input: SetNotificationPreferenceInput!) { setNotificationPreference(input: $input) {
    preferences { kind channel wanted fixed } errors { code } } }"""


def note(served: Served, person: Person) -> None:
    """As `work` does whenever something happens."""
    pool = served.app.state.running.services.sca._pool
    notices = Notices(pool, (), timedelta(hours=1), served.app.state.running.services.clock)

    async def take() -> None:
        rows = await pool.fetch("select position from event_store where data->>'owner' = $1", str(person.id))
        await notices.take([row["position"] for row in rows])

    on_loop(served, take())


def refused(served: Served, person: Person, account: str, amount: str) -> str:
    """A payment that is not made, and of which they are told; its id."""
    payment = initiate(person, account, amount, **payee(ON_THE_LIST))["payment"]
    note(served, person)
    return str(payment["id"])


async def test_it_comes_live_and_what_was_missed_comes_after_and_nobody_else_gets_it(
    served: Served, ada: Person, grace: Person, olga: Person
) -> None:
    def refuse(person: Person, amount: str) -> str:
        return refused(served, person, funded(person, olga), amount)

    before = await asyncio.to_thread(refuse, ada, "11.00")
    async with connected(served) as hers, connected(served) as graces:
        for client, person in ((hers, ada), (graces, grace)):
            await client.sign_in(person.token)
            await client.subscribe(RECEIVED, {"after": "0"})
        assert (await hers.next())["data"]["notificationReceived"]["about"] == before

        paid = await asyncio.to_thread(refuse, ada, "12.00")
        live = (await hers.next())["data"]["notificationReceived"]
        other = await asyncio.to_thread(refuse, grace, "3.00")
        seen = (await graces.next())["data"]["notificationReceived"]

    assert (live["kind"], live["about"], live["readAt"]) == ("PAYMENT_REJECTED", paid, None)
    said = f"12.00 EUR to {ON_THE_LIST} was not made. No money was moved."
    assert (live["title"], live["body"]) == ("Payment not made", said)
    assert seen["about"] == other, "the first that she gets is her own"

    missed = await asyncio.to_thread(refuse, ada, "5.00")
    async with connected(served) as again:
        await again.sign_in(ada.token)
        await again.subscribe(RECEIVED, {"after": live["position"]})
        assert (await again.next())["data"]["notificationReceived"]["about"] == missed

    node = "query($id: ID!) { node(id: $id) { id } }"
    assert await asyncio.to_thread(grace.ask, node, {"id": live["id"]}) == {"node": None}
    assert await asyncio.to_thread(ada.ask, node, {"id": live["id"]}) == {"node": {"id": live["id"]}}


def test_they_are_listed_newest_first_until_they_are_read_and_none_for_the_same_event_twice(
    served: Served, ada: Person, grace: Person, olga: Person
) -> None:
    account = funded(ada, olga)
    payment = refused(served, ada, account, "1.00")
    challenge = initiate(ada, account, "1.00")["payment"]["challenge"]["id"]
    for _ in range(5):
        answer(ada, challenge, wrong(code_of(served, challenge)))
    note(served, ada)
    note(served, ada)

    found = ada.ask(LISTED)["viewer"]["notifications"]
    told = {edge["node"]["kind"]: edge["node"] for edge in found["edges"]}
    assert (found["totalCount"], found["unreadCount"], told.keys()) == (2, 2, {"SCA_BLOCKED", "PAYMENT_REJECTED"})
    assert (told["SCA_BLOCKED"]["about"], told["PAYMENT_REJECTED"]["about"]) == (None, payment)
    assert [edge["node"]["position"] for edge in found["edges"]] == ["2", "1"]

    assert grace.ask(READ, {"input": {"through": "2"}})["markNotificationsRead"] == {"unreadCount": 0, "errors": []}
    assert ada.ask(READ, {"input": {"through": "1"}})["markNotificationsRead"] == {"unreadCount": 1, "errors": []}
    assert grace.ask(LISTED)["viewer"]["notifications"]["totalCount"] == 0


def test_what_is_wanted_is_a_persons_own_business_but_for_what_is_about_safety(ada: Person, grace: Person) -> None:
    def prefer(person: Person, kind: str, *, wanted: bool) -> tuple[list[str], dict[str, Any]]:
        wish = {"kind": kind, "channel": "EMAIL", "wanted": wanted}
        made = person.ask(PREFER, {"input": wish})["setNotificationPreference"]
        now = {f"{one['kind']} {one['channel']}": one["wanted"] for one in made["preferences"]}
        return [error["code"] for error in made["errors"]], now

    errors, now = prefer(ada, "PAYMENT_SETTLED", wanted=False)
    assert (errors, now["PAYMENT_SETTLED EMAIL"], now["PAYMENT_SETTLED PUSH"]) == ([], False, True)
    [edge] = ada.ask(LISTED)["viewer"]["notifications"]["edges"]
    assert (edge["node"]["kind"], edge["node"]["about"]) == ("NOTIFICATIONS_SWITCHED_OFF", None)
    errors, now = prefer(ada, "SCA_BLOCKED", wanted=False)
    assert (errors, now["SCA_BLOCKED EMAIL"]) == (["INVALID_INPUT"], True)
    hers = grace.ask("{ viewer { notificationPreferences { wanted fixed } } }")["viewer"]["notificationPreferences"]
    assert all(one["wanted"] for one in hers)
    assert sum(one["fixed"] for one in hers) == 18
    _, now = prefer(ada, "PAYMENT_SETTLED", wanted=True)
    assert now["PAYMENT_SETTLED EMAIL"]
