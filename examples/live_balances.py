"""Watch a person's balances live: graphql-transport-ws with nothing but a WebSocket library.

.venv/bin/python examples/live_balances.py http://127.0.0.1:8000 ada@example.com
"""

from __future__ import annotations

import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from isthmus.auth.sign_in import sign_in

SUBSCRIPTION = """
subscription {
  balanceChanged {
    account { name }
    balance { posted { amount asset } version }
    cause { eventType }
  }
}"""


async def watch(base: str, email: str, password: str) -> None:
    tokens = await sign_in(base, email, password)
    url = base.replace("http", "ws", 1) + "/graphql"
    async with connect(url, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        hello = {"type": "connection_init", "payload": {"Authorization": f"Bearer {tokens.access_token}"}}
        await socket.send(json.dumps(hello))
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": SUBSCRIPTION}}))
        async for frame in socket:
            message = json.loads(frame)
            if message["type"] == "next":
                change = message["payload"]["data"]["balanceChanged"]
                posted, cause = change["balance"]["posted"], change["cause"]
                why = cause["eventType"] if cause else "as it is now"
                name = change["account"]["name"]
                print(
                    f"{name:<12} {posted['amount']:>12} {posted['asset']}  version {change['balance']['version']}  {why}",
                    flush=True,
                )


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        asyncio.run(
            watch(
                sys.argv[1].removesuffix("/graphql"), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "isthmus-demo"
            )
        )
    except KeyboardInterrupt:
        sys.exit(130)
