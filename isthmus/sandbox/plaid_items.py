"""Plaid's Items: a person's link to a bank, what becomes of it, and the webhooks that say so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import orjson

from isthmus.sandbox.answers import World
from isthmus.sandbox.clock import iso, read_iso
from isthmus.sandbox.plaid_errors import LOGIN_REQUIRED, Body, PlaidError, require
from isthmus.sandbox.plaid_keys import SigningKeys
from isthmus.sandbox.seeding import BANKS


class PlaidItems:
    def __init__(self, world: World, keys: SigningKeys) -> None:
        self._world = world
        self._book = world.book
        self._keys = keys
        world.hooks.append(self._happened)

    def remove(self, body: Body) -> Body:
        item = self.named(body, well=False)
        for token, kept in self._book.all("plaid.access_token").items():
            if kept["item_id"] == item["item_id"]:
                self._book.forget("plaid.access_token", token)
        self._book.forget("plaid.item", item["item_id"])
        return {}

    def webhook_update(self, body: Body) -> Body:
        item = self.named(body, well=False)
        self.keep({**item, "webhook": body.get("webhook")})
        return {"item": self.shown({**item, "webhook": body.get("webhook")})}

    def reset_login(self, body: Body) -> Body:
        item = self.named(body, well=False)
        self.needs_login(item["item_id"])
        return {"reset_login": True}

    def needs_login(self, item_id: str) -> None:
        item = self.kept(item_id)
        self.keep({**item, "error": "ITEM_LOGIN_REQUIRED"})
        self.tell(item, "ITEM", "ERROR", {"error": LOGIN_REQUIRED.body(None)})

    def repaired(self, item_id: str) -> None:
        item = self._book.get("plaid.item", item_id)
        if item is None:
            raise PlaidError("INVALID_INPUT", "INVALID_ACCESS_TOKEN", "the item was removed")
        self.keep({**item, "error": None})
        self.tell(item, "ITEM", "LOGIN_REPAIRED", {})

    def expires_at(self, item_id: str, at: datetime) -> None:
        """The bank's consent ends then; Plaid says so beforehand."""
        item = self.kept(item_id)
        item["consent_expires"] = iso(at)
        self.keep(item)
        self.tell(item, "ITEM", "PENDING_EXPIRATION", {"consent_expiration_time": iso(at)})

    def revoked(self, item_id: str) -> None:
        """The person took the permission back, at the bank."""
        item = self.kept(item_id)
        self.keep({**item, "error": "ITEM_LOGIN_REQUIRED"})
        self.tell(item, "ITEM", "USER_PERMISSION_REVOKED", {"error": LOGIN_REQUIRED.body(None)})

    def fire_webhook(self, body: Body) -> Body:
        require(body, "webhook_code")
        item = self.named(body, well=False)
        if not item["webhook"]:
            raise PlaidError("SANDBOX_ERROR", "SANDBOX_WEBHOOK_INVALID", "no webhook is set for this item")
        match body["webhook_code"]:
            case "SYNC_UPDATES_AVAILABLE":
                more = {"initial_update_complete": True, "historical_update_complete": True}
                self.tell(item, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE", more)
            case "LOGIN_REPAIRED" | "NEW_ACCOUNTS_AVAILABLE" as code:
                self.tell(item, "ITEM", code, {})
            case code:
                raise PlaidError(
                    "SANDBOX_ERROR", "SANDBOX_WEBHOOK_INVALID", f"webhook_code {code} is not one that can be fired"
                )
        return {"webhook_fired": True}

    def named(self, body: Body, *, well: bool = True) -> Body:
        require(body, "access_token")
        kept = self._book.get("plaid.access_token", body["access_token"])
        item = self._book.get("plaid.item", kept["item_id"]) if kept else None
        if item is None:
            raise PlaidError("INVALID_INPUT", "INVALID_ACCESS_TOKEN", "could not find matching access token")
        over = item["consent_expires"] is not None and read_iso(item["consent_expires"]) <= self._world.clock.now()
        if well and (item["error"] is not None or over):
            raise LOGIN_REQUIRED
        return item

    def kept(self, item_id: str) -> Body:
        item = self._book.get("plaid.item", item_id)
        if item is None:
            raise ValueError("no such item")
        return item

    def keep(self, item: Body) -> None:
        self._book.put("plaid.item", item["item_id"], item)

    def shown(self, item: Body) -> Body:
        return {
            "item_id": item["item_id"],
            "institution_id": f"ins_{item['bank']}",
            "institution_name": BANKS[item["bank"]].name,
            "webhook": item["webhook"],
            "error": LOGIN_REQUIRED.body(None) if item["error"] else None,
            "available_products": ["balance"],
            "billed_products": item["products"],
            "products": item["products"],
            "consent_expiration_time": item["consent_expires"],
            "update_type": "background",
        }

    def tell(self, item: Body, kind: str, code: str, more: Body) -> None:
        if item["webhook"]:
            body = {
                "webhook_type": kind,
                "webhook_code": code,
                "item_id": item["item_id"],
                "environment": "sandbox",
                **more,
            }
            self._world.webhooks.send(item["webhook"], orjson.dumps(body, option=orjson.OPT_INDENT_2), self._keys.sign)

    def _happened(self, accounts: Sequence[str]) -> None:
        customers = {account.customer for account in map(self._book.account, accounts) if account is not None}
        more = {"initial_update_complete": True, "historical_update_complete": True}
        for item in self._book.all("plaid.item").values():
            if item["customer"] in customers and item["error"] is None:
                self.tell(item, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE", more)
