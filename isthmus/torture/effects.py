"""What a command must have left in the log: read from stored JSON, without the code that wrote it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from isthmus.torture.intents import Intent, Kind


@dataclass(frozen=True)
class Stored:
    """A row of the event store."""

    position: int
    type: str
    aggregate_id: UUID
    version: int
    correlation_id: str
    data: Mapping[str, Any]


#: The event that is the command's effect; what else a command may record (a bank's account opened) comes beside it.
_EFFECT = {
    "transferInternally": "JournalPosted",
    "settleDeposit": "JournalPosted",
    "openAccount": "AccountOpened",
    "renameAccount": "AccountRenamed",
    "freezeAccount": "AccountFrozen",
    "unfreezeAccount": "AccountUnfrozen",
    "closeAccount": "AccountClosed",
    "initiatePayment": "PaymentInitiated",
    "topUp": "PaymentInitiated",
    "cancelPayment": "PaymentCancelled",
}
#: Nothing is recorded where it is so already.
_MAY_BE_DONE_ALREADY = frozenset({"renameAccount", "freezeAccount", "unfreezeAccount", "cancelPayment"})


def account_uuid(global_id: str) -> UUID:
    """The account behind an id of the API: two letters and 16 bytes in URL-safe base64."""
    return UUID(bytes=base64.urlsafe_b64decode(global_id + "=" * (-len(global_id) % 4))[2:18])


def effects_of(intent: Intent, events: Sequence[Stored]) -> list[Stored]:
    return [event for event in events if event.type == _EFFECT[intent.mutation]]


def may_have_no_effect(intent: Intent) -> bool:
    return intent.mutation in _MAY_BE_DONE_ALREADY


def fault_of(intent: Intent, event: Stored) -> str | None:
    """Where the event is not what the intent asked for: in what."""
    wish = intent.input
    match intent.mutation:
        case "transferInternally":
            asked = {
                (str(account_uuid(wish["fromAccountId"])), "DEBIT", Decimal(wish["amount"]["amount"])),
                (str(account_uuid(wish["toAccountId"])), "CREDIT", Decimal(wish["amount"]["amount"])),
            }
            return None if asked == legs_of(event) else f"legs {sorted(map(str, legs_of(event)))}"
        case "settleDeposit":
            asked = {(str(account_uuid(wish["accountId"])), "CREDIT", Decimal(wish["amount"]["amount"]))}
            return None if asked < legs_of(event) else f"legs {sorted(map(str, legs_of(event)))}"
        case "openAccount":
            return None if event.data["asset"] == wish["asset"] else f"asset {event.data['asset']}"
        case "initiatePayment" | "topUp":
            target = str(account_uuid(wish["toAccountId"])) if "toAccountId" in wish else None
            wanted = (
                account_uuid(wish["fromAccountId"]),
                Decimal(wish["amount"]["amount"]),
                wish["amount"]["asset"],
                target,
            )
            told = event.data
            found = UUID(told["from_account_id"]), Decimal(told["amount"]), told["asset"], told.get("credits")
            return None if wanted == found else f"{found}"
        case "cancelPayment":
            return None if event.aggregate_id == account_uuid(wish["paymentId"]) else f"payment {event.aggregate_id}"
        case _:
            return None if event.aggregate_id == account_uuid(wish["accountId"]) else f"account {event.aggregate_id}"


def legs_of(event: Stored) -> set[tuple[str, str, Decimal]]:
    return {(leg["account_id"], leg["direction"], Decimal(leg["amount"])) for leg in event.data["legs"]}


class ClientsBook:
    """The clients' own ledger (O6): what they were told was done, summed by account, and how many journals that makes."""

    def __init__(self) -> None:
        self.posted: dict[UUID, Decimal] = {}
        self.journals = 0

    def enter(self, intent: Intent) -> None:
        outcome = intent.definite
        if outcome is None or outcome.kind is not Kind.OK or intent.probe:
            return
        wish = intent.input
        if intent.mutation == "transferInternally":
            amount = Decimal(wish["amount"]["amount"])
            self._move(wish["fromAccountId"], -amount)
            self._move(wish["toAccountId"], amount)
            self.journals += 1
        elif intent.mutation == "settleDeposit":
            self._move(wish["accountId"], Decimal(wish["amount"]["amount"]))
            self.journals += 1

    def pay_out(self, account: UUID, amount: Decimal) -> None:
        """A payment that the bank carried out."""
        self.posted[account] = self.posted.get(account, Decimal(0)) - amount
        self.journals += 1

    def note(self) -> None:
        """A payment that another bank carried out: its money was never here."""
        self.journals += 1

    def bring(self, account: UUID, amount: Decimal) -> None:
        """A payment to us that has arrived."""
        self.posted[account] = self.posted.get(account, Decimal(0)) + amount
        self.journals += 1

    def _move(self, account: str, amount: Decimal) -> None:
        key = account_uuid(account)
        self.posted[key] = self.posted.get(key, Decimal(0)) + amount
