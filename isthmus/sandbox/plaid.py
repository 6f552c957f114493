"""Plaid, as its official client speaks with it: Link, Items, accounts, `/transactions/sync` and signed webhooks.

Source: the OpenAPI document that plaid-python 46 is made from. Amounts are JSON numbers, and positive means money out. A pending
transaction that is booked is removed, and added under another id that names the pending one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isthmus.sandbox.answers import World, json_body, json_response, number
from isthmus.sandbox.book import Account
from isthmus.sandbox.clock import iso, read_iso
from isthmus.sandbox.plaid_errors import Body, PlaidError, require
from isthmus.sandbox.plaid_items import PlaidItems
from isthmus.sandbox.plaid_keys import SigningKeys
from isthmus.sandbox.plaid_payments import CURRENCIES, PlaidPayments
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
        self.items = PlaidItems(world, self.keys)
        self.payments = PlaidPayments(world, self.keys)
        paths: dict[str, Callable[[Body], Body]] = {
            "/link/token/create": self.link_token_create,
            "/link/token/get": self.link_token_get,
            "/sandbox/public_token/create": self.sandbox_public_token_create,
            "/item/public_token/exchange": self.public_token_exchange,
            "/item/get": lambda body: {"item": self.items.shown(self.items.named(body)), "status": None},
            "/item/remove": self.items.remove,
            "/item/webhook/update": self.items.webhook_update,
            "/accounts/get": self.accounts_get,
            "/accounts/balance/get": self.accounts_get,
            "/transactions/sync": self.transactions_sync,
            "/webhook_verification_key/get": self.webhook_verification_key_get,
            "/institutions/get": self.institutions_get,
            "/institutions/get_by_id": self.institutions_get_by_id,
            "/sandbox/item/reset_login": self.items.reset_login,
            "/sandbox/item/fire_webhook": self.items.fire_webhook,
            **self.payments.paths,
        }
        self.routes = [Route(path, _endpoint(world, work), methods=["POST"]) for path, work in paths.items()]

    # -- Link ----------------------------------------------------------------------------------------------------------

    def link_token_create(self, body: Body) -> Body:
        require(body, "client_name", "language", "country_codes", "user")
        if "access_token" not in body and not body.get("products"):
            raise PlaidError("INVALID_REQUEST", "MISSING_FIELDS", "one or more products must be specified")
        payment_id = self._payment_of(body)
        token = self._world.token("link-sandbox-")
        expires = self._world.clock.now() + _LINK_TOKEN_LASTS
        item_id = self.items.named(body, well=False)["item_id"] if body.get("access_token") else None
        asked = {
            name: body.get(name)
            for name in ("redirect_uri", "webhook", "products", "country_codes", "hosted_link", "institution_id")
        }
        chosen = (body.get("institution_data") or {}).get("routing_number")
        self._book.put(
            "plaid.link_token",
            token,
            {
                **asked,
                "created": iso(self._world.clock.now()),
                "expires": iso(expires),
                "item_id": item_id,
                "chosen": chosen,
                "payment_id": payment_id,
            },
        )
        hosted = f"{self._world.public_url}/plaid/link/{token}"
        return {"link_token": token, "expiration": iso(expires), "hosted_link_url": hosted}

    def _payment_of(self, body: Body) -> str | None:
        """What the Link session is to pay, where it is for that: then it is for nothing else."""
        if "payment_initiation" not in (body.get("products") or []):
            return None
        told = body.get("payment_initiation") or {}
        if body["products"] != ["payment_initiation"] or not told.get("payment_id"):
            raise PlaidError("INVALID_REQUEST", "INVALID_FIELD", "payment_initiation goes alone, with its payment_id")
        self.payments.begun(told["payment_id"], body.get("webhook"))
        payment_id: str = told["payment_id"]
        return payment_id

    def link_token_get(self, body: Body) -> Body:
        """The sessions of a link token, each with what it gave."""
        require(body, "link_token")
        kept = self.link_token(body["link_token"])
        sessions = [
            {"link_session_id": f"session-{n}", "results": {"item_add_results": [{"public_token": token}]}}
            for n, token in enumerate(kept.get("given", []))
        ]
        return {"link_token": body["link_token"], "expiration": kept["expires"], "link_sessions": sessions}

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
            self.items.repaired(kept["item_id"])
            return None
        public = self._public_token(bank, customer_id, kept.get("webhook"), kept["products"])
        self._book.put("plaid.link_token", token, {**kept, "given": [*kept.get("given", []), public]})
        return public

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
        self.items.tell(
            item,
            "TRANSACTIONS",
            "SYNC_UPDATES_AVAILABLE",
            {"initial_update_complete": True, "historical_update_complete": True},
        )
        return {"access_token": token, "item_id": kept["item_id"]}

    # -- accounts and transactions ---------------------------------------------------------------------------------------

    def accounts_get(self, body: Body) -> Body:
        item = self.items.named(body)
        self._world.catch_up()
        return {"accounts": self._accounts(item), "item": self.items.shown(item)}

    def _accounts(self, item: Body) -> list[Body]:
        return [self._account(one) for one in self._book.accounts_of(item["customer"])]

    def _account(self, account: Account) -> Body:
        booked, available = self._book.balances(account.id)
        current = account.kind == "CURRENT"
        official = self._book.fact("plaid.unofficial_currency") != account.id
        return {
            "account_id": account.id,
            "balances": {
                "available": number(available),
                "current": number(booked),
                "limit": None,
                "iso_currency_code": account.currency if official else None,
                "unofficial_currency_code": None if official else "DOGE",
            },
            "mask": account.number[-4:],
            "name": account.name,
            "official_name": f"{BANKS[account.bank].name} {account.name}",
            "persistent_account_id": account.id,
            "type": "depository",
            "subtype": "checking" if current else "savings",
        }

    def transactions_sync(self, body: Body) -> Body:
        item = self.items.named(body)
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


def _institution(bank: Bank) -> Body:
    return {
        "institution_id": f"ins_{bank.id}",
        "name": bank.name,
        "products": ["transactions", "balance", *(["payment_initiation"] if bank.currency in CURRENCIES else [])],
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
