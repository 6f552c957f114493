"""What tests and people tell the sandbox itself, under `/sandbox/`: the time, what happens in an account, how to misbehave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isthmus.sandbox.answers import World, json_body, json_response, text
from isthmus.sandbox.book import BOOKED, CANCELLED, PENDING, Account, Customer, Movement
from isthmus.sandbox.clock import iso, read_iso
from isthmus.sandbox.misbehaviour import Misbehaviour, Rule
from isthmus.sandbox.seeding import BANKS, PASSWORD
from isthmus.sandbox.transfers import transferred

Work = Callable[[dict[str, Any]], Any]
_TIMES_MAX = 10_000


class Control:
    """Answers 400 with a sentence where it is told nonsense."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.misbehaviour: Misbehaviour | None = None
        #: What happens behind an app's back, by name.
        self.actions: dict[str, Work] = {}
        self.routes = [
            _route("/sandbox/clock", lambda _: self._time(), "GET"),
            _route("/sandbox/clock", self._set_clock, "POST"),
            _route("/sandbox/accounts", lambda _: [self._account(one) for one in world.book.accounts()], "GET"),
            _route("/sandbox/accounts", self._open, "POST"),
            _route("/sandbox/customers", self._join, "POST"),
            Route("/sandbox/movements", self._movements, methods=["GET"]),
            _route("/sandbox/movements", self._add, "POST"),
            _route("/sandbox/movements/withdraw", self._withdraw, "POST"),
            _route("/sandbox/movements/settle", self._settle, "POST"),
            _route("/sandbox/movements/amend", self._amend, "POST"),
            _route("/sandbox/misbehaviour", self._misbehave, "POST"),
            _route("/sandbox/misbehaviour", lambda _: self._behave(), "DELETE"),
            _route("/sandbox/facts", self._fact, "POST"),
            _route("/sandbox/actions", self._act, "POST"),
            _route("/sandbox/webhooks", lambda _: self._webhooks(), "GET"),
            _route("/sandbox/webhooks/again", self._send_again, "POST"),
        ]

    def _time(self) -> dict[str, str]:
        return {"now": iso(self._world.clock.now())}

    def _set_clock(self, body: dict[str, Any]) -> dict[str, str]:
        if "now" in body:
            self._world.clock.set(read_iso(body["now"]))
        else:
            self._world.clock.advance(timedelta(seconds=float(body["advance_s"])))
        self._world.catch_up()
        return self._time()

    def _account(self, account: Account) -> dict[str, Any]:
        booked, available = self._world.book.balances(account.id)
        customer = self._world.book.customer_by_id(account.customer)
        assert customer is not None, "an account has a customer"
        return {
            **asdict(account),
            "username": customer.username,
            "booked": text(booked),
            "available": text(available),
            "transferred": text(transferred(self._world, account)),
        }

    def _open(self, body: dict[str, Any]) -> dict[str, Any]:
        """`bank`, `username`, `name`, and how much happens in it: `busy` movements a day at most, for `history_days`."""
        customer = self._world.book.customer(body["bank"], body["username"])
        if customer is None:
            raise ValueError("no such customer")
        account = self._world.seeding.open_account(
            customer,
            body["name"],
            self._world.clock.now(),
            busy=int(body.get("busy", 0)),
            history_days=body.get("history_days"),
        )
        self._world.catch_up()
        return self._account(account)

    def _join(self, body: dict[str, Any]) -> dict[str, Any]:
        """A new customer of a bank, without an account yet."""
        bank, username = BANKS[body["bank"]], str(body["username"])
        if self._world.book.customer(bank.id, username) is not None:
            raise ValueError("there is such a customer")
        name = str(body.get("full_name", username))
        customer = Customer(self._world.seeding.draw_id(bank.id, username), bank.id, username, PASSWORD, name)
        self._world.book.add_customer(customer)
        return {"bank": bank.id, "username": username, "full_name": name}

    async def _movements(self, request: Request) -> Response:
        """All of `account`, in whatever state, the newest first: the bank's own book."""
        self._world.catch_up()
        some = self._world.book.movements(request.query_params.get("account", ""), states=(BOOKED, PENDING, CANCELLED))
        return json_response([asdict(one) for one in some])

    def _add(self, body: dict[str, Any]) -> dict[str, Any]:
        """`account`, `amount` in minor units, `name`; `pending` with `books_in_s`, else booked at once. `times`: so many alike.
        Returns the last."""
        account = self._world.book.account(body["account"])
        if account is None:
            raise ValueError("no such account")
        now = self._world.clock.now()
        pending = bool(body.get("pending"))
        books_at = now + timedelta(seconds=float(body.get("books_in_s", 86_400))) if pending else now
        some = [
            Movement(
                id=self._world.token("")[:32],
                account=account.id,
                at=iso(now),
                amount=int(body["amount"]),
                currency=account.currency,
                name=body["name"],
                reference=body.get("reference", ""),
                category=body.get("category", "OTHER"),
                counterparty_account=body.get("counterparty_account"),
                state=PENDING if pending else BOOKED,
                books_at=iso(books_at),
                booked_at=None if pending else iso(now),
            )
            for _ in range(min(max(int(body.get("times", 1)), 1), _TIMES_MAX))
        ]
        self._world.book.add_movements(some)
        self._world.tell([account.id])
        return asdict(some[-1])

    def _withdraw(self, body: dict[str, Any]) -> dict[str, Any]:
        """A bank takes back what it had booked. `again`: it books the same anew, under another id; then that is returned."""
        movement = self._movement(body)
        if movement.state != BOOKED:
            raise ValueError("it is not booked")
        with self._world.book.writing():
            self._world.book.set_state(movement, CANCELLED, movement.books_at)
            if body.get("again"):
                movement = replace(movement, id=self._world.token("")[:32])
                self._world.book.add_movements([movement])
        self._world.tell([movement.account])
        return asdict(movement)

    def _settle(self, body: dict[str, Any]) -> dict[str, Any]:
        """A pending movement is booked now, or `cancelled`."""
        movement = self._movement(body)
        if movement.state != PENDING:
            raise ValueError("it is not pending")
        state = CANCELLED if body.get("cancelled") else BOOKED
        self._world.book.set_state(movement, state, iso(self._world.clock.now()))
        self._world.tell([movement.account])
        return asdict(self._movement(body))

    def _amend(self, body: dict[str, Any]) -> dict[str, Any]:
        movement = self._movement(body)
        name, amount = body.get("name", movement.name), int(body.get("amount", movement.amount))
        self._world.book.amend(movement, name=name, amount=amount)
        self._world.tell([movement.account])
        return asdict(self._movement(body))

    def _movement(self, body: dict[str, Any]) -> Movement:
        movement = self._world.book.movement(body["movement"])
        if movement is None:
            raise ValueError("no such movement")
        return movement

    def _misbehave(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        assert self.misbehaviour is not None, "the app is wrapped in it"
        self.misbehaviour.rules.append(Rule(**body))
        return [asdict(rule) for rule in self.misbehaviour.rules]

    def _behave(self) -> list[Any]:
        assert self.misbehaviour is not None, "the app is wrapped in it"
        self.misbehaviour.rules.clear()
        return []

    def _fact(self, body: dict[str, Any]) -> dict[str, Any]:
        self._world.book.set_fact(body["name"], body.get("value"))
        return body

    def _act(self, body: dict[str, Any]) -> Any:
        action = self.actions.get(body["action"])
        if action is None:
            raise ValueError(f"no such action; one of {', '.join(self.actions)}")
        with self._world.book.writing():
            return action(body)

    def _send_again(self, body: dict[str, Any]) -> dict[str, Any]:
        """The webhook of that `index` in the list comes once more, as replays do: the same body, signed anew."""
        sent = self._world.webhooks.deliveries[int(body["index"])]
        self._world.webhooks.send(sent.url, sent.body, sent.sign)
        return {"url": sent.url}

    def _webhooks(self) -> list[dict[str, Any]]:
        return [
            {
                "url": one.url,
                "body": one.body.decode(),
                "statuses": one.statuses,
                "taken": one.taken,
                "given_up": one.given_up,
            }
            for one in self._world.webhooks.deliveries
        ]


def _route(path: str, work: Work, method: str) -> Route:
    async def answer(request: Request) -> Response:
        body = await json_body(request)
        try:
            return json_response(work({} if body is None else body))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            return json_response({"error": f"{type(error).__name__}: {error}"}, 400)

    return Route(path, answer, methods=[method])
