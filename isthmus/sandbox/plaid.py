"""Plaid, as its official client speaks with it: Link, Items, accounts, `/transactions/sync` and signed webhooks.

Source: the OpenAPI document that plaid-python 46 is made from. Amounts are JSON numbers, and positive means money out. A pending
transaction that is booked is removed, and added under another id that names the pending one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isthmus.sandbox.answers import World, json_body, json_response, number
from isthmus.sandbox.book import Account
from isthmus.sandbox.clock import iso, read_iso
from isthmus.sandbox.plaid_errors import LOGIN_REQUIRED, Body, PlaidError, require
from isthmus.sandbox.plaid_keys import SigningKeys
from isthmus.sandbox.plaid_transactions import Updates
from isthmus.sandbox.seeding import BANKS, Bank

CLIENT_ID, SECRET = "sandbox-client", "sandbox-secret"
_LINK_TOKEN_LASTS = timedelta(hours=4)
_PUBLIC_TOKEN_LASTS = timedelta(minutes=30)


class Plaid:
    """`routes` are to be mounted where the client's `host` points."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._book = world.book
        self.keys = SigningKeys(world)
        self._updates = Updates(world.book)
        world.hooks.append(self._happened)
        paths: dict[str, Callable[[Body], Body]] = {
            "/link/token/create": self.link_token_create,
            "/sandbox/public_token/create": self.sandbox_public_token_create,
            "/item/public_token/exchange": self.public_token_exchange,
            "/item/get": lambda body: {"item": self._item_body(self._item_of(body)), "status": None},
            "/item/remove": self.item_remove,
            "/item/webhook/update": self.item_webhook_update,
            "/accounts/get": self.accounts_get,
            "/accounts/balance/get": self.accounts_get,
            "/transactions/sync": self.transactions_sync,
            "/webhook_verification_key/get": self.webhook_verification_key_get,
            "/institutions/get": self.institutions_get,
            "/institutions/get_by_id": self.institutions_get_by_id,
            "/sandbox/item/reset_login": self.sandbox_item_reset_login,
            "/sandbox/item/fire_webhook": self.sandbox_item_fire_webhook,
        }
        self.routes = [Route(path, _endpoint(world, work), methods=["POST"]) for path, work in paths.items()]

    # -- Link ----------------------------------------------------------------------------------------------------------

    def link_token_create(self, body: Body) -> Body:
        require(body, "client_name", "language", "country_codes", "user")
        if "access_token" not in body and not body.get("products"):
            raise PlaidError("INVALID_REQUEST", "MISSING_FIELDS", "one or more products must be specified")
        token = self._world.token("link-sandbox-")
        expires = self._world.clock.now() + _LINK_TOKEN_LASTS
        item_id = self._item_of(body, well=False)["item_id"] if body.get("access_token") else None
        asked = {
            name: body.get(name) for name in ("redirect_uri", "webhook", "products", "country_codes", "hosted_link")
        }
        chosen = (body.get("institution_data") or {}).get("routing_number")
        self._book.put(
            "plaid.link_token", token, {**asked, "expires": iso(expires), "item_id": item_id, "chosen": chosen}
        )
        hosted = f"{self._world.public_url}/plaid/link/{token}"
        return {"link_token": token, "expiration": iso(expires), "hosted_link_url": hosted}

    def link_token(self, token: str) -> Body:
        """What a Link session is about. Raises PlaidError where it is unknown or over."""
        kept = self._book.get("plaid.link_token", token)
        if kept is None or read_iso(kept["expires"]) <= self._world.clock.now():
            raise PlaidError("INVALID_INPUT", "INVALID_LINK_TOKEN", "the provided link token is invalid or expired")
        return kept

    def linked(self, token: str, bank: str, customer_id: str) -> str | None:
        """A person has signed in at the bank, in the Link session of `token`. Its public token; None in update mode."""
        kept = self.link_token(token)
        if kept["item_id"] is not None:
            self._repaired(kept["item_id"])
            return None
        return self._public_token(bank, customer_id, kept.get("webhook"), kept["products"])

    def sandbox_public_token_create(self, body: Body) -> Body:
        require(body, "institution_id", "initial_products")
        bank = _bank(body["institution_id"])
        options = body.get("options") or {}
        customer = self._book.customer(bank.id, options.get("override_username") or "jo")
        if customer is None or (options.get("override_password") or customer.password) != customer.password:
            raise PlaidError("ITEM_ERROR", "INVALID_CREDENTIALS", "the credentials were not correct")
        token = self._public_token(bank.id, customer.id, options.get("webhook"), body["initial_products"])
        return {"public_token": token}

    def _public_token(self, bank: str, customer_id: str, webhook: str | None, products: Sequence[str]) -> str:
        item_id = self._world.token("")
        item = {
            "item_id": item_id,
            "customer": customer_id,
            "bank": bank,
            "webhook": webhook or self._world.webhook("plaid"),
            "products": list(products),
            "error": None,
            "consent_expires": None,
        }
        self._book.put("plaid.item", item_id, item)
        token = self._world.token("public-sandbox-")
        expires = self._world.clock.now() + _PUBLIC_TOKEN_LASTS
        self._book.put("plaid.public_token", token, {"item_id": item_id, "expires": iso(expires)})
        return token

    def public_token_exchange(self, body: Body) -> Body:
        require(body, "public_token")
        kept = self._book.get("plaid.public_token", body["public_token"])
        if kept is None or not self._book.forget("plaid.public_token", body["public_token"]):
            raise PlaidError("INVALID_INPUT", "INVALID_PUBLIC_TOKEN", "could not find matching public token")
        if read_iso(kept["expires"]) <= self._world.clock.now():
            raise PlaidError("INVALID_INPUT", "INVALID_PUBLIC_TOKEN", "provided public token is expired")
        token = self._world.token("access-sandbox-")
        self._book.put("plaid.access_token", token, {"item_id": kept["item_id"]})
        item = self._book.get("plaid.item", kept["item_id"])
        assert item is not None, "it was made with the public token"
        self._tell(
            item,
            "TRANSACTIONS",
            "SYNC_UPDATES_AVAILABLE",
            {"initial_update_complete": True, "historical_update_complete": True},
        )
        return {"access_token": token, "item_id": kept["item_id"]}

    # -- Items ---------------------------------------------------------------------------------------------------------

    def item_remove(self, body: Body) -> Body:
        item = self._item_of(body, well=False)
        for token, kept in self._book.all("plaid.access_token").items():
            if kept["item_id"] == item["item_id"]:
                self._book.forget("plaid.access_token", token)
        self._book.forget("plaid.item", item["item_id"])
        return {}

    def item_webhook_update(self, body: Body) -> Body:
        item = self._item_of(body, well=False)
        self._keep({**item, "webhook": body.get("webhook")})
        return {"item": self._item_body({**item, "webhook": body.get("webhook")})}

    def sandbox_item_reset_login(self, body: Body) -> Body:
        item = self._item_of(body, well=False)
        self.needs_login(item["item_id"])
        return {"reset_login": True}

    def needs_login(self, item_id: str) -> None:
        item = self._kept(item_id)
        self._keep({**item, "error": "ITEM_LOGIN_REQUIRED"})
        self._tell(item, "ITEM", "ERROR", {"error": LOGIN_REQUIRED.body(None)})

    def _repaired(self, item_id: str) -> None:
        item = self._book.get("plaid.item", item_id)
        if item is None:
            raise PlaidError("INVALID_INPUT", "INVALID_ACCESS_TOKEN", "the item was removed")
        self._keep({**item, "error": None})
        self._tell(item, "ITEM", "LOGIN_REPAIRED", {})

    def expires_at(self, item_id: str, at: datetime) -> None:
        """The bank's consent ends then; Plaid says so beforehand."""
        item = self._kept(item_id)
        item["consent_expires"] = iso(at)
        self._keep(item)
        self._tell(item, "ITEM", "PENDING_EXPIRATION", {"consent_expiration_time": iso(at)})

    def revoked(self, item_id: str) -> None:
        """The person took the permission back, at the bank."""
        item = self._kept(item_id)
        self._keep({**item, "error": "ITEM_LOGIN_REQUIRED"})
        self._tell(item, "ITEM", "USER_PERMISSION_REVOKED", {"error": LOGIN_REQUIRED.body(None)})

    def sandbox_item_fire_webhook(self, body: Body) -> Body:
        require(body, "webhook_code")
        item = self._item_of(body, well=False)
        if not item["webhook"]:
            raise PlaidError("SANDBOX_ERROR", "SANDBOX_WEBHOOK_INVALID", "no webhook is set for this item")
        match body["webhook_code"]:
            case "SYNC_UPDATES_AVAILABLE":
                more = {"initial_update_complete": True, "historical_update_complete": True}
                self._tell(item, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE", more)
            case "LOGIN_REPAIRED" | "NEW_ACCOUNTS_AVAILABLE" as code:
                self._tell(item, "ITEM", code, {})
            case code:
                raise PlaidError(
                    "SANDBOX_ERROR", "SANDBOX_WEBHOOK_INVALID", f"webhook_code {code} is not one that can be fired"
                )
        return {"webhook_fired": True}

    def _item_of(self, body: Body, *, well: bool = True) -> Body:
        require(body, "access_token")
        kept = self._book.get("plaid.access_token", body["access_token"])
        item = self._book.get("plaid.item", kept["item_id"]) if kept else None
        if item is None:
            raise PlaidError("INVALID_INPUT", "INVALID_ACCESS_TOKEN", "could not find matching access token")
        over = item["consent_expires"] is not None and read_iso(item["consent_expires"]) <= self._world.clock.now()
        if well and (item["error"] is not None or over):
            raise LOGIN_REQUIRED
        return item

    def _kept(self, item_id: str) -> Body:
        item = self._book.get("plaid.item", item_id)
        if item is None:
            raise ValueError("no such item")
        return item

    def _keep(self, item: Body) -> None:
        self._book.put("plaid.item", item["item_id"], item)

    def _item_body(self, item: Body) -> Body:
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

    # -- accounts and transactions ---------------------------------------------------------------------------------------

    def accounts_get(self, body: Body) -> Body:
        item = self._item_of(body)
        self._world.catch_up()
        return {"accounts": self._accounts(item), "item": self._item_body(item)}

    def _accounts(self, item: Body) -> list[Body]:
        return [self._account(one) for one in self._book.accounts_of(item["customer"])]

    def _account(self, account: Account) -> Body:
        booked, available = self._book.balances(account.id)
        current = account.kind == "CURRENT"
        return {
            "account_id": account.id,
            "balances": {
                "available": number(available),
                "current": number(booked),
                "limit": None,
                "iso_currency_code": account.currency,
                "unofficial_currency_code": None,
            },
            "mask": account.number[-4:],
            "name": account.name,
            "official_name": f"{BANKS[account.bank].name} {account.name}",
            "persistent_account_id": account.id,
            "type": "depository",
            "subtype": "checking" if current else "savings",
        }

    def transactions_sync(self, body: Body) -> Body:
        item = self._item_of(body)
        self._world.catch_up()
        accounts = [one.id for one in self._book.accounts_of(item["customer"])]
        page = self._updates.page(accounts, body.get("cursor"), body.get("count", 100))
        return {"accounts": self._accounts(item), **page}

    # -- institutions and webhooks ---------------------------------------------------------------------------------------

    def institutions_get(self, body: Body) -> Body:
        require(body, "count", "offset", "country_codes")
        some = [bank for bank in BANKS.values() if bank.country in body["country_codes"]]
        page = some[body["offset"] : body["offset"] + body["count"]]
        return {"institutions": [_institution(bank) for bank in page], "total": len(some)}

    def institutions_get_by_id(self, body: Body) -> Body:
        require(body, "institution_id", "country_codes")
        return {"institution": _institution(_bank(body["institution_id"]))}

    def webhook_verification_key_get(self, body: Body) -> Body:
        require(body, "key_id")
        return {"key": self.keys.published(body["key_id"])}

    def _tell(self, item: Body, kind: str, code: str, more: Body) -> None:
        if item["webhook"]:
            body = {
                "webhook_type": kind,
                "webhook_code": code,
                "item_id": item["item_id"],
                "environment": "sandbox",
                **more,
            }
            self._world.webhooks.send(item["webhook"], orjson.dumps(body, option=orjson.OPT_INDENT_2), self.keys.sign)

    def _happened(self, accounts: Sequence[str]) -> None:
        customers = {account.customer for account in map(self._book.account, accounts) if account is not None}
        more = {"initial_update_complete": True, "historical_update_complete": True}
        for item in self._book.all("plaid.item").values():
            if item["customer"] in customers and item["error"] is None:
                self._tell(item, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE", more)


def _institution(bank: Bank) -> Body:
    return {
        "institution_id": f"ins_{bank.id}",
        "name": bank.name,
        "products": ["transactions", "balance"],
        "country_codes": [bank.country],
        "routing_numbers": [],
        "oauth": True,
        "url": None,
        "logo": None,
        "primary_color": None,
        "connection_availability": "SUPPORTED",
    }


def _bank(institution_id: object) -> Bank:
    bank = BANKS.get(str(institution_id).removeprefix("ins_"))
    if bank is None:
        raise PlaidError("INVALID_INPUT", "INVALID_INSTITUTION", "invalid institution_id provided")
    return bank


def _endpoint(world: World, work: Callable[[Body], Body]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        request_id = world.token("")[:15]
        try:
            body = await json_body(request)
            if body is None:
                raise PlaidError("INVALID_REQUEST", "INVALID_BODY", "body could not be parsed as JSON")
            client = request.headers.get("plaid-client-id", body.get("client_id"))
            secret = request.headers.get("plaid-secret", body.get("secret"))
            if (client, secret) != (CLIENT_ID, SECRET):
                raise PlaidError("INVALID_INPUT", "INVALID_API_KEYS", "invalid client_id or secret provided")
            with world.book.writing():
                said = work(body)
        except PlaidError as error:
            return json_response(error.body(request_id), 400)
        return json_response({**said, "request_id": request_id})

    return answer
