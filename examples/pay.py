"""Pay someone from an account: the code that was sent is asked for, and every state is shown as it comes, whatever brings it.

.venv/bin/python examples/pay.py http://127.0.0.1:8000 ada@example.com "Maria Ostrowska" DE89370400440532013000 12.34

The code comes to the payer's telephone, which is the sandbox's inbox here: `curl $SANDBOX/sandbox/inbox`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from threading import Thread
from typing import Any
from uuid import uuid4

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from isthmus.auth.sign_in import sign_in

ACCOUNTS = "{ viewer { accounts(first: 50) { edges { node { __typename id name asset } } } } }"
PAY = """mutation($input: InitiatePaymentInput!) { initiatePayment(input: $input) { errors { message }
  payment { id state failure { message } payeeCheck { warning matchedName }
    challenge { id dynamicLink { amount { amount asset } payeeName payeeAccount } } } } }"""
ANSWER = """mutation($input: AnswerScaChallengeInput!) { answerScaChallenge(input: $input) { payment { state }
  errors { message ... on ScaRejected { attemptsLeft } } } }"""
PROGRESSED = """subscription($paymentId: ID!, $after: Position) { paymentProgressed(paymentId: $paymentId, after: $after)
  { state position failure { message } } }"""
OVER = ("EXECUTED", "SETTLED", "REJECTED", "CANCELLED", "EXPIRED", "FAILED")
FORBIDDEN = 4403  # the session has ended: sign in again


class Api:
    """Who signs in again where the session has ended, as it does when nobody does anything for five minutes."""

    def __init__(self, base: str, email: str) -> None:
        self.base, self.email, self.token = base, email, ""
        self.http = httpx.AsyncClient(timeout=20)

    async def sign_in(self) -> None:
        self.token = (await sign_in(self.base, self.email, "isthmus-demo")).access_token

    async def ask(self, query: str, **variables: Any) -> Any:
        response = await self._send(query, variables)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            await self.sign_in()
            response = await self._send(query, variables)
        answer = response.json()
        if errors := answer.get("errors"):
            sys.exit(f"refused: {errors[0]['message']}")
        return answer["data"]

    async def _send(self, query: str, variables: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return await self.http.post(
            f"{self.base}/graphql", json={"query": query, "variables": variables}, headers=headers
        )


class Terminal:
    """Lines as they are typed. What is said meanwhile begins a line of its own."""

    def __init__(self) -> None:
        self._typed: asyncio.Queue[str | None] = asyncio.Queue()
        self._asking = False
        Thread(target=self._read, args=(asyncio.get_running_loop(),), daemon=True).start()

    async def line(self, question: str) -> str | None:
        """None where nobody types any more."""
        print(question, end="", flush=True)
        self._asking = True
        typed = await self._typed.get()
        self._asking = False
        return typed

    def say(self, line: str) -> None:
        print(f"\n{line}" if self._asking else line, flush=True)
        self._asking = False

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """Unbuffered: whoever has nothing more to do need not wait for a line that never comes."""
        with suppress(RuntimeError), open(0, "rb", buffering=0, closefd=False) as raw:
            for typed in raw:
                loop.call_soon_threadsafe(self._typed.put_nowait, typed.decode().strip())
            loop.call_soon_threadsafe(self._typed.put_nowait, None)


async def main(base: str, email: str, name: str, iban: str, amount: str) -> None:
    api, terminal = Api(base, email), Terminal()
    await api.sign_in()
    edges = (await api.ask(ACCOUNTS))["viewer"]["accounts"]["edges"]
    account = next(edge["node"] for edge in edges if edge["node"]["asset"] == "EUR" and edge["node"]["name"])
    wish = {
        "fromAccountId": account["id"],
        "amount": {"amount": amount, "asset": "EUR"},
        "payee": {"name": name, "account": {"iban": iban}},
        "reference": "Example",
        "method": "ONE_TIME_CODE",
        "idempotencyKey": str(uuid4()),
    }
    made = (await api.ask(PAY, input=wish))["initiatePayment"]
    if made["errors"]:
        sys.exit(f"refused: {made['errors'][0]['message']}")
    payment, challenge = made["payment"], made["payment"]["challenge"]
    if challenge is None:  # a rule would not have it: nothing is asked for
        sys.exit(f"{payment['state']}: {payment['failure']['message']}")
    link = challenge["dynamicLink"]
    terminal.say(
        f"from {account['name']}: {link['amount']['amount']} EUR to {link['payeeName']}, {link['payeeAccount']}"
    )
    if warning := (payment["payeeCheck"] or {}).get("warning"):
        known = payment["payeeCheck"]["matchedName"]
        terminal.say(f"{warning} It is {known}'s." if known else warning)
    answering = asyncio.create_task(answer(api, terminal, challenge["id"]))
    following = asyncio.create_task(follow(api, terminal, payment["id"]))
    await asyncio.wait({answering, following}, return_when=asyncio.FIRST_COMPLETED)
    if following.done():
        answering.cancel()  # it came to its end without us
    elif not await answering:
        sys.exit(1)
    await following
    await api.http.aclose()


async def answer(api: Api, terminal: Terminal, challenge: str) -> bool:
    """Whether there is something to come still."""
    while (code := await terminal.line("the code that was sent: ")) is not None:
        wish = {"challengeId": challenge, "answer": {"oneTimeCode": code}}
        answered = (await api.ask(ANSWER, input=wish))["answerScaChallenge"]
        if not answered["errors"]:
            return True
        error = answered["errors"][0]
        left = error.get("attemptsLeft")
        terminal.say(error["message"] if left is None else f"{error['message']} {left} answers are left.")
        if left == 0:
            return False
    return True


async def follow(api: Api, terminal: Terminal, payment: str) -> None:
    after: str | None = None
    last = "AWAITING_SCA"
    while True:
        try:
            async for told in states(api, payment, after):
                after = told["position"]
                if told["state"] == last:
                    continue  # something else of it is new
                last = told["state"]
                why = f": {told['failure']['message']}" if told["failure"] else ""
                terminal.say(f"{last}{why}")
                if last in OVER:
                    return
        except ConnectionClosed as closed:
            if closed.rcvd is None or closed.rcvd.code != FORBIDDEN:
                raise
        await api.sign_in()


async def states(api: Api, payment: str, after: str | None) -> Any:
    """As it is, where that was not seen, and each as it comes. Raises ConnectionClosed."""
    url, protocol = f"{api.base.replace('http', 'ws', 1)}/graphql", Subprotocol("graphql-transport-ws")
    async with connect(url, subprotocols=[protocol]) as socket:
        token = {"Authorization": f"Bearer {api.token}"}
        await socket.send(json.dumps({"type": "connection_init", "payload": token}))
        asked = {"query": PROGRESSED, "variables": {"paymentId": payment, "after": after}}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": asked}))
        while True:
            message = json.loads(await socket.recv())
            if message["type"] == "next":
                yield message["payload"]["data"]["paymentProgressed"]


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
