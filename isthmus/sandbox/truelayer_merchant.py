"""The client's own accounts at TrueLayer: what lies in them and what moved, as `/v3/merchant-accounts` tells.

Source: docs.truelayer.com (merchant accounts). Amounts are whole minor units. Each begins with the same sum.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from starlette.requests import Request

from isthmus.sandbox.answers import World
from isthmus.sandbox.clock import iso
from isthmus.sandbox.truelayer_door import TrueLayerDoor
from isthmus.sandbox.truelayer_errors import Body, Problem
from isthmus.sandbox.truelayer_wishes import MERCHANT_ACCOUNTS

_BEGINS_WITH = 100_000_000
_KIND = "truelayer.merchant_movement"


class TrueLayerMerchant:
    def __init__(self, world: World, door: TrueLayerDoor) -> None:
        self._world = world
        self._book = world.book
        self.routes = [
            door.reads("/v3/merchant-accounts", lambda _, __: (200, {"items": [self._account(one) for one in _IDS]})),
            door.reads("/v3/merchant-accounts/{account}", lambda request, _: (200, self._account(_named(request)))),
            door.reads("/v3/merchant-accounts/{account}/transactions", self._transactions),
        ]

    def balance(self, account: str) -> int:
        return _BEGINS_WITH + sum(int(one["_change"]) for one in self._of(account))

    def move(self, account: str, movement_id: str, change: int, **more: Any) -> None:
        """Once for each `movement_id`. `more`: what the statement says of it."""
        if self._book.get(_KIND, movement_id) is None:
            kept = {"id": movement_id, "_account": account, "_change": change, "_at": iso(self._world.clock.now())}
            self._book.put(_KIND, movement_id, {**kept, "amount_in_minor": abs(change), **more})

    def amend(self, movement_id: str, amount: int) -> Body:
        """What was booked is another amount from now on. Raises ValueError where there is no such movement."""
        found = self._found(movement_id)
        signed = amount if found["_change"] > 0 else -amount
        self._book.put(_KIND, movement_id, {**found, "_change": signed, "amount_in_minor": amount})
        return {"id": movement_id}

    def drop(self, movement_id: str) -> Body:
        """As if it had never been booked."""
        self._found(movement_id)
        self._book.forget(_KIND, movement_id)
        return {"id": movement_id}

    def behind(self, currency: str, amount: int) -> Body:
        """A payout that nobody of ours asked for. Returns its id."""
        payout, now = self._world.uuid(), iso(self._world.clock.now())
        self.move(
            MERCHANT_ACCOUNTS[currency],
            payout,
            -amount,
            type="payout",
            currency=currency,
            status="executed",
            created_at=now,
            executed_at=now,
            context_code="withdrawal",
            payout_id=payout,
        )
        return {"id": payout}

    def _found(self, movement_id: str) -> Body:
        found = self._book.get(_KIND, movement_id)
        if found is None:
            raise ValueError("no such movement")
        return found

    def _of(self, account: str) -> list[Body]:
        found = [one for one in self._book.all(_KIND).values() if one["_account"] == account]
        return sorted(found, key=lambda one: (one["_at"], one["id"]))

    def _account(self, account: str) -> Body:
        balance = self.balance(account)
        return {
            "id": account,
            "currency": _IDS[account],
            "available_balance_in_minor": balance,
            "current_balance_in_minor": balance,
            "account_holder_name": "Isthmus",
        }

    def _transactions(self, request: Request, _: Body) -> tuple[int, Body]:
        account = _named(request)
        since, until = _instant(request, "from"), _instant(request, "to")
        told = [
            {name: value for name, value in one.items() if not name.startswith("_")}
            for one in self._of(account)
            if since <= datetime.fromisoformat(one["_at"].replace("Z", "+00:00")) < until
        ]
        return 200, {"items": told}


_IDS = {account: currency for currency, account in MERCHANT_ACCOUNTS.items()}


def _named(request: Request) -> str:
    account = str(request.path_params["account"])
    if account not in _IDS:
        raise Problem(404, "Not Found", "There is no such merchant account.")
    return account


def _instant(request: Request, name: str) -> datetime:
    try:
        found = datetime.fromisoformat(request.query_params.get(name, "").replace("Z", "+00:00"))
        if found.tzinfo is None:
            raise ValueError
    except ValueError:
        raise Problem(
            400, "Invalid Parameters", "The request is not what it must be.", {name: ["is required"]}
        ) from None
    return found
