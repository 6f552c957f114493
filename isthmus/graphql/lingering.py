"""An answer to a request that was not read to its end, and will not be.

Closed at once, a connection on which more arrives is reset, and a reset may reach the client before it has read the answer: it would
see a failure, whose outcome it cannot know, in the place of a refusal. So what still comes is taken and thrown away for a moment, as
long as it is not without end.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

#: Long enough for an answer's way to the client, and as much as a client may have sent before it reads.
LINGER_S = 1.0
LINGER_BYTES = 4 * 1024 * 1024


class Lingering(Response):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def open_ended(message: Message) -> None:
            await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

        await super().__call__(scope, receive, open_ended)
        taken = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while taken < LINGER_BYTES and (message := await receive()).get("more_body"):
                    taken += len(message.get("body", b""))
        await send({"type": "http.response.body", "body": b"", "more_body": False})
