"""Watch a person's balances live, and miss nothing when the connection is lost: graphql-transport-ws with nothing but a WebSocket library.

.venv/bin/python examples/live_balances.py http://127.0.0.1:8000 ada@example.com

Each message has a position. Whoever comes back with the last one as `after` is told what happened meanwhile, and then goes on live.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from isthmus.auth.sign_in import sign_in

SUBSCRIPTION = """
subscription($after: Position) {
  balanceChanged(after: $after) {
    account { id name }
    balance { posted { amount asset } version }
    cause { eventType }
    lagged { fromPosition toPosition }
    position
  }
}"""
FORBIDDEN = 4403  # the token has ended: sign in again
PAUSE_S, PAUSE_MAX_S = 0.2, 5.0


async def watch(base: str, email: str, password: str) -> None:
    token, after, pause_s = None, None, PAUSE_S
    versions: dict[str, int] = {}
    while True:
        try:
            token = token or (await sign_in(base, email, password)).access_token
            async for change in changes(base, token, after):
                after, pause_s = change["position"], PAUSE_S
                account, version = change["account"]["id"], change["balance"]["version"]
                # A transfer between two of the accounts is two messages: cut off between them, the first comes again.
                if version > versions.get(account, -1):
                    versions[account] = version
                    show(change)
        except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError) as error:
            if isinstance(error, ConnectionClosed) and error.rcvd is not None and error.rcvd.code == FORBIDDEN:
                token = None
            print(f"disconnected; going on after position {after}", file=sys.stderr, flush=True)
        # All clients of a server that went away come back at once, unless each waits as long as chance will have it.
        await asyncio.sleep(random.uniform(pause_s / 2, pause_s))
        pause_s = min(pause_s * 2, PAUSE_MAX_S)


async def changes(base: str, token: str, after: str | None) -> Any:
    """One connection's messages. Raises ConnectionClosed when it ends, SystemExit where the subscription is refused."""
    url = base.replace("http", "ws", 1) + "/graphql"
    async with connect(url, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        await socket.send(json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}}))
        payload = {"query": SUBSCRIPTION, "variables": {"after": after}}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        while True:
            message = json.loads(await socket.recv())
            errors = message["payload"] if message["type"] == "error" else message.get("payload", {}).get("errors")
            if errors and not errors[0]["extensions"].get("retryable"):
                sys.exit(f"refused: {errors[0]['message']}")
            if errors or message["type"] == "complete":
                return  # come again after a moment
            if message["type"] == "next":
                yield message["payload"]["data"]["balanceChanged"]


def show(change: dict[str, Any]) -> None:
    posted, cause, lagged = change["balance"]["posted"], change["cause"], change["lagged"]
    why = cause["eventType"] if cause else "as it is now"
    if lagged:  # a client that keeps a history would now query what was left out
        why = f"as it is now; left out: after {lagged['fromPosition']} up to {lagged['toPosition']}"
    print(
        f"{change['account']['name']:<12} {posted['amount']:>12} {posted['asset']}  version {change['balance']['version']}  {why}",
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
