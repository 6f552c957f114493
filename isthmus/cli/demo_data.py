"""The demo's accounts and movements: made by the same commands as everyone's, and idempotent, so that every `up` may run it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID, uuid5

from isthmus.auth.provider.users import DEMO_USERS
from isthmus.domain.accounts import OpenAccount
from isthmus.domain.deposits import SettleDeposit
from isthmus.domain.identifiers import person_id
from isthmus.domain.internal_transfers import NOBODY_IS_ASKED, TransferInternally
from isthmus.domain.personal import PersonalText
from isthmus.runtime.endpoints import Endpoints
from isthmus.runtime.moved_clock import running_clock
from isthmus.runtime.wiring import write_side
from isthmus.settings import Settings
from isthmus.write_models.commands import PLATFORM, CommandBus, Done, Envelope

_NAMESPACE = UUID("b1d0c6de-0d3c-5a50-8a55-6f5f7d1c5a01")
_ACTOR = "service:demo"


@dataclass(frozen=True)
class _Account:
    email: str
    name: str
    asset: str
    deposit: str | None

    @property
    def key(self) -> str:
        return f"demo-{self.email}-{self.name}"


_ACCOUNTS = (
    _Account("ada@example.com", "Everyday", "EUR", "2500.00"),
    _Account("ada@example.com", "Savings", "EUR", None),
    _Account("ada@example.com", "Travel", "GBP", "340.50"),
    _Account("grace@example.com", "Everyday", "EUR", "1200.00"),
    _Account("grace@example.com", "Ether", "ETH", None),
)
#: (from, to, amount, reference) by place in the list above.
_TRANSFERS = (
    (0, 1, "500.00", "first savings"),
    (0, 3, "87.66", "dinner on Friday"),
    (3, 0, "20.00", "taxi, your half"),
)


async def seed(settings: Settings, endpoints: Endpoints) -> int:
    """Returns the log position after which all of it is there."""
    subjects = {user.email: user.subject for user in DEMO_USERS}
    position = 0
    clock = running_clock(settings.data_dir, endpoints.database_url)
    async with write_side(settings, endpoints.database_url, clock) as side:
        people = [person_id(settings.issuer.name, subjects[account.email]) for account in _ACCOUNTS]
        accounts: list[UUID] = []
        for account, person in zip(_ACCOUNTS, people, strict=True):
            account_id = uuid5(_NAMESPACE, account.key)
            accounts.append(account_id)
            opened = OpenAccount(account_id, person, account.asset, PersonalText(account.name))
            position = await _run(side.commands, opened, person, "openAccount", account.key)
            if account.deposit is not None:
                key = f"{account.key}-deposit"
                deposit = SettleDeposit(
                    uuid5(_NAMESPACE, key),
                    account_id,
                    person,
                    Decimal(account.deposit),
                    account.asset,
                    "demo",
                    PersonalText("Opening deposit"),
                )
                position = await _run(side.commands, deposit, PLATFORM, "settleDeposit", key)
        for number, (source, target, amount, reference) in enumerate(_TRANSFERS):
            key = f"demo-transfer-{number}"
            transfer = TransferInternally(
                uuid5(_NAMESPACE, key),
                people[source],
                accounts[source],
                accounts[target],
                Decimal(amount),
                _ACCOUNTS[source].asset,
                PersonalText(reference),
                NOBODY_IS_ASKED,
            )
            position = await _run(side.commands, transfer, people[source], "transferInternally", key)
    return position


async def _run(commands: CommandBus, command: object, person: UUID, mutation: str, key: str) -> int:
    envelope = Envelope(_ACTOR, person, mutation, key, {"demo": key}, correlation_id=str(uuid5(_NAMESPACE, key)))
    outcome = await commands.run(command, envelope)
    if not isinstance(outcome, Done):
        raise RuntimeError(f"the demo data were refused: {outcome.refusal.code}")
    return outcome.position
