"""Payments from linked banks on one database for a whole module: a person and a bank for each test, and what is ahead of a payment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
import pytest_asyncio

from isthmus.domain.bank_payments import BankWish, Begun, GoTo
from isthmus.domain.banking import ProviderRefused
from isthmus.domain.clock import SettableClock
from isthmus.domain.payment_events import PaymentState
from isthmus.domain.payment_news import PaymentNews, ProviderPayment
from isthmus.runtime.servers import EmbeddedServers
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import load_settings
from tests.conftest import fresh_database
from tests.write_models.test_bank_payment_saga import Bank, Office, opened

S, P = PaymentState, ProviderPayment


@dataclass
class Elsewhere(Bank):
    """`quiet`: what it was told to submit it tells of by another name only; `names`: which it says at once. `keeps`: it takes nothing back.
    `refuses`: everything."""

    quiet: bool = False
    names: bool = False
    keeps: bool = False
    refuses: bool = False

    #: Whose payment it says to know by the name that a webhook tells: that it is another's.
    says: UUID | None = None
    page: GoTo | None = None
    #: Comes between the next question and its answer, which is a refusal then, or `anew` a question of its own.
    anew: bool = False
    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def begin(self, wish: BankWish) -> Begun:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is None:
            return replace(begun := await super().begin(wish), authorization=self.page or begun.authorization)
        await meanwhile()
        if not self.anew:
            raise ProviderRefused("it is there already", "NO")
        self.asked["anew"], self.states["anew"] = wish, P.AWAITING
        return Begun("anew", GoTo("https://bank/anew"), wish.state)

    def _trouble(self, name: str) -> None:
        if self.refuses or (name == "before" and self.troubles[:1] == ["refuses"]):
            self.troubles = self.troubles[1:]
            raise ProviderRefused("no", "NO")
        super()._trouble(name)

    async def look_up(self, reference: str) -> PaymentNews:
        self._trouble("before")
        known = reference.removeprefix("told:")
        news = await super().look_up(known)
        if known != reference:
            return replace(news, reference=reference, our_payment=self.says or UUID(known))
        quiet = self.quiet and news.state in (P.SUBMITTED, P.EXECUTED)
        return replace(news, state=P.AUTHORISED) if quiet else news

    async def submit(self, wish: BankWish, reference: str) -> PaymentNews:
        news = await super().submit(wish, reference)
        return replace(news, state=self.states[reference], reference=f"told:{reference}" if self.names else reference)

    async def cancel(self, reference: str) -> PaymentNews:
        return await (self.look_up(reference) if self.keeps else super().cancel(reference))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(
    servers: EmbeddedServers, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[WriteSide, SettableClock]]:
    """For all tests here: each has a person of its own."""
    clock, settings = (
        SettableClock(datetime(2026, 11, 23, 12, tzinfo=UTC)),
        load_settings(data_dir=tmp_path_factory.mktemp("data")),
    )
    async with fresh_database(servers, template) as database, write_side(settings, database.url, clock) as side:
        yield side, clock


@pytest_asyncio.fixture(loop_scope="module")
async def office(both: tuple[WriteSide, SettableClock]) -> Office:
    return await opened(*both)


@pytest.fixture
def bank(office: Office) -> Elsewhere:
    made = Elsewhere()
    assert office.desk._banks is not None
    office.desk._banks.providers = {"bank": made}
    office.bank = made
    return made


async def ahead(office: Office, payment: UUID) -> int:
    """Jobs that look at it, but for the one at its expiry."""
    found: int = await office.side.pool.fetchval(
        "select count(*) from pgqueuer where entrypoint = 'advance_payment' and payload = $1 and dedupe_key not like '%:expiry'",
        str(payment).encode(),
    )
    return found


async def submitting(office: Office, troubles: list[str]) -> UUID:
    payment = await office.initiate()
    office.bank.authorise(payment)
    await office.saga.advance(payment)
    office.bank.troubles = troubles
    await office.side.pool.execute("delete from pgqueuer")
    return payment
