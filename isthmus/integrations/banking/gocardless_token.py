"""The application's own token at GoCardless: fetched when it is first needed, renewed before it ends, one request at a time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec

from isthmus.domain.banking import ProviderRefused
from isthmus.domain.clock import Clock
from isthmus.integrations.banking.json_http import JsonHttp

_LEEWAY = timedelta(minutes=2)


class TokenRefused(ProviderRefused):
    """The token is over, or was never good; nothing was done."""


class _New(msgspec.Struct):
    access: str
    access_expires: int
    refresh: str
    refresh_expires: int


class _Renewed(msgspec.Struct):
    access: str
    access_expires: int


class ApplicationToken:
    """One per process: many that find it over wait for one request."""

    def __init__(self, http: JsonHttp, secret_id: str, secret_key: str, clock: Clock) -> None:
        self._http = http
        self._secrets = {"secret_id": secret_id, "secret_key": secret_key}
        self._clock = clock
        self._access: str | None = None
        self._access_ends = self._refresh_ends = clock.now()
        self._refresh = ""
        self._asking = asyncio.Lock()

    async def now(self) -> str:
        async with self._asking:
            if self._access is None or self._access_ends - _LEEWAY <= self._clock.now():
                return await self._another()
            return self._access

    async def instead_of(self, refused: str) -> str:
        """One that is not the refused one, which whoever came before may have fetched."""
        async with self._asking:
            if self._access is not None and self._access != refused:
                return self._access
            self._refresh_ends = self._clock.now()  # what went with it is worth no more
            return await self._another()

    async def _another(self) -> str:
        if self._refresh and self._refresh_ends - _LEEWAY > self._clock.now():
            try:
                return await self._renewed()
            except ProviderRefused:
                pass  # taken back: sign in anew
        told = await self._http.ask("token", "POST", "/api/v2/token/new/", _New, safe=True, json=self._secrets)
        self._refresh, self._refresh_ends = told.refresh, self._clock.now() + timedelta(seconds=told.refresh_expires)
        return self._keep(told.access, told.access_expires)

    async def _renewed(self) -> str:
        asked = {"refresh": self._refresh}
        told = await self._http.ask("token_refresh", "POST", "/api/v2/token/refresh/", _Renewed, safe=True, json=asked)
        return self._keep(told.access, told.access_expires)

    def _keep(self, access: str, lasts_s: int) -> str:
        self._access, self._access_ends = access, self._clock.now() + timedelta(seconds=lasts_s)
        return access
