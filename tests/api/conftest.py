"""The API on a real socket, real PostgreSQL and Valkey. Made here: sign-in (a token says who it is for), and the bus, in whose place
the projector runs in this process after every command, unless a test holds it back.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
import uvicorn
from redis.asyncio import Redis

import isthmus.runtime.serving as serving
from isthmus.app import Running, create_app
from isthmus.app.readers import readers_of
from isthmus.auth.activity import Activity
from isthmus.auth.api_keys import ApiKeys
from isthmus.auth.caller import Caller
from isthmus.auth.callers import Callers
from isthmus.auth.scopes import Role, allowed
from isthmus.auth.session_store import RedisSessions
from isthmus.auth.tokens import TokenRefused
from isthmus.domain.identifiers import person_id, uuid7_source
from isthmus.graphql.services import Services
from isthmus.read_models.api_keys import ApiKeyTable
from isthmus.read_models.balance_cache import BalanceCache
from isthmus.read_models.balances import BalanceReader
from isthmus.read_models.consent_feed import ConsentFeed
from isthmus.read_models.consents import ConsentReader
from isthmus.read_models.database import read_pool
from isthmus.read_models.feeds import BalanceFeed
from isthmus.read_models.notices import NoticeFeed, NoticeReader
from isthmus.read_models.payments import PaymentReader, payment_feed_of
from isthmus.read_models.positions import ProjectionPositions, log_identity, stored_positions
from isthmus.read_models.projections import advance, ensure_positions, read_steps
from isthmus.runtime.banking import banking
from isthmus.runtime.notices import notices_of
from isthmus.runtime.payees import payee_desk
from isthmus.runtime.payments import (
    app_desk,
    bank_paying,
    batch_desk,
    device_desk,
    limit_desk,
    parked_desk,
    paying,
    payment_desk,
    sca_desk,
    transfer_above,
)
from isthmus.runtime.rate_limits import RateLimits
from isthmus.runtime.servers import EmbeddedServers
from isthmus.runtime.trusted_documents import PublishedDocuments
from isthmus.runtime.webhook_door import WebhookDoor
from isthmus.runtime.wiring import write_side
from isthmus.settings import Settings, load_settings
from isthmus.write_models.envelope import Envelope, Outcome
from isthmus.write_models.notice_desk import NoticeDesk
from tests.conftest import CODES, UNASKED, fresh_database
from tests.sandbox.running import KID, Sandbox, at_sandbox, sandbox_running, signing_key

CONTRACT = (Path(__file__).parent.parent / "contract" / "01-spine.graphql").read_text(encoding="utf-8")


def token(subject: str, *roles: Role, seconds: float = 600) -> str:
    return "|".join((subject, ",".join(roles or (Role.CUSTOMER,)), str(time.time() + seconds)))


class FakeVerifier:
    async def verify(self, given: str) -> Caller:
        try:
            subject, roles, end = given.split("|")
            named = frozenset(Role(role) for role in roles.split(","))
            expires_at = datetime.fromtimestamp(float(end), UTC)
        except ValueError:
            raise TokenRefused("not a token of ours") from None
        if expires_at < datetime.now(UTC):
            raise TokenRefused("over")
        return Caller(person_id("test", subject), subject, named, allowed(named), expires_at)


class InProcessBus:
    """Commands, then the projection of what they wrote. `held` keeps the projection back."""

    def __init__(self, commands: Any, pool: asyncpg.Pool) -> None:
        self._commands = commands
        self._pool = pool
        self._projecting = asyncio.Lock()
        self.held = False

    async def run(self, command: Any, envelope: Envelope) -> Outcome:
        outcome: Outcome = await self._commands.run(command, envelope)
        await self.project()
        return outcome

    async def project(self) -> None:
        if self.held:
            return
        async with self._projecting, self._pool.acquire() as connection, connection.transaction():
            end = await connection.fetchval("select position from log_head")
            await advance(connection, await read_steps(connection, await stored_positions(connection), end))


@dataclass
class Served:
    """The API under test, and what a test may turn in it."""

    url: str = ""
    statements: list[str] = field(default_factory=list)
    bus: InProcessBus | None = None
    database_url: str = ""
    loop: asyncio.AbstractEventLoop | None = None
    app: Any = None
    banking: Any = None
    paying: Any = None
    banks: Sandbox | None = None
    replay_max: int = 20

    def now(self) -> datetime:
        return datetime.now(UTC)

    @property
    def graphql(self) -> str:
        return f"{self.url}/graphql"

    @property
    def socket(self) -> str:
        return self.graphql.replace("http", "ws", 1)

    def hold_projection(self, held: bool) -> None:
        assert self.bus is not None
        assert self.loop is not None
        self.bus.held = held
        asyncio.run_coroutine_threadsafe(self.bus.project(), self.loop).result(30)


def wiring_of(served: Served, servers: EmbeddedServers, template: str) -> Callable[..., Any]:
    @asynccontextmanager
    async def wiring(settings: Settings) -> AsyncIterator[Running]:
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(fresh_database(servers, template))
            served.database_url, served.loop = database.admin_url, asyncio.get_running_loop()
            pool = await read_pool(database.url, size=8, statement_timeout_ms=5_000, lock_timeout_ms=4_000)
            stack.push_async_callback(pool.close)
            async with pool.acquire() as connection:
                await ensure_positions(connection)
                identity = await log_identity(connection)
            counted = CountedPool(pool, served.statements)
            side = await stack.enter_async_context(write_side(settings, database.url))
            redis: Redis = Redis.from_url(servers.redis_url)
            stack.push_async_callback(redis.aclose)
            positions = ProjectionPositions(lambda: asyncpg.connect(database.url))
            await positions.start()
            stack.push_async_callback(positions.aclose)
            feed = BalanceFeed(pool, redis, positions, settings.api.replay_max)
            await feed.start()
            stack.push_async_callback(feed.aclose)
            keys = ApiKeys(ApiKeyTable(pool), side.clock, recheck_s=0.1, note_s=0.1)
            await keys.start()
            stack.push_async_callback(keys.aclose)
            documents = PublishedDocuments(pool)
            await documents.start()
            stack.push_async_callback(documents.aclose)
            served.bus = InProcessBus(side.commands, pool)
            reading: Any = counted
            consents = ConsentReader(reading, side.clock.stamp)
            consent_feed = ConsentFeed(lambda: asyncpg.connect(database.url), consents)
            await consent_feed.start()
            stack.push_async_callback(consent_feed.aclose)
            payments = PaymentReader(reading, side.clock.stamp)
            payment_feed = payment_feed_of(payments, lambda: asyncpg.connect(database.url))
            await payment_feed.start()
            stack.push_async_callback(payment_feed.aclose)
            notices = NoticeReader(reading)
            notice_feed = NoticeFeed(lambda: asyncpg.connect(database.url), notices)
            await notice_feed.start()
            stack.push_async_callback(notice_feed.aclose)
            at_banks = await stack.enter_async_context(bank_paying(settings, side))
            served.paying = await stack.enter_async_context(paying(settings, side))
            served.banking = await stack.enter_async_context(banking(settings, side, database.url))
            payees = await stack.enter_async_context(payee_desk(settings, side, redis))
            balances = BalanceReader(reading, BalanceCache(redis, identity), positions)
            readers = readers_of(reading, side, balances, consents, payments, notices)
            answers = sca_desk(settings, side, at_banks)
            services = Services(
                clock=side.clock,
                ids=uuid7_source(side.clock.now),
                verifier=Callers(FakeVerifier(), keys, side.clock, Activity(RedisSessions(redis), side.clock)),
                commands=served.bus,
                positions=positions,
                feed=feed,
                banking=served.banking.links,
                sca=answers,
                payments=payment_desk(settings, side, redis, at_banks, payees),
                parked=await stack.enter_async_context(parked_desk(settings, side, at_banks)),
                payees=payees,
                devices=device_desk(settings, side),
                apps=app_desk(settings, side, answers),
                limits=limit_desk(settings, side, answers),
                transfer_above=transfer_above(settings),
                batches=batch_desk(settings, side, answers),
                consents=consent_feed,
                payment_feed=payment_feed,
                notices=NoticeDesk(
                    side.pool, notices_of(settings, side), side.texts, uuid7_source(side.clock.now), side.clock
                ),
                notice_feed=notice_feed,
                documents=documents,
                rates=RateLimits(redis, processes=settings.api.processes),
                read=readers,
            )
            door = WebhookDoor(served.banking.webhooks, settings.banking.webhook_bytes_max)
            yield Running(services, checks={"database": _ready}, metadata={"resource": "test"}, webhooks=door)

    return wiring


async def _ready() -> dict[str, Any]:
    return {}


class CountedPool:
    """A pool that notes every statement that readers run through it."""

    def __init__(self, pool: asyncpg.Pool, statements: list[str]) -> None:
        self._pool = pool
        self._statements = statements

    @asynccontextmanager
    async def acquire(self, timeout: float | None = None) -> AsyncIterator[Any]:
        async with self._pool.acquire(timeout=timeout) as connection:
            note: Any = lambda query: self._statements.append(query.query)  # noqa: E731
            connection.add_query_logger(note)
            try:
                yield connection
            finally:
                connection.remove_query_logger(note)


@pytest.fixture(scope="session")
def banks(served: Served) -> Sandbox:
    """The sandbox that `served` links banks at."""
    assert served.banks is not None
    return served.banks


@pytest.fixture(scope="session")
def served(servers: EmbeddedServers, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with sandbox_running(history_days=20) as banks:
        yield from _served_at(banks, servers, template, tmp_path_factory)


def _served_at(
    banks: Sandbox, servers: EmbeddedServers, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    served = Served(banks=banks)
    data_dir = tmp_path_factory.mktemp("api")
    settings = load_settings(
        data_dir=data_dir,
        api={
            "mode": "development",
            "position_wait_ms": 300,
            "allowed_origins": ("https://app.example",),
            "replay_max": served.replay_max,
        },
        banking=at_sandbox(
            banks, truelayer_signing_key_id=KID, truelayer_merchant_accounts={"GBP": "sandbox-merchant-gbp"}
        ),
        secrets={"certificates": {"truelayer": {"signing_key": signing_key(banks, data_dir)}}},
        sca={"rp_id": "bank.example", "origins": ("https://app.bank.example",)} | CODES | UNASKED,
    )
    served.app = create_app(settings, wiring_of(served, servers, template))
    with running(served.app) as served.url:
        yield served


@pytest.fixture(scope="session")
def production(servers: EmbeddedServers, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The API as `serve` runs by itself; `served` runs as under `up`. `Person(production)` signs in here."""
    served = Served()
    settings = load_settings(data_dir=tmp_path_factory.mktemp("production"), sca=CODES | UNASKED)
    served.app = create_app(settings, wiring_of(served, servers, template))
    with running(served.app) as served.url:
        yield served


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The app behind a real uvicorn, in a thread with a loop of its own; its address."""
    config = serving.server_config(app, shutdown_s=5)
    config.port = 0
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    until = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "the API did not start"
        assert time.monotonic() < until, "the API did not start in time"
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


class Person:
    """Somebody who is signed in, with as much of an API client as tests need."""

    def __init__(self, served: Served, *roles: Role) -> None:
        self.subject = uuid4().hex
        self.token = token(self.subject, *roles)
        self.id: UUID = person_id("test", self.subject)
        self.url = served.graphql
        self._served = served
        self._client = httpx.Client(timeout=30)

    def post(self, query: str, variables: Any = None, operation: str | None = None, **headers: str) -> httpx.Response:
        body = {"query": query, "variables": variables, "operationName": operation}
        sent = {"Authorization": f"Bearer {self.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        answer = self._client.post(self._served.graphql, json=body, headers=sent)
        for _ in range(5):
            if "Too busy right now; nothing was done" not in answer.text:
                break
            # Other tests have stopped this process for a second: who is told to come again does.
            time.sleep(0.5)
            answer = self._client.post(self._served.graphql, json=body, headers=sent)
        return answer

    def ask(self, query: str, variables: Any = None, operation: str | None = None, **headers: str) -> Any:
        """The data; the answer must have no errors."""
        answer = self.post(query, variables, operation, **headers).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def refused(self, query: str, variables: Any = None, operation: str | None = None, **headers: str) -> str:
        """The code of the answer's first error."""
        code: str = self.post(query, variables, operation, **headers).json()["errors"][0]["extensions"]["code"]
        return code

    def account(self, id: str, selection: str) -> Any:
        """Fields of an account, by its id."""
        query = f"query($id: ID!) {{ node(id: $id) {{ ... on Account {{ {selection} }} }} }}"
        return self.ask(query, {"id": id})["node"]

    def change(self, mutation: str, id: str) -> Any:
        """A mutation that takes nothing but an account."""
        wish = {"accountId": id, "idempotencyKey": uuid4().hex}
        kind = mutation[0].upper() + mutation[1:]
        query = f"mutation($input: {kind}Input!) {{ {mutation}(input: $input) {{ position errors {{ code }} }} }}"
        return self.ask(query, {"input": wish})[mutation]

    def open(self, asset: str = "EUR", name: str = "Main") -> str:
        wish = {"asset": asset, "name": name, "idempotencyKey": uuid4().hex}
        opened: str = self.ask(CONTRACT, {"input": wish}, "OpenAccount")["openAccount"]["account"]["id"]
        return opened

    def transfer(self, source: str, target: str, amount: str, asset: str = "EUR", **more: Any) -> Any:
        wish = {
            "fromAccountId": source,
            "toAccountId": target,
            "amount": {"amount": amount, "asset": asset},
            "idempotencyKey": uuid4().hex,
            **more,
        }
        return self.ask(CONTRACT, {"input": wish}, "TransferInternally")["transferInternally"]


SETTLE = """mutation Settle($input: SettleDepositInput!) { settleDeposit(input: $input) {
    journal { id } position replayed errors { __typename code path message } } }"""


@pytest.fixture
def ada(served: Served) -> Person:
    return Person(served)


@pytest.fixture
def grace(served: Served) -> Person:
    return Person(served)


@pytest.fixture
def olga(served: Served) -> Person:
    return Person(served, Role.OPERATOR)


@pytest.fixture
def alan(served: Served) -> Person:
    return Person(served, Role.AUDITOR)


@pytest.fixture
def funded(ada: Person, olga: Person) -> str:
    """An account of Ada's with 100.00 EUR in it."""
    account = ada.open()
    deposit(olga, account, "100.00")
    return account


def deposit(operator: Person, account: str, amount: str, asset: str = "EUR", reference: str | None = None) -> Any:
    wish = {
        "accountId": account,
        "amount": {"amount": amount, "asset": asset},
        "reference": reference or uuid4().hex,
    }
    return operator.ask(SETTLE, {"input": wish})["settleDeposit"]
