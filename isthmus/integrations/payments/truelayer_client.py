"""TrueLayer's APIs as the platform itself calls them, without a person: under a token of its own for one scope, renewed before its end."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx
import msgspec

from isthmus.domain.banking import AccessEnded, ProviderRefused
from isthmus.domain.clock import Clock
from isthmus.integrations.banking.calls import Calls
from isthmus.integrations.banking.json_http import JsonHttp, refusal_of

_LEEWAY = timedelta(minutes=2)


class _Token(msgspec.Struct):
    access_token: str
    expires_in: int


class _Problem(msgspec.Struct):
    title: str = ""


class TrueLayerClient:
    def __init__(
        self,
        auth_url: str,
        api_url: str,
        client_id: str,
        secret: str,
        scope: str,
        http: httpx.AsyncClient,
        calls: Calls,
        clock: Clock,
    ) -> None:
        asked = {"grant_type": "client_credentials", "scope": scope}
        self._grant = {**asked, "client_id": client_id, "client_secret": secret}
        self._auth = JsonHttp(http, calls, auth_url, lambda *_: AccessEnded("TrueLayer gives us no token", "ACCESS"))
        self._api = JsonHttp(http, calls, api_url, _refusal)
        self._clock = clock
        self._token: tuple[str, datetime] | None = None
        self._asking = asyncio.Lock()

    async def ask(
        self, name: str, method: str, path: str, shape: type[Any], headers: dict[str, str], **more: Any
    ) -> Any:
        """What is safe to ask twice. With a token; with a new one where that is not taken any more."""
        for last in (False, True):
            token = await self._fresh()
            bearer = {"Authorization": f"Bearer {token[0]}"}
            try:
                return await self._api.ask(name, method, path, shape, safe=True, headers={**headers, **bearer}, **more)
            except AccessEnded:
                if self._token is token:  # else somebody made a new one meanwhile, which may well be good
                    self._token = None
                if last:
                    raise
        raise AssertionError("the last of two returns or raises")

    async def _fresh(self) -> tuple[str, datetime]:
        """A token, and when it ends. Raises AccessEnded where we get none: that says nothing of what was to be asked with it."""
        async with self._asking:
            now = self._clock.now()
            if self._token is None or self._token[1] <= now + _LEEWAY:
                told = await self._auth.ask("token", "POST", "/connect/token", _Token, safe=True, data=self._grant)
                self._token = told.access_token, now + timedelta(seconds=told.expires_in)
            return self._token


def _refusal(status: int, body: bytes) -> ProviderRefused:
    try:
        title = msgspec.json.decode(body, type=_Problem).title
    except msgspec.MsgspecError:
        title = ""
    if status in (401, 403):
        return AccessEnded("TrueLayer does not know us", "ACCESS")
    return refusal_of("TrueLayer", status, f"{status}_{title.replace(' ', '_')}")
