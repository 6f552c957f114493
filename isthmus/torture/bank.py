"""The bank as clients and the oracle meet it: everybody's telephone, and the bank's own word for what moved in our account there."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx

_CODE = re.compile(r"Pay ([0-9.]+) EUR .*your code is (\d{6})")
_MERCHANT_ACCOUNT = "sandbox-merchant-eur"
_PAYEE = ("nordlicht", "maria")
_LOOK_EVERY_S = 0.15


class Bank:
    """The sandbox past its proxy: what is judged by must answer."""

    def __init__(self, http: httpx.AsyncClient, url: Callable[[], str]) -> None:
        self._http = http
        self._url = url
        self._read: set[str] = set()
        self.payee_iban = ""

    async def meet(self) -> None:
        """The payee, of whom every client knows."""
        self.payee_iban = str((await self._payee())["iban"])

    async def code(self, person: str, amount: str, within_s: float) -> str | None:
        """What the person is told for a payment of that amount. Each message is read once; None where none comes in time."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            for message in await self._get("/sandbox/inbox", person=person):
                told = _CODE.match(message["body"])
                if told and message["id"] not in self._read and Decimal(told[1]) == Decimal(amount):
                    self._read.add(message["id"])
                    return told[2]
            await asyncio.sleep(_LOOK_EVERY_S)
        return None

    async def statement(self) -> list[tuple[str, Decimal]]:
        """Every payout from our account: the bank's name for it, and its amount."""
        wish = {
            "grant_type": "client_credentials",
            "scope": "payments",
            "client_id": "sandbox-truelayer",
            "client_secret": "sandbox-truelayer-secret",
        }
        answer = await self._http.post(f"{self._url()}/truelayer/auth/connect/token", data=wish)
        token = answer.raise_for_status().json()["access_token"]
        now = datetime.now(UTC)
        items = await self._get(
            f"/truelayer/api/v3/merchant-accounts/{_MERCHANT_ACCOUNT}/transactions",
            bearer=token,
            **{"from": (now - timedelta(days=2)).isoformat(), "to": (now + timedelta(days=2)).isoformat()},
        )
        return [(one["payout_id"], Decimal(one["amount_in_minor"]) / 100) for one in items["items"]]

    async def payee_holds(self) -> Decimal:
        """In the payee's own account at their bank."""
        return Decimal((await self._payee())["transferred"])

    async def _payee(self) -> dict[str, Any]:
        accounts = await self._get("/sandbox/accounts")
        found: dict[str, Any] = next(one for one in accounts if (one["bank"], one["username"]) == _PAYEE)
        return found

    async def _get(self, path: str, bearer: str | None = None, **asked: str) -> Any:
        headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
        answer = await self._http.get(f"{self._url()}{path}", params=asked, headers=headers)
        return answer.raise_for_status().json()
