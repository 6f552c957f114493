"""The command bus as a door for intents: what the API does with them, without the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from isthmus.domain.accounts import AccountOpened, OpenAccount
from isthmus.domain.deposits import SettleDeposit
from isthmus.domain.internal_transfers import NOBODY_IS_ASKED, TransferInternally
from isthmus.domain.ledger import JournalPosted
from isthmus.domain.personal import PersonalText
from isthmus.graphql.ids import Kind as IdKind
from isthmus.graphql.ids import account_key, encode
from isthmus.torture.intents import Intent, Kind, Outcome
from isthmus.write_models.commands import PLATFORM, CommandBus, Envelope
from isthmus.write_models.envelope import Done, Refused


@dataclass
class DirectDoor:
    """All accounts belong to `person`. Sends to the buses in turn, as a load balancer would."""

    buses: tuple[CommandBus, ...]
    person: UUID
    sent: int = 0

    async def send(self, intent: Intent, correlation_id: str) -> Outcome:
        self.sent += 1
        bus = self.buses[self.sent % len(self.buses)]
        scope = PLATFORM if intent.mutation == "settleDeposit" else self.person
        envelope = Envelope(
            f"person:{self.person}", scope, intent.mutation, intent.key, dict(intent.input), correlation_id
        )
        try:
            outcome = await bus.run(self._command(intent.mutation, intent.input), envelope)
        except Exception as error:
            return Outcome(Kind.UNKNOWN, code=type(error).__name__)
        if isinstance(outcome, Refused):
            payload = {"errors": [{"code": outcome.refusal.code.value}], "replayed": outcome.replayed}
            return Outcome(Kind.REFUSED, payload, outcome.refusal.code.value)
        return Outcome(Kind.OK, _answer(outcome))

    def _command(self, mutation: str, wish: Mapping[str, Any]) -> object:
        match mutation:
            case "openAccount":
                return OpenAccount(uuid4(), self.person, wish["asset"], PersonalText(wish["name"]))
            case "settleDeposit":
                account, amount = account_key(wish["accountId"]), Decimal(wish["amount"]["amount"])
                reference = PersonalText(wish["reference"])
                return SettleDeposit(uuid4(), account, self.person, amount, "EUR", "demo", reference)
            case _:
                source, target = account_key(wish["fromAccountId"]), account_key(wish["toAccountId"])
                amount, reference = Decimal(wish["amount"]["amount"]), PersonalText(wish["reference"])
                return TransferInternally(
                    uuid4(), self.person, source, target, amount, "EUR", reference, NOBODY_IS_ASKED
                )


def _answer(done: Done) -> dict[str, Any]:
    answer: dict[str, Any] = {"position": str(done.position), "replayed": done.replayed, "errors": []}
    for recorded in done.events:
        event = recorded.event
        if isinstance(event, AccountOpened) and event.owner is not None:
            answer["account"] = {"id": encode(IdKind.ACCOUNT, event.account_id)}
        if isinstance(event, JournalPosted):
            answer["journal"] = {"id": str(event.journal_id), "correlationId": recorded.correlation_id}
    return answer
