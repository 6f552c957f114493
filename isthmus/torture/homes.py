"""Where clients go: the server that each keeps to, and whose door an intent goes through."""

from __future__ import annotations

from dataclasses import dataclass

from isthmus.torture.clients import Client
from isthmus.torture.intents import Intent, Outcome
from isthmus.torture.system import System


@dataclass
class Home:
    """The server that a client keeps to, until it does not answer. First they all go to one that is favoured."""

    system: System
    number: int

    @property
    def name(self) -> str:
        return self.system.favoured or self.system.serves[self.number % len(self.system.serves)]

    def url(self) -> str:
        return self.system.client_url(self.name)

    def leave(self) -> None:
        if self.system.favoured is None:
            self.number += 1
        self.system.favoured = None

    def life(self) -> object:
        """Another one is another server, or the same after it died."""
        return self.name, self.system.lives[self.name]


@dataclass
class OwnDoors:
    """Each intent goes through the door of the client that had it."""

    clients: dict[str, Client]

    async def send(self, intent: Intent, correlation_id: str) -> Outcome:
        client = self.clients[intent.client]
        operators = ("settleDeposit", "freezeAccount", "unfreezeAccount")
        return await (client.operator if intent.mutation in operators else client.door).send(intent, correlation_id)
