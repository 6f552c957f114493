"""Whoever calls, by what they sent: an issuer's access token or an API key; and until when they may be served."""

from __future__ import annotations

import asyncio
from typing import Protocol

from isthmus.auth.api_keys import PREFIX, ApiKeys
from isthmus.auth.caller import Caller
from isthmus.domain.clock import Clock


class Tokens(Protocol):
    async def verify(self, token: str) -> Caller: ...


class Callers:
    def __init__(self, tokens: Tokens, keys: ApiKeys, clock: Clock) -> None:
        self._tokens = tokens
        self._keys = keys
        self._clock = clock

    async def verify(self, token: str) -> Caller:
        """Raises TokenRefused, or IssuerUnavailable where it cannot be checked."""
        return await (self._keys if token.startswith(PREFIX) else self._tokens).verify(token)

    async def until_ended(self, caller: Caller) -> None:
        """Returns when a connection of theirs must end: the token is over, or the key was revoked."""
        left = (caller.expires_at - self._clock.now()).total_seconds()
        if caller.api_key_id is None:
            await asyncio.sleep(max(left, 0))
            return
        try:
            async with asyncio.timeout(max(left, 0)):
                await self._keys.until_revoked(caller.api_key_id)
        except TimeoutError:
            return
