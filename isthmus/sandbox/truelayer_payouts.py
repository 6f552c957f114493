"""TrueLayer's payouts v3: from the client's own account to anybody's.

Source: docs.truelayer.com (payouts). pending → authorized → executed, or failed from each of them but the last.
"""

from __future__ import annotations

from datetime import timedelta

from starlette.requests import Request

from isthmus.sandbox.answers import World
from isthmus.sandbox.clock import iso
from isthmus.sandbox.transfers import Transfer, receive
from isthmus.sandbox.truelayer_door import TrueLayerDoor
from isthmus.sandbox.truelayer_errors import Body, Problem
from isthmus.sandbox.truelayer_merchant import TrueLayerMerchant
from isthmus.sandbox.truelayer_webhooks import TrueLayerWebhooks
from isthmus.sandbox.truelayer_wishes import SCHEMES, check_payout

_NEXT = {
    "pending": ("authorized", "failed"),
    "authorized": ("executed", "failed"),
    "executed": (),
    "failed": (),
}
_STEP_S = "0.5"


class TrueLayerPayouts:
    """`routes` stand for api.truelayer.com/v3."""

    def __init__(
        self, world: World, door: TrueLayerDoor, webhooks: TrueLayerWebhooks, merchant: TrueLayerMerchant
    ) -> None:
        self._world = world
        self._book = world.book
        self._webhooks = webhooks
        self._merchant = merchant
        world.timers["truelayer.payout"] = self._step
        self.routes = [
            door.writes("/v3/payouts", self._create),
            door.reads("/v3/payouts/{payout}", lambda request, _: (200, _shown(self._named(request)))),
        ]

    def _create(self, _: Request, body: Body) -> tuple[int, Body]:
        check_payout(body)
        payout = {
            "id": self._world.uuid(),
            "status": "pending",
            "created_at": iso(self._world.clock.now()),
            **{name: body[name] for name in ("merchant_account_id", "amount_in_minor", "currency", "beneficiary")},
            **({"metadata": body["metadata"]} if body.get("metadata") else {}),
        }
        self._keep(payout)
        self._soon(payout)
        return 202, {"id": payout["id"]}

    def _soon(self, payout: Body) -> None:
        if self._book.fact("truelayer.hold") is None:
            pause = timedelta(seconds=float(self._book.fact("truelayer.step_s") or _STEP_S))
            self._world.later("truelayer.payout", self._world.clock.now() + pause, payout=payout["id"])

    def _step(self, due: Body) -> None:
        payout = self._kept(due["payout"])
        if payout["status"] == "pending":
            self._soon(self._move(payout, "authorized"))
        elif payout["status"] == "authorized":
            self._execute(payout)

    def _execute(self, payout: Body) -> None:
        account, amount = payout["merchant_account_id"], payout["amount_in_minor"]
        if self._merchant.balance(account) < amount:
            self._move(payout, "failed", failure_reason="insufficient_funds")
            return
        self._merchant.move(
            account,
            payout["id"],
            -amount,
            type="payout",
            currency=payout["currency"],
            status="executed",
            created_at=payout["created_at"],
            executed_at=iso(self._world.clock.now()),
            beneficiary=payout["beneficiary"],
            context_code="withdrawal",
            payout_id=payout["id"],
        )
        receive(self._world, _transfer(payout), "Isthmus")
        self._move(payout, "executed")

    def made(self, amount: int) -> int:
        """How many there are of that amount, whatever became of them."""
        return sum(one["amount_in_minor"] == amount for one in self._book.all("truelayer.payout").values())

    def told(self, payout_id: str, status: str, reason: str = "unknown_error") -> None:
        """What becomes of a payout now. Raises ValueError where it cannot come to that."""
        payout = self._kept(payout_id)
        if status not in _NEXT[payout["status"]]:
            raise ValueError(f"a payout that is {payout['status']} cannot become {status}")
        match status:
            case "executed":
                self._execute(payout)
            case "failed":
                self._move(payout, "failed", failure_reason=reason)
            case _:
                self._move(payout, status)

    def _move(self, payout: Body, status: str, **more: object) -> Body:
        payout = {**payout, "status": status, f"{status}_at": iso(self._world.clock.now()), **more}
        self._keep(payout)
        if status in ("executed", "failed"):
            names = (f"{status}_at", "failure_reason", "merchant_account_id", "metadata", "beneficiary")
            told = {name: payout[name] for name in names if name in payout}
            scheme = SCHEMES[payout["currency"]][0]
            self._webhooks.tell(f"payout_{status}", {"payout_id": payout["id"], "scheme_id": scheme, **told})
        return payout

    def _named(self, request: Request) -> Body:
        payout = self._book.get("truelayer.payout", request.path_params["payout"])
        if payout is None:
            raise Problem(404, "Not Found", "There is no such payout.")
        return payout

    def _kept(self, payout_id: str) -> Body:
        payout = self._book.get("truelayer.payout", payout_id)
        if payout is None:
            raise ValueError("no such payout")
        return payout

    def _keep(self, payout: Body) -> None:
        self._book.put("truelayer.payout", payout["id"], payout)


def _shown(payout: Body) -> Body:
    return dict(payout)


def _transfer(payout: Body) -> Transfer:
    beneficiary = payout["beneficiary"]
    named = beneficiary["account_identifier"]
    to = named.get("iban") or f"{named.get('sort_code', '')}{named.get('account_number', '')}"
    return Transfer(
        payout["id"].replace("-", ""),
        payout["amount_in_minor"],
        payout["currency"],
        beneficiary["account_holder_name"],
        to,
        beneficiary["reference"],
    )
