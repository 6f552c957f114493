"""Clients that pay from their bank, and bring money here from it: they go to its page and approve, refuse, or do not go; come back with
what it gave them or leave that to others to find out; and take it back now and then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from isthmus.torture.door import Away
from isthmus.torture.effects import account_uuid
from isthmus.torture.intents import Intent, Kind
from isthmus.torture.payers import answer, take_back

if TYPE_CHECKING:
    from isthmus.torture.bank import Bank
    from isthmus.torture.clients import Client

#: Of a thousand and more that each has there, so that it lasts for a long run.
_MONEY_MAX = 8
#: A page that has not come by then is gone to later, if at all.
_PAGE_WITHIN_S, _LATER_WITHIN_S = 2.0, 10.0
_LOOK_EVERY_S = 0.15
_LATER_MAX = 4

_SHOWN = (
    "query($id: ID!) { node(id: $id) { ... on Payment { state challenge { id ... on RedirectChallenge { url } } } } }"
)
_MADE = ("initiatePayment", "topUp")


async def pay_from_bank(client: Client, bank: Bank) -> None:
    linked, log, chance = client.linked, client.market.intents(), client.chance
    assert linked is not None, "everybody has linked a bank"
    wish: dict[str, Any] = {
        "fromAccountId": linked.account,
        "amount": {"amount": client.amount(_MONEY_MAX), "asset": linked.rail.asset},
    }
    if client.topped_up is not None and chance.random() < 0.5:
        intent = log.intend(client.name, "topUp", wish | {"toAccountId": client.topped_up})
    else:
        payee = {"name": "Maria Ostrowska", "account": dict(bank.payees[linked.rail.asset])}
        wish |= {"payee": payee, "reference": f"T{chance.randrange(10**9)}"}
        intent = log.intend(client.name, "initiatePayment", wish)
    outcome = await client.submit(intent, client.door)
    if outcome.kind is not Kind.OK or outcome.answer is None:
        return  # unless it becomes known later
    payment, fate = str(outcome.answer["payment"]["id"]), chance.random()
    if fate < 0.1:
        await _take_back(client, payment)
    elif fate < 0.2:
        client.market.at_bank.left.add(account_uuid(payment))  # never goes there, and it expires
    elif await _go(client, bank, payment, _PAGE_WITHIN_S, "decline" if fate < 0.3 else "approve") and fate > 0.9:
        await asyncio.sleep(chance.uniform(0, 0.5))
        await _take_back(client, payment)  # too late, unless we are the ones who submit it


async def come_back(client: Client, bank: Bank) -> None:
    """To payments whose page did not come, or of whose making nothing was known: now that everything answers, to approve most, and take
    others back."""
    made = [
        str(intent.definite.answer["payment"]["id"])
        for intent in client.market.intents().intents
        if _from_bank(client, intent) and intent.definite is not None and intent.definite.answer is not None
    ]
    open_still = [payment for payment in made if not client.market.at_bank.settled_for(account_uuid(payment))]
    for payment in client.chance.sample(open_still, min(_LATER_MAX, len(open_still))):
        if client.chance.random() < 0.2:
            await _take_back(client, payment)
        else:
            await _go(client, bank, payment, _LATER_WITHIN_S, "approve")


def _from_bank(client: Client, intent: Intent) -> bool:
    mine = client.linked is not None and intent.input.get("fromAccountId") == client.linked.account
    good = intent.definite is not None and intent.definite.kind is Kind.OK
    return mine and good and intent.client == client.name and intent.mutation in _MADE


async def _go(client: Client, bank: Bank, payment: str, within_s: float, how: str) -> bool:
    """Whether the bank's page was there, and was answered."""
    linked, at_bank, key = client.linked, client.market.at_bank, account_uuid(payment)
    assert linked is not None, "everybody has linked a bank"
    challenge = await _page(client, payment, within_s)
    if challenge is None:
        return False
    (at_bank.approved if how == "approve" else at_bank.left).add(key)
    back = await bank.visit(str(challenge["url"]), linked.username, how)
    if client.chance.random() < 0.4:
        state = back.get("application-user-id") or back.get("state") or back.get("payment_id", "")
        code = back.get("one-time-token") or state
        await answer(client, key, str(challenge["id"]), {"redirectResult": {"code": code, "state": state}})
    return True


async def _page(client: Client, payment: str, within_s: float) -> Mapping[str, Any] | None:
    """The challenge, once it says where the bank asks its customer; None where it does not in time, or is over."""
    until = time.monotonic() + within_s
    while True:
        try:
            told = await client.door.ask(_SHOWN, {"id": payment}, client.position)
        except Away:
            told = None
        node = told.data["node"] if told is not None and told.data is not None else None
        if node is not None and node["challenge"] is not None and node["challenge"].get("url"):
            found: Mapping[str, Any] = node["challenge"]
            return found
        if (node is not None and node["state"] != "AWAITING_SCA") or time.monotonic() > until:
            return None
        await asyncio.sleep(_LOOK_EVERY_S)


async def _take_back(client: Client, payment: str) -> None:
    """Whoever wants it back does not approve it any more."""
    client.market.at_bank.taken_back.add(account_uuid(payment))
    await take_back(client, payment)


class AtBank:
    """What people did at their banks, payment by payment."""

    def __init__(self) -> None:
        self.approved: set[UUID] = set()
        self.taken_back: set[UUID] = set()
        #: Refused there, or never gone to.
        self.left: set[UUID] = set()

    def settled_for(self, payment: UUID) -> bool:
        """Its person has decided."""
        return payment in self.approved or payment in self.taken_back or payment in self.left
