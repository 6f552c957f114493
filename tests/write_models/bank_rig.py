"""Banking without the API: a sandbox, the product's own parts on a database, and a person who links a bank. For synchronous tests.

The product's clock is set to the sandbox's before each reading: banks and we agree on what time it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import structlog

from isthmus.domain.banking import BankProvider, Credential, RedirectTo, SyncPage
from isthmus.domain.clock import SettableClock
from isthmus.domain.institutions import Routing
from isthmus.domain.personal import PersonalText
from isthmus.domain.secrets import ProviderTokens
from isthmus.read_models.bank_transactions import BankPageOf, BankTransactionReader, BankTransactionRow
from isthmus.read_models.database import Sight
from isthmus.runtime.banking import Banking, banking
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import load_settings
from isthmus.write_models.envelope import Done, Envelope
from isthmus.write_models.institutions import refresh
from isthmus.write_models.link_wishes import Linked
from tests.conftest import Database
from tests.sandbox.running import REDIRECT, Sandbox, at_sandbox

HARBOUR = "harbour-bank-gb"


class Interrupted:
    """A provider during whose pages something happens: `between` is called after each page, once set."""

    def __init__(self, provider: BankProvider) -> None:
        self._provider = provider
        self.between: Callable[[int], Any] | None = None
        self.pages = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    async def sync(self, tokens: ProviderTokens, cursor: str | None) -> SyncPage:
        page = await self._provider.sync(tokens, cursor)
        self.pages += 1
        if self.between is not None:
            happening = self.between(self.pages)
            if asyncio.iscoroutine(happening):
                await happening
        return page


@dataclass
class Patience:
    """`calls.Manners` that a test may change: how long an answer is waited for."""

    deadline_s: float = 20.0
    attempts: int = 2
    breaker_failures: int = 10_000
    breaker_rest_s: float = 30.0


@dataclass
class Rig:
    run: Callable[[Any], Any]
    banks: Sandbox
    side: WriteSide
    banking: Banking
    clock: SettableClock
    providers: dict[str, Interrupted]
    manners: Patience
    customers: list[str] = field(default_factory=list)

    def now(self) -> datetime:
        """What time it is at the sandbox, and so for the product."""
        told = self.banks.http.get(f"{self.banks.url}/sandbox/clock").json()["now"]
        self.clock.set(max(self.clock.now(), datetime.fromisoformat(told)))
        return self.clock.now()

    def customer(self) -> str:
        self.customers.append(uuid4().hex)
        self.banks.tell("customers", bank="harbour", username=self.customers[-1])
        return self.customers[-1]

    def account(self, username: str, name: str = "Everyday") -> str:
        told = self.banks.tell("accounts", bank="harbour", username=username, name=name, busy=0)
        account: str = told["id"]
        return account

    def book(self, account: str) -> list[dict[str, Any]]:
        """What the bank itself has, without what was cancelled."""
        answer = self.banks.http.get(f"{self.banks.url}/sandbox/movements", params={"account": account})
        assert answer.status_code == 200, answer.text
        return [one for one in answer.json() if one["state"] != "CANCELLED"]

    def link(self, provider: str, person: UUID, username: str) -> UUID:
        self.now()
        links = self.banking.links
        links._routing = Routing((provider, *(name for name in self.providers if name != provider)), {})
        begun = self.run(links.start(person, HARBOUR, REDIRECT, envelope(person, "StartBankLink")))
        assert isinstance(begun, Linked), begun
        shown = begun.authorization
        assert shown is not None
        url = shown.url if isinstance(shown, RedirectTo) else f"{shown.hosted_url}?institution_id=ins_harbour"
        page = self.banks.http.get(url, follow_redirects=True)
        back = self.banks.approve(str(page.url), username).headers["location"]
        told = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
        if provider == "plaid":
            brought, state = Credential(public_token=told["public_token"]), None
        elif provider == "yapily":
            brought, state = Credential(code=told["one-time-token"]), told["application-user-id"]
        else:
            brought, state = Credential(code=told["code"]), told["state"]
        done = self.run(links.complete(person, begun.consent_id, brought, state, envelope(person, "CompleteBankLink")))
        assert isinstance(done, Linked), done
        return done.consent_id

    def sync(self, consent_id: UUID) -> str:
        self.now()
        outcome: str = self.run(self.banking.sync.run(consent_id, attended=True))
        return outcome

    def accounts(self, consent_id: UUID) -> dict[str, UUID]:
        """Our ids of the accounts of a link, by the provider's names for them."""
        query = "select m.reference, m.account_id from bank_account_mirrors m where m.link_id = $1"
        return {row["reference"]: row["account_id"] for row in self.run(self.side.pool.fetch(query, consent_id))}

    def shown(self, person: UUID, account_id: UUID) -> list[BankTransactionRow]:
        """As whoever reads sees them, but for what is gone."""
        reader = BankTransactionReader(self.side.pool, self.side.links)
        ((rows, more),) = self.run(reader.pages(Sight(person), [BankPageOf(account_id, 10_000, None, None)]))
        assert not more
        return [row for row in rows if row.status != "VOIDED"]

    def tag(self, person: UUID, transaction_id: UUID, text: str) -> None:
        wish = self.banking.links.tag(person, transaction_id, PersonalText(text), envelope(person, "Tag"))
        assert isinstance(self.run(wish), Done)


def envelope(person: UUID, mutation: str) -> Envelope:
    return Envelope(f"person:{person}", person, mutation, uuid4().hex, {}, "test")


@contextlib.contextmanager
def bank_rig(banks: Sandbox, database: Database, data_dir: Path) -> Iterator[Rig]:
    """Providers are asked twice at most, at once, and never left alone, so that what a test does to them takes no time. Windows reach
    back 100 days: one part an account."""

    manners = Patience()
    settings = load_settings(data_dir=data_dir, banking=at_sandbox(banks))
    clock = SettableClock(datetime.now(UTC))
    quiet = structlog.make_filtering_bound_logger(logging.ERROR)
    with (
        asyncio.Runner() as runner,
        mock.patch("isthmus.integrations.banking.registry.Manners", return_value=manners),
        mock.patch("isthmus.integrations.banking.calls._PATIENCE_S", 0.01),
        mock.patch("isthmus.integrations.banking.windows.HISTORY", timedelta(days=100)),
        mock.patch("structlog._config._CONFIG.default_wrapper_class", quiet),
    ):
        stack = contextlib.AsyncExitStack()
        side = runner.run(stack.enter_async_context(write_side(settings, database.url, clock)))
        parts = runner.run(stack.enter_async_context(banking(settings, side, database.url)))
        providers: dict[str, Interrupted] = {}
        for name, provider in parts.providers.items():
            providers[name] = Interrupted(provider)
        parts.providers.update(providers)  # type: ignore[attr-defined]  # one dict, shared by all parts
        runner.run(refresh(parts.pool, parts.providers, ("GB",)))
        rig = Rig(runner.run, banks, side, parts, clock, providers, manners)
        rig.now()
        try:
            yield rig
        finally:
            runner.run(stack.aclose())
