"""Pay someone from an account: the code that was sent is asked for, then every state is shown as it comes.

.venv/bin/python examples/pay.py http://127.0.0.1:8000 ada@example.com Maria DE89370400440532013000 12.34

The code comes to the payer's telephone, which is the sandbox's inbox here: `curl $SANDBOX/sandbox/inbox`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any
from uuid import uuid4

import httpx
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from isthmus.auth.sign_in import sign_in

ACCOUNTS = "{ viewer { accounts(first: 50) { edges { node { __typename id name asset } } } } }"
PAY = """mutation($input: InitiatePaymentInput!) { initiatePayment(input: $input) { errors { message }
  payment { id challenge { id expiresAt dynamicLink { amount { amount asset } payeeName payeeAccount } } } } }"""
ANSWER = """mutation($input: AnswerScaChallengeInput!) { answerScaChallenge(input: $input) { payment { state }
  errors { message ... on ScaRejected { attemptsLeft } } } }"""
PROGRESSED = """subscription($paymentId: ID!) { paymentProgressed(paymentId: $paymentId) { state position failure { message } } }"""
OVER = ("EXECUTED", "SETTLED", "REJECTED", "CANCELLED", "EXPIRED", "FAILED")


async def main(base: str, email: str, name: str, iban: str, amount: str) -> None:
    token = (await sign_in(base, email, "isthmus-demo")).access_token
    async with httpx.AsyncClient(timeout=20, headers={"Authorization": f"Bearer {token}"}) as http:

        async def ask(query: str, **variables: Any) -> Any:
            answer = (await http.post(f"{base}/graphql", json={"query": query, "variables": variables})).json()
            if errors := answer.get("errors"):
                sys.exit(f"refused: {errors[0]['message']}")
            return answer["data"]

        edges = (await ask(ACCOUNTS))["viewer"]["accounts"]["edges"]
        account = next(edge["node"] for edge in edges if edge["node"]["asset"] == "EUR" and edge["node"]["name"])
        wish = {
            "fromAccountId": account["id"],
            "amount": {"amount": amount, "asset": "EUR"},
            "payee": {"name": name, "account": {"iban": iban}},
            "reference": "Example",
            "method": "ONE_TIME_CODE",
            "idempotencyKey": str(uuid4()),
        }
        made = (await ask(PAY, input=wish))["initiatePayment"]
        if made["errors"]:
            sys.exit(f"refused: {made['errors'][0]['message']}")
        payment, challenge = made["payment"], made["payment"]["challenge"]
        link = challenge["dynamicLink"]
        say(f"from {account['name']}: {link['amount']['amount']} EUR to {link['payeeName']}, {link['payeeAccount']}")
        while True:
            code = (await asyncio.to_thread(input, "the code that was sent: ")).strip()
            answered = (await ask(ANSWER, input={"challengeId": challenge["id"], "answer": {"oneTimeCode": code}}))[
                "answerScaChallenge"
            ]
            if not answered["errors"]:
                break
            error = answered["errors"][0]
            say(f"{error['message']} {error['attemptsLeft']} answers are left.")
            if not error["attemptsLeft"]:
                sys.exit(1)
    await follow(base, token, payment["id"])


async def follow(base: str, token: str, payment: str) -> None:
    url, protocol = f"{base.replace('http', 'ws', 1)}/graphql", Subprotocol("graphql-transport-ws")
    async with connect(url, subprotocols=[protocol]) as socket:
        await socket.send(json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}}))
        asked = {"query": PROGRESSED, "variables": {"paymentId": payment}}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": asked}))
        async for frame in socket:
            message = json.loads(frame)
            if message["type"] != "next":
                continue
            told = message["payload"]["data"]["paymentProgressed"]
            why = f": {told['failure']['message']}" if told["failure"] else ""
            say(f"{told['state']}{why}")
            if told["state"] in OVER:
                return


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
