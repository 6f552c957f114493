"""Clients that pay people at a bank: made, answered for with the code that their telephone shows, taken back now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from isthmus.torture.door import Away
from isthmus.torture.effects import account_uuid
from isthmus.torture.intents import Kind

if TYPE_CHECKING:
    from isthmus.torture.bank import Bank
    from isthmus.torture.clients import Client

EUROS_MAX = 15
#: A payment whose code has not come by then is left to expire.
_CODE_WITHIN_S = 4.0
_ANSWERS_MAX = 3
#: What a client's own steps that are no commands are known by in the log; the payment's id follows.
ASIDE = "aside-"

_ANSWER = "mutation($input: AnswerScaChallengeInput!) { answerScaChallenge(input: $input) { payment { id } errors { code } } }"
_ME = "{ viewer { id } }"


async def person_of(client: Client) -> str:
    """How the client's telephone is addressed."""
    answer = await client.door.ask(_ME, {})
    assert answer.data is not None, "nothing is broken yet"
    return str(account_uuid(answer.data["viewer"]["id"]))


async def pay_out(client: Client, bank: Bank) -> None:
    log, chance = client.market.intents(), client.chance
    amount = client.amount(EUROS_MAX)
    wish = {
        "fromAccountId": chance.choice(client.accounts),
        "amount": {"amount": amount, "asset": "EUR"},
        "payee": {"name": "Maria Lindner", "account": dict(bank.payees["EUR"])},
        "reference": f"T{chance.randrange(10**9)}",
    }
    outcome = await client.submit(log.intend(client.name, "initiatePayment", wish), client.door)
    if outcome.kind is not Kind.OK or outcome.answer is None:
        return
    payment = outcome.answer["payment"]
    fate = chance.random()
    if fate < 0.15:
        await take_back(client, payment["id"])
        return
    code = await bank.code(client.person, amount, _CODE_WITHIN_S)
    if code is None:
        return
    if fate < 0.25:
        await _answer(client, payment, f"{(int(code) + 1) % 10**6:06d}")
    await _answer(client, payment, code)
    if fate > 0.9:
        await asyncio.sleep(chance.uniform(0, 0.3))
        await take_back(client, payment["id"])


async def take_back(client: Client, payment: str) -> None:
    """Too late, as often as not."""
    intent = client.market.intents().intend(client.name, "cancelPayment", {"paymentId": payment})
    await client.submit(intent, client.door)


async def _answer(client: Client, payment: dict[str, object], code: str) -> None:
    challenge = payment["challenge"]
    assert isinstance(challenge, dict), "nothing is refused by compliance here"
    payment_id = account_uuid(str(payment["id"]))
    if await answer(client, payment_id, challenge["id"], {"oneTimeCode": code}):
        client.market.answered.add(payment_id)


async def answer(client: Client, payment_id: UUID, challenge: str, given: Mapping[str, object]) -> bool:
    """Whether it was accepted. No command with a key: an answer that may have come is given again, and the second is refused then."""
    variables = {"input": {"challengeId": challenge, "answer": given}}
    for _ in range(_ANSWERS_MAX):
        try:
            told = await client.door.ask(_ANSWER, variables, correlation_id=f"{ASIDE}{payment_id}")
        except Away:
            await asyncio.sleep(client.chance.uniform(0.05, 0.3))
            continue
        if told.data is None:
            continue
        return not told.data["answerScaChallenge"]["errors"]
    return False


def whose(correlation_id: str) -> UUID | None:
    """By whose own course something was recorded: a payment's, by the process manager or an answer of its person's, or a consent's."""
    for prefix in (ASIDE, "payment-", "consent-"):
        if correlation_id.startswith(prefix):
            try:
                return UUID(correlation_id.removeprefix(prefix))
            except ValueError:
                return None
    return None
