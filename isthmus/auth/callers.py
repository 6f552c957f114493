"""Whoever calls, by what they sent: an issuer's access token or an API key; and until when they may be served."""

from __future__ import annotations

import asyncio
from typing import Protocol

from isthmus.auth.activity import Activity
from isthmus.auth.api_keys import PREFIX, ApiKeys
from isthmus.auth.browser_sessions import BrowserSessions
from isthmus.auth.caller import Caller
from isthmus.auth.claims import TokenRefused
from isthmus.domain.clock import Clock


class Tokens(Protocol):
    async def verify(self, token: str) -> Caller: ...


class Callers:
    def __init__(
        self, tokens: Tokens, keys: ApiKeys, clock: Clock, activity: Activity, sessions: BrowserSessions | None = None
    ) -> None:
        self._tokens = tokens
        self._keys = keys
        self._clock = clock
        self._activity = activity
        self._sessions = sessions

    async def verify(self, token: str, *, looks_on: bool = False) -> Caller:
        """`looks_on`: their session is not used by it. Raises TokenRefused, or IssuerUnavailable where it cannot be checked."""
        caller = await (self._keys if token.startswith(PREFIX) else self._tokens).verify(token)
        await self._activity.enter(caller, looks_on=looks_on)
        return caller

    async def used(self, caller: Caller) -> None:
        """They did something by a connection that they opened before. Raises as `check`."""
        if caller.session is None:
            await self._activity.enter(caller)
        elif not await self._sessions_of(caller).use(caller.session):
            raise TokenRefused("the session is over")

    async def check(self, caller: Caller) -> None:
        """Whether a connection that they opened may still be used: a token or a session may have ended since.

        Raises TokenRefused, or IssuerUnavailable where it cannot be checked.
        """
        if caller.expires_at <= self._clock.now():
            raise TokenRefused("the access token has ended")
        if caller.session is None:
            await self._activity.enter(caller, looks_on=True)
        elif not await self._sessions_of(caller).lasts(caller.session):
            raise TokenRefused("the session is over")

    async def until_ended(self, caller: Caller) -> None:
        """Returns when a connection of theirs must end: the token or the session is over, or the key was revoked."""
        left = (caller.expires_at - self._clock.now()).total_seconds()
        try:
            async with asyncio.timeout(max(left, 0)):
                if caller.api_key_id is not None:
                    await self._keys.until_revoked(caller.api_key_id)
                elif caller.session is not None:
                    await self._sessions_of(caller).until_over(caller.session)
                else:
                    await self._activity.until_idle(caller)
        except TimeoutError:
            return

    def _sessions_of(self, caller: Caller) -> BrowserSessions:
        assert self._sessions is not None, f"{caller.actor} was signed in by a session"
        return self._sessions
