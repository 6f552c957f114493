"""TrueLayer's payments v3: created, authorised by a person at their bank, executed, and settled where the payee is the client itself.

Source: docs.truelayer.com and TrueLayer/truelayer-java. Amounts are whole minor units. What a payment may become next is `_NEXT`.
"""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

from starlette.requests import Request

from isthmus.sandbox.answers import World, text
from isthmus.sandbox.bank_pages import BankPages
from isthmus.sandbox.book import Account, Customer
from isthmus.sandbox.clock import iso
from isthmus.sandbox.seeding import BANKS
from isthmus.sandbox.transfers import Transfer, current_account, pay
from isthmus.sandbox.truelayer_door import TrueLayerDoor
from isthmus.sandbox.truelayer_errors import Body, Problem, bank_of, provider_id
from isthmus.sandbox.truelayer_merchant import TrueLayerMerchant
from isthmus.sandbox.truelayer_webhooks import TrueLayerWebhooks
from isthmus.sandbox.truelayer_wishes import SCHEMES, check

#: Settled: with the client's own account only. A failed attempt may be begun again, where the client wishes for that.
_NEXT: dict[str, frozenset[str]] = {
    "authorization_required": frozenset({"authorizing", "failed"}),
    "authorizing": frozenset({"authorized", "attempt_failed", "failed"}),
    "attempt_failed": frozenset({"authorizing", "failed"}),
    "authorized": frozenset({"executed", "failed"}),
    "executed": frozenset({"settled"}),
    "settled": frozenset(),
    "failed": frozenset(),
}
_TOLD = ("authorized", "executed", "settled", "failed")
#: How long a person may take; from memory.
_AUTHORIZING_LASTS = timedelta(minutes=15)
_STEP_S = "1"


