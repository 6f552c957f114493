"""A session in which its person does nothing for five minutes is over (RTS 2018/389 Art. 4(3)(d)), whichever tokens of it are still good.

A session is one sign-in at one client (`sid`): a token that was refreshed goes on where the last one stopped, and does not begin anew.
What is sent to a person, and a page that polls, is nothing that they do. Programs with an API key have no session.

When it was used last stands in Redis, for all processes, written every ten seconds at most: so a session may end that much sooner, and
never later. It stands there for longer than a sign-in can be refreshed (thirty days), so that no token that is fetched later wakes a
session that was over. Where Redis has lost it, a token that was given out within five minutes goes on, and an older one does not.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Protocol

from isthmus.auth.caller import Caller
from isthmus.auth.claims import TokenRefused
from isthmus.auth.issuer_keys import IssuerUnavailable
from isthmus.domain.clock import Clock

IDLE_LIFE_S = 300
_IDLE = timedelta(seconds=IDLE_LIFE_S)
#: A use that follows another sooner than this is not written down.
_WRITTEN_EVERY = timedelta(seconds=10)
_KEPT_S = 31 * 24 * 3_600
#: How many sessions a process remembers by itself.
_REMEMBERED_MAX = 50_000
#: How often it is looked up, for a connection that stays open, whether its session was used elsewhere; in seconds.
_RECHECK_S = 15.0


class UseStore(Protocol):
    """The port: `isthmus.auth.session_store.RedisSessions`. Each raises IssuerUnavailable where it does not answer."""

    async def put(self, key: str, value: bytes, life_s: int) -> None: ...

    async def get(self, key: str) -> bytes | None: ...


class Activity:
    def __init__(self, store: UseStore, clock: Clock, recheck_s: float = _RECHECK_S) -> None:
        self._store = store
        self._clock = clock
        self._recheck_s = recheck_s
        #: When this process wrote down the last use that it saw.
        self._written: OrderedDict[str, datetime] = OrderedDict()

    async def enter(self, caller: Caller, *, looks_on: bool = False) -> None:
        """Somebody comes with a token. `looks_on`: by a connection or a poll, which is no use of the session.

        Raises TokenRefused where the session is over, and IssuerUnavailable where nobody can tell.
        """
        if caller.signed_in is None:
            return
        now = self._clock.now()
        written = self._written.get(caller.signed_in.session)
        if written is None or not timedelta(0) <= now - written < _WRITTEN_EVERY:
            used = await self._used(caller, now)
            if (used or caller.signed_in.at) + _IDLE <= now:
                raise TokenRefused("idle for five minutes")
            if not looks_on:
                await self._write(caller.signed_in.session, now)
            elif used is None:
                # From here on it is known: the next token of somebody who does nothing but listen begins nothing anew.
                await self._write(caller.signed_in.session, caller.signed_in.at)

    async def until_idle(self, caller: Caller) -> None:
        """Returns once the session is over, in whichever process it was used."""
        signed_in = caller.signed_in
        if signed_in is None:
            await asyncio.Event().wait()
        assert signed_in is not None, "who has no session is waited for without end"
        while True:
            pause = self._recheck_s
            try:
                now = self._clock.now()
                used = await self._used(caller, now) or signed_in.at
                left = (used + _IDLE - now).total_seconds()
                if left <= 0:
                    return
                pause = min(left, pause)
            except IssuerUnavailable:
                pass  # what the connection then asks for is refused, and its token ends it
            await asyncio.sleep(pause)

    async def _used(self, caller: Caller, now: datetime) -> datetime | None:
        """When it was used last; None where nobody knows of it."""
        signed_in = caller.signed_in
        assert signed_in is not None
        here = self._written.get(signed_in.session)
        try:
            raw = await self._store.get(_key(signed_in.session))
        except IssuerUnavailable:
            if (here or signed_in.at) + _IDLE <= now:
                raise
            raw = None
        written = [datetime.fromtimestamp(float(raw), UTC)] if raw is not None else []
        return max([*written, *([here] if here is not None else [])], default=None)

    async def _write(self, session: str, used: datetime) -> None:
        self._written[session] = used
        self._written.move_to_end(session)
        if len(self._written) > _REMEMBERED_MAX:
            self._written.popitem(last=False)
        try:
            await self._store.put(_key(session), str(used.timestamp()).encode(), _KEPT_S)
        except IssuerUnavailable:
            return  # this process knows it


def _key(session: str) -> str:
    return f"isthmus:used:{session}"
