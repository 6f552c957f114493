"""The bank as clients and the oracle meet it: everybody's telephone, the pages of the banks, and their own word for what moved there."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from isthmus.torture.rails import COLLECTING

_CODE = re.compile(r"Pay ([0-9.]+) EUR .*your code is (\d{6})")
_MERCHANT_ACCOUNT = "sandbox-merchant-eur"
#: Whom clients pay, by what they are paid in.
_PAYEES = {"EUR": ("nordlicht", "maria"), "GBP": ("harbour", "maria")}
_PASSWORD = "sandbox"  # noqa: S105 - everybody's, at every bank of the sandbox
_LOOK_EVERY_S = 0.15


class Bank:
    """The sandbox past its proxy: what is judged by must answer."""

    def __init__(self, http: httpx.AsyncClient, url: Callable[[], str]) -> None:
        self._http = http
        self._url = url
        self._read: set[str] = set()
        self.payees: Mapping[str, Mapping[str, str]] = {}
        """Their accounts, as a payment names them."""

    async def meet(self) -> None:
        """The payees, of whom every client knows."""
        found = await self._payees()
        self.payees = {
            asset: {"sortCode": one["sort_code"], "accountNumber": one["number"]}
            if one["sort_code"]
            else {"iban": one["iban"]}
            for asset, one in found.items()
        }

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

    # -- as its customer -------------------------------------------------------------------------------------------------

    async def join(self, bank: str, username: str) -> str:
        """A new customer with a current account that has something in it. Returns the bank's own name for the account."""
        who = {"bank": bank, "username": username}
        await self._post("customers", who)
        opened = await self._post("accounts", who | {"name": "Current account", "busy": 1, "history_days": 1})
        return str(opened["id"])

    async def visit(self, page: str, username: str, answer: str = "approve", choose: str = "") -> dict[str, str]:
        """Go there, sign in, answer. Returns what the address has that one is sent back to. `choose`: a bank, where the page asks which."""
        where = f"{page}?institution_id=ins_{choose}" if choose else page
        shown = await self._http.get(where, follow_redirects=True)
        form = {"username": username, "password": _PASSWORD, "answer": answer}
        back = await self._http.post(str(shown.url), data=form)
        return dict(parse_qsl(urlsplit(back.headers.get("location", "")).query))

    # -- its own word ----------------------------------------------------------------------------------------------------

    async def statement(self) -> list[tuple[str, Decimal]]:
        """Every payout from our account: the bank's name for it, and its amount."""
        items = await self._merchant(_MERCHANT_ACCOUNT)
        return [(one["payout_id"], Decimal(one["amount_in_minor"]) / 100) for one in items]

    async def brought(self, asset: str) -> list[tuple[str, Decimal]]:
        """Every payment that came into our account: the bank's name for it, and its amount."""
        items = await self._merchant(COLLECTING[asset])
        return [(one["payment_id"], Decimal(one["amount_in_minor"]) / 100) for one in items]

    async def left(self, account: str) -> list[tuple[str, Decimal]]:
        """Every payment that left a customer's account: the bank's name for it, and its amount."""
        moved = await self._get("/sandbox/movements", account=account)
        return [
            (one["id"].removesuffix("-out"), Decimal(-one["amount"]) / 100)
            for one in moved
            if one["id"].endswith("-out")
        ]

    async def received(self) -> dict[str, Decimal]:
        """By the payees, in their own accounts at their banks."""
        return {asset: Decimal(one["transferred"]) for asset, one in (await self._payees()).items()}

    async def _payees(self) -> dict[str, Any]:
        accounts = await self._get("/sandbox/accounts")
        return {
            asset: next(one for one in accounts if (one["bank"], one["username"]) == who)
            for asset, who in _PAYEES.items()
        }

    async def _merchant(self, account: str) -> list[dict[str, Any]]:
        """What moved in an account of ours."""
        wish = {
            "grant_type": "client_credentials",
            "scope": "payments",
            "client_id": "sandbox-truelayer",
            "client_secret": "sandbox-truelayer-secret",
        }
        answer = await self._http.post(f"{self._url()}/truelayer/auth/connect/token", data=wish)
        token = answer.raise_for_status().json()["access_token"]
        now = datetime.now(UTC)
        told = await self._get(
            f"/truelayer/api/v3/merchant-accounts/{account}/transactions",
            bearer=token,
            **{"from": (now - timedelta(days=2)).isoformat(), "to": (now + timedelta(days=2)).isoformat()},
        )
        items: list[dict[str, Any]] = told["items"]
        return items

    async def _get(self, path: str, bearer: str | None = None, **asked: str) -> Any:
        headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
        answer = await self._http.get(f"{self._url()}{path}", params=asked, headers=headers)
        return answer.raise_for_status().json()

    async def _post(self, path: str, body: Mapping[str, object]) -> Any:
        answer = await self._http.post(f"{self._url()}/sandbox/{path}", json=body)
        return answer.raise_for_status().json()
