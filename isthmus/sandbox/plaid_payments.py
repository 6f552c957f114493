"""Plaid's payment initiation: a recipient, a payment to it, and what becomes of it once a person has been to their bank in a Link session.

Source: the OpenAPI document that plaid-python 46 is made from, and plaid.com/docs/payment-initiation. Making a payment has no idempotency
key: asked twice there are two, and each of them can be authorised.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import orjson

from isthmus.sandbox.answers import World, number
from isthmus.sandbox.book import Account, Customer
from isthmus.sandbox.clock import iso
from isthmus.sandbox.plaid_errors import Body, PlaidError, require
from isthmus.sandbox.plaid_keys import SigningKeys
from isthmus.sandbox.seeding import BANKS, Bank
from isthmus.sandbox.transfers import Transfer, is_iban, minor_of, pay, payer_account

STATUSES = frozenset(
    (
        *("INPUT_NEEDED", "AUTHORISING", "PROCESSING", "INITIATED", "ESTABLISHED", "EXECUTED", "SETTLED", "COMPLETED"),
        *("INSUFFICIENT_FUNDS", "REJECTED", "FAILED", "BLOCKED", "CANCELLED", "UNKNOWN"),
    )
)
#: What `/sandbox/payment/simulate` takes.
_SIMULATED = STATUSES - {"INPUT_NEEDED", "PROCESSING", "ESTABLISHED", "COMPLETED", "UNKNOWN"}
CURRENCIES = frozenset({"GBP", "EUR"})
_WORD = "PAYMENT_STATUS_"
_STEP_S = "1"
#: "An alphanumeric string with at most 18 characters": blanks are taken too.
_REFERENCE = re.compile(r"[A-Za-z0-9 ]{1,18}")


class PlaidPayments:
    """Its paths are Plaid's own, and its Link sessions are Link's."""

    def __init__(self, world: World, keys: SigningKeys) -> None:
        self._world = world
        self._book = world.book
        self._keys = keys
        world.timers["plaid.step"] = self._step
        self.paths = {
            "/payment_initiation/recipient/create": self._recipient_create,
            "/payment_initiation/recipient/get": self._recipient_get,
            "/payment_initiation/payment/create": self._create,
            "/payment_initiation/payment/get": lambda body: self._shown(self._named(body)),
            "/sandbox/payment/simulate": self._simulate,
        }

    # -- what the client does --------------------------------------------------------------------------------------------

    def _recipient_create(self, body: Body) -> Body:
        require(body, "name")
        if body.get("iban") is None and body.get("bacs") is None:
            raise _wrong("MISSING_FIELDS", "one of iban and bacs must be given")
        if body.get("iban") is not None and not is_iban(body["iban"]):
            raise _wrong("INVALID_FIELD", "iban is none")
        bacs = body.get("bacs")
        if bacs is not None and _number(bacs) is None:
            raise _wrong("INVALID_FIELD", "bacs must have a sort_code of six digits and an account")
        kept = {"name": body["name"], "iban": body.get("iban"), "bacs": bacs}
        known = [one for one, each in self._book.all("plaid.recipient").items() if each == kept]
        recipient_id = known[0] if known else f"recipient-id-sandbox-{self._world.uuid()}"
        self._book.put("plaid.recipient", recipient_id, kept)
        return {"recipient_id": recipient_id}

    def _recipient_get(self, body: Body) -> Body:
        require(body, "recipient_id")
        recipient = self._book.get("plaid.recipient", str(body["recipient_id"]))
        if recipient is None:
            raise PlaidError("PAYMENT_ERROR", "PAYMENT_INVALID_RECIPIENT", "there is no such recipient")
        return {"recipient_id": body["recipient_id"], **recipient}

    def _create(self, body: Body) -> Body:
        require(body, "recipient_id", "reference", "amount")
        recipient = self._book.get("plaid.recipient", body["recipient_id"])
        if recipient is None:
            raise PlaidError("PAYMENT_ERROR", "PAYMENT_INVALID_RECIPIENT", "there is no such recipient")
        if not isinstance(body["reference"], str) or _REFERENCE.fullmatch(body["reference"]) is None:
            raise PlaidError("PAYMENT_ERROR", "PAYMENT_INVALID_REFERENCE", "reference must have 1 to 18 characters")
        amount = body["amount"] if isinstance(body["amount"], dict) else {}
        currency, minor = amount.get("currency"), minor_of(amount.get("value"))
        if currency not in CURRENCIES or minor is None:
            raise _wrong("INVALID_FIELD", "amount must have a currency and a value above 0 with two places at most")
        if recipient["bacs" if currency == "GBP" else "iban"] is None:
            raise PlaidError(
                "PAYMENT_ERROR", "PAYMENT_INVALID_RECIPIENT", f"{currency} cannot be sent to the recipient"
            )
        options = body.get("options") or {}
        payment = {
            "payment_id": f"payment-id-sandbox-{self._world.uuid()}",
            "recipient_id": body["recipient_id"],
            "reference": body["reference"],
            "minor": minor,
            "currency": currency,
            "from": {name: options[name] for name in ("iban", "bacs") if options.get(name)},
            "status": "INPUT_NEEDED",
            "updated": iso(self._world.clock.now()),
            "webhook": None,
            "account": None,
        }
        self._keep(payment)
        return {"payment_id": payment["payment_id"], "status": _WORD + payment["status"]}

    def _simulate(self, body: Body) -> Body:
        require(body, "payment_id", "webhook", "status")
        payment, status = self._named(body), str(body["status"]).removeprefix(_WORD)
        if status not in _SIMULATED:
            raise PlaidError("SANDBOX_ERROR", "SANDBOX_STATUS_INVALID", "that is no status to simulate")
        self._keep(payment | {"webhook": body["webhook"]})
        self.told(payment["payment_id"], status)
        return {"old_status": _WORD + payment["status"], "new_status": _WORD + status}

    # -- in a Link session -----------------------------------------------------------------------------------------------

    def begun(self, payment_id: str, webhook: str | None) -> None:
        """A link token is made for it. Raises PlaidError where nobody can authorise it any more."""
        payment = self._named({"payment_id": payment_id})
        if payment["status"] != "INPUT_NEEDED":
            raise _wrong("INVALID_FIELD", f"the payment is {payment['status']}")
        self._keep(payment | {"webhook": webhook or payment["webhook"] or self._world.webhook("plaid")})

    def asked(self, payment_id: str) -> tuple[list[str], list[Bank]]:
        """What a person is asked for, and the banks that could do it. Raises PlaidError as `begun` does."""
        payment = self._named({"payment_id": payment_id})
        if payment["status"] != "INPUT_NEEDED":
            raise _wrong("INVALID_FIELD", f"the payment is {payment['status']}")
        line = f"pay {self._transfer(payment).shown} to {self._recipient(payment)['name']}"
        return [line], [one for one in BANKS.values() if one.currency == payment["currency"]]

    def answered(self, payment_id: str, customer: Customer | None) -> bool:
        """At the bank's page; None: declined. Whether it is authorised. A page that stood open too long changes nothing."""
        payment = self._kept(payment_id)
        if payment["status"] != "INPUT_NEEDED":
            return False
        if customer is None:
            self._become(payment, "CANCELLED")
            return False
        account = self._payer(payment, customer)
        if account is None:
            self._become(payment, "REJECTED")
            return False
        self._soon(self._become(payment | {"account": account.id}, "AUTHORISING"))
        return True

    def _payer(self, payment: Body, customer: Customer) -> Account | None:
        named = (payment["from"].get("iban"), _number(payment["from"].get("bacs")))
        return payer_account(self._world, customer.id, payment["currency"], *named)

    # -- what the bank makes of it ---------------------------------------------------------------------------------------

    def _soon(self, payment: Body) -> None:
        if self._book.fact("plaid.hold") is None:
            pause = timedelta(seconds=float(self._book.fact("plaid.step_s") or _STEP_S))
            self._world.later("plaid.step", self._world.clock.now() + pause, payment=payment["payment_id"])

    def _step(self, due: Body) -> None:
        payment = self._kept(due["payment"])
        if payment["status"] == "AUTHORISING":
            self._soon(self._become(payment, "INITIATED"))
        elif payment["status"] == "INITIATED":
            self._pay(payment, "EXECUTED")

    def _pay(self, payment: Body, status: str) -> None:
        account = self._book.account(payment["account"]) if payment["account"] else None
        if account is None or not pay(self._world, account, self._transfer(payment)):
            self._become(payment, "INSUFFICIENT_FUNDS")
        else:
            self._become(payment, status)

    def told(self, payment_id: str, status: str) -> None:
        """What a bank says of it now: any text. The money moves where it is executed."""
        payment = self._kept(payment_id)
        status = status.removeprefix(_WORD)
        if status in ("EXECUTED", "SETTLED"):
            self._pay(payment, status)
        else:
            self._become(payment, status)

    def _become(self, payment: Body, status: str) -> Body:
        now = iso(self._world.clock.now())
        after = payment | {"status": status, "updated": now}
        self._keep(after)
        if status != payment["status"] and after["webhook"]:
            told = {
                "webhook_type": "PAYMENT_INITIATION",
                "webhook_code": "PAYMENT_STATUS_UPDATE",
                "payment_id": payment["payment_id"],
                "new_payment_status": _WORD + status,
                "old_payment_status": _WORD + payment["status"],
                "original_reference": payment["reference"],
                "adjusted_reference": payment["reference"],
                "original_start_date": None,
                "adjusted_start_date": None,
                "timestamp": now,
                "environment": "sandbox",
            }
            self._world.webhooks.send(after["webhook"], orjson.dumps(told, option=orjson.OPT_INDENT_2), self._keys.sign)
        return after

    # -- how it is shown -------------------------------------------------------------------------------------------------

    def _shown(self, payment: Body) -> Body:
        return {
            "payment_id": payment["payment_id"],
            "amount": {"currency": payment["currency"], "value": number(payment["minor"])},
            "status": _WORD + payment["status"],
            "recipient_id": payment["recipient_id"],
            "reference": payment["reference"],
            "adjusted_reference": payment["reference"],
            "last_status_update": payment["updated"],
            "bacs": payment["from"].get("bacs"),
            "iban": payment["from"].get("iban"),
            "schedule": None,
            "refund_details": None,
            "wallet_id": None,
            "scheme": None,
            "adjusted_scheme": None,
            "consent_id": None,
            "transaction_id": None,
            "end_to_end_id": None,
            "error": None,
        }

    def _transfer(self, payment: Body) -> Transfer:
        recipient = self._recipient(payment)
        to = _number(recipient["bacs"]) if payment["currency"] == "GBP" else recipient["iban"]
        name = payment["payment_id"].removeprefix("payment-id-sandbox-").replace("-", "")
        return Transfer(
            name, payment["minor"], payment["currency"], recipient["name"], to or "", reference=payment["reference"]
        )

    def _recipient(self, payment: Body) -> Body:
        recipient = self._book.get("plaid.recipient", payment["recipient_id"])
        assert recipient is not None, "the payment was made to it"
        return recipient

    def _named(self, body: Body) -> Body:
        require(body, "payment_id")
        payment = self._book.get("plaid.payment", str(body["payment_id"]))
        if payment is None:
            raise PlaidError("INVALID_INPUT", "INVALID_PAYMENT_ID", "could not find a payment of that id")
        return payment

    def _kept(self, payment_id: str) -> Body:
        payment = self._book.get("plaid.payment", payment_id)
        if payment is None:
            raise ValueError("no such payment")
        return payment

    def _keep(self, payment: Body) -> None:
        self._book.put("plaid.payment", payment["payment_id"], payment)


def _number(bacs: Any) -> str | None:
    """Sort code and number as one text."""
    if not isinstance(bacs, dict):
        return None
    code, account = str(bacs.get("sort_code", "")), str(bacs.get("account", ""))
    return f"{code}{account}" if re.fullmatch(r"\d{6}", code) and re.fullmatch(r"\d{8,10}", account) else None


def _wrong(code: str, message: str) -> PlaidError:
    return PlaidError("INVALID_REQUEST", code, message)