class TrueLayerPayments:
    """`routes` stand for api.truelayer.com/v3. `redirect_uris`: where a person may be sent back to."""

    def __init__(
        self,
        world: World,
        pages: BankPages,
        door: TrueLayerDoor,
        webhooks: TrueLayerWebhooks,
        merchant: TrueLayerMerchant,
        redirect_uris: frozenset[str],
    ) -> None:
        self._world = world
        self._book = world.book
        self._pages = pages
        self._webhooks = webhooks
        self._merchant = merchant
        self._redirect_uris = redirect_uris
        pages.answered["truelayer.payment"] = self._answered
        world.timers["truelayer.step"] = self._step
        world.timers["truelayer.expires"] = self._expired
        one = "/v3/payments/{payment}"
        self.routes = [
            door.writes("/v3/payments", self._create),
            door.reads(one, lambda request, _: (200, self._shown(self._named(request)))),
            door.writes(f"{one}/authorization-flow", self._begin),
            door.writes(f"{one}/authorization-flow/actions/provider-selection", self._select),
            door.writes(f"{one}/actions/cancel", self._cancel),
        ]

    # -- what the client does --------------------------------------------------------------------------------------------

    def _create(self, _: Request, body: Body) -> tuple[int, Body]:
        check(body)
        payment_id, resource = self._world.uuid(), self._world.token("tl-resource-")
        selection = body["payment_method"]["provider_selection"]
        payment = {
            "id": payment_id,
            "status": "authorization_required",
            "created_at": iso(self._world.clock.now()),
            "user": {"id": body["user"].get("id") or self._world.uuid()},
            **{name: body[name] for name in ("amount_in_minor", "currency", "payment_method")},
            **({"metadata": body["metadata"]} if body.get("metadata") else {}),
            "_bank": bank_of(str(selection.get("provider_id"))),
            "_account": None,
            "_next": None,
            "_return_uri": None,
        }
        self._keep(payment)
        self._book.put("truelayer.resource", resource, {"payment": payment_id})
        self._world.later("truelayer.expires", self._world.clock.now() + _AUTHORIZING_LASTS, payment=payment_id)
        made = {name: payment[name] for name in ("id", "user", "status")}
        return 201, {**made, "resource_token": resource}

    def _begin(self, request: Request, body: Body) -> tuple[int, Body]:
        payment = self._named(request)
        return_uri = (body.get("redirect") or {}).get("return_uri")
        if return_uri not in self._redirect_uris:
            raise _wrong("redirect.return_uri", "is not one that is registered")
        if payment["status"] not in ("authorization_required", "attempt_failed"):
            raise _not_now(payment)
        if payment["_bank"] is None and "provider_selection" not in body:
            raise _wrong("provider_selection", "is required where the person chooses the provider")
        payment["_return_uri"] = return_uri
        payment["_next"] = self._at_the_bank(payment) if payment["_bank"] else self._choice(payment)
        payment = self._move(payment, "authorizing")
        return 200, {name: self._shown(payment)[name] for name in ("status", "authorization_flow")}

    def _select(self, request: Request, body: Body) -> tuple[int, Body]:
        payment = self._named(request)
        if payment["status"] != "authorizing" or payment["_next"]["type"] != "provider_selection":
            raise _not_now(payment)
        bank = bank_of(str(body.get("provider_id")))
        if bank is None or bank not in [bank_of(one["id"]) for one in payment["_next"]["providers"]]:
            raise _wrong("provider_id", "is not one that can be chosen")
        payment["_bank"] = bank
        payment["_next"] = self._at_the_bank(payment)
        self._keep(payment)
        return 200, {name: self._shown(payment)[name] for name in ("status", "authorization_flow")}

    def _cancel(self, request: Request, _: Body) -> tuple[int, Body]:
        payment = self._named(request)
        if payment["status"] not in ("authorization_required", "authorizing", "attempt_failed"):
            raise _not_now(payment)
        self._fail(payment, "canceled")
        return 202, {}

    def _choice(self, payment: Body) -> Body:
        asked = payment["payment_method"]["provider_selection"].get("filter") or {}
        countries, some = asked.get("countries"), asked.get("provider_ids")
        providers = [
            {"id": provider_id(one.id), "display_name": one.name, "country_code": one.country}
            for one in BANKS.values()
            if one.currency == payment["currency"]
            and (not countries or one.country in countries)
            and (not some or provider_id(one.id) in some)
        ]
        return {"type": "provider_selection", "providers": providers}

    def _at_the_bank(self, payment: Body) -> Body:
        payee = payment["payment_method"]["beneficiary"].get("account_holder_name", "the app itself")
        lines = [f"pay {text(payment['amount_in_minor'])} {payment['currency']} to {payee}"]
        page = self._pages.ask(
            "truelayer.payment", payment["_bank"], "TrueLayer, for an app", lines, payment=payment["id"]
        )
        return {"type": "redirect", "uri": page, "metadata": {"type": "provider", "id": provider_id(payment["_bank"])}}

    # -- what becomes of it ----------------------------------------------------------------------------------------------

    def _answered(self, ask: dict[str, object], customer: Customer | None) -> str:
        payment = self._kept(str(ask["payment"]))
        back = f"{payment['_return_uri']}?{urlencode({'payment_id': payment['id']})}"
        if payment["status"] != "authorizing" or payment["_next"].get("uri", "").rpartition("/")[2] != ask["id"]:
            return back  # it was cancelled, or is over, while the page stood open
        account = current_account(self._world, customer.id, payment["currency"]) if customer is not None else None
        if account is None and payment["payment_method"].get("retry") is not None:
            payment["_next"] = {"type": "retry", "retry_options": ["restart"]}
            self._move(payment, "attempt_failed", failure_stage="authorizing", failure_reason="authorization_failed")
        elif account is None:
            self._fail(payment, "authorization_failed")
        else:
            self._move(payment, "authorized", _account=account.id)
            self._soon(payment)
        return back

    def _soon(self, payment: Body) -> None:
        if self._book.fact("truelayer.hold") is None:
            pause = timedelta(seconds=float(self._book.fact("truelayer.step_s") or _STEP_S))
            self._world.later("truelayer.step", self._world.clock.now() + pause, payment=payment["id"])

    def _step(self, due: Body) -> None:
        payment = self._kept(due["payment"])
        if payment["status"] == "authorized":
            self._execute(payment)
        elif payment["status"] == "executed":
            self._settle(payment)

    def _execute(self, payment: Body) -> None:
        beneficiary = payment["payment_method"]["beneficiary"]
        named = beneficiary.get("account_identifier") or {}
        to = named.get("iban") or f"{named.get('sort_code', '')}{named.get('account_number', '')}"
        transfer = Transfer(
            payment["id"].replace("-", ""),
            payment["amount_in_minor"],
            payment["currency"],
            beneficiary.get("account_holder_name", "TrueLayer"),
            to,
            beneficiary.get("reference", ""),
        )
        if not pay(self._world, self._account(payment), transfer):
            self._fail(payment, "insufficient_funds")
            return
        payment = self._move(payment, "executed")
        if beneficiary["type"] == "merchant_account":
            self._soon(payment)

    def _settle(self, payment: Body) -> None:
        """What was paid to the client itself lies in its account."""
        payment = self._move(payment, "settled")
        to = payment["payment_method"]["beneficiary"]["merchant_account_id"]
        told = {"payment_id": payment["id"], **{name: payment[name] for name in ("currency", "status", "settled_at")}}
        kind = "merchant_account_payment"
        self._merchant.move(to, self._world.uuid(), payment["amount_in_minor"], type=kind, **told)

    def _expired(self, due: Body) -> None:
        payment = self._kept(due["payment"])
        if payment["status"] in ("authorization_required", "authorizing", "attempt_failed"):
            self._fail(payment, "expired")

    def _fail(self, payment: Body, reason: str) -> None:
        self._move(payment, "failed", failure_stage=payment["status"], failure_reason=reason)

    def told(self, payment_id: str, status: str, reason: str = "provider_rejected") -> None:
        """What a bank does with a payment that was authorised, now. Raises ValueError where it cannot come to that."""
        payment = self._kept(payment_id)
        external = payment["payment_method"]["beneficiary"]["type"] == "external_account"
        if status not in _NEXT[payment["status"]] or (external and status == "settled"):
            raise ValueError(f"a payment that is {payment['status']} cannot become {status}")
        match status:
            case "failed":
                self._fail(payment, reason)
            case "executed":
                self._execute(payment)
            case "settled":
                self._settle(payment)
            case _:
                raise ValueError("a person does that, at the bank's page")

    def _move(self, payment: Body, status: str, **more: object) -> Body:
        assert status in _NEXT[payment["status"]], f"{payment['status']} never becomes {status}"
        at = iso(self._world.clock.now())
        if status == "authorizing":  # what an earlier attempt failed of is over
            payment = {name: value for name, value in payment.items() if not name.startswith("failure_")}
        payment = {**payment, "status": status, **({f"{status}_at": at} if status in _TOLD else {}), **more}
        self._keep(payment)
        if status in _TOLD:
            self._webhooks.tell(f"payment_{status}", self._event(payment))
        return payment

    # -- how it is shown -------------------------------------------------------------------------------------------------

    def _event(self, payment: Body) -> Body:
        selection = payment["payment_method"]["provider_selection"]
        scheme = selection.get("scheme_id") or SCHEMES[payment["currency"]][0]
        bank = payment["_bank"]
        method = {"type": "bank_transfer", "scheme_id": scheme, **({"provider_id": provider_id(bank)} if bank else {})}
        names = (f"{payment['status']}_at", "failure_stage", "failure_reason", "metadata")
        told = {name: payment[name] for name in names if name in payment}
        source = {"payment_source": self._source(payment)} if payment["_account"] else {}
        return {"payment_id": payment["id"], "payment_method": method, **told, **source}

    def _shown(self, payment: Body) -> Body:
        told = {name: value for name, value in payment.items() if not name.startswith("_")}
        if payment["status"] in ("authorizing", "attempt_failed"):
            told["authorization_flow"] = {"actions": {"next": payment["_next"]}}
        if payment["_account"]:
            told["payment_source"] = self._source(payment)
        return told

    def _source(self, payment: Body) -> Body:
        account = self._account(payment)
        customer = self._book.customer_by_id(account.customer)
        assert customer is not None, "an account has a customer"
        ids: list[Body] = [{"type": "iban", "iban": account.iban}]
        if account.sort_code:
            sort_code = {"sort_code": account.sort_code, "account_number": account.number}
            ids.append({"type": "sort_code_account_number", **sort_code})
        return {"id": account.id, "account_holder_name": customer.full_name, "account_identifiers": ids}

    def _account(self, payment: Body) -> Account:
        account = self._book.account(payment["_account"])
        assert account is not None, "it was authorised from there"
        return account

    def _named(self, request: Request) -> Body:
        payment = self._book.get("truelayer.payment", request.path_params["payment"])
        if payment is None:
            raise Problem(404, "Not Found", "There is no such payment.")
        return payment

    def _kept(self, payment_id: str) -> Body:
        payment = self._book.get("truelayer.payment", payment_id)
        if payment is None:
            raise ValueError("no such payment")
        return payment

    def _keep(self, payment: Body) -> None:
        self._book.put("truelayer.payment", payment["id"], payment)


def _wrong(field: str, sentence: str) -> Problem:
    return Problem(400, "Invalid Parameters", "The request is not what it must be.", {field: [sentence]})


def _not_now(payment: Body) -> Problem:
    return Problem(409, "Invalid State", f"The payment is {payment['status']}.")
