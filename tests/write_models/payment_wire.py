"""Every way that money is paid here, in the providers' own wire formats: the product's sagas and adapters, a database, and the sandbox
over HTTP, which has a book of its own. One of each for a whole module, and a person for each test.

Calls are made once and never left alone, so that whatever goes wrong is the saga's to mend, at once.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest import mock
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from isthmus.domain.bank_accounts import FoundAccount, LinkBankAccounts
from isthmus.domain.clock import SettableClock
from isthmus.domain.consent_policy import Jurisdiction
from isthmus.domain.consents import AuthoriseConsent, RequestConsent
from isthmus.domain.identifiers import house_account_id, uuid7_source
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.payment_events import PaymentState, Source
from isthmus.integrations.payments.truelayer_statements import TrueLayerStatements
from isthmus.integrations.screening.files import limit_table, sanctions_list
from isthmus.integrations.screening.rules import ListedCompliance
from isthmus.runtime.payments import bank_payments_of, truelayer_payouts
from isthmus.runtime.servers import EmbeddedServers
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import load_settings
from isthmus.write_models.bank_paying import BankPaying
from isthmus.write_models.envelope import Envelope, Refused
from isthmus.write_models.one_time_codes import OneTimeCodes
from isthmus.write_models.payment_desk import PaymentDesk, PaymentWish, TopUpWish
from isthmus.write_models.sagas.bank_payments import BankPaymentSaga
from isthmus.write_models.sagas.payments import PaymentSaga
from isthmus.write_models.sca_desk import Answer, ScaDesk
from tests.conftest import fresh_database
from tests.integrations.banking.outside import Counted
from tests.sandbox.running import KID, REDIRECT, Sandbox, at_sandbox, sandbox_running, signing_key
from tests.write_models.bank_rig import Patience
from tests.write_models.driver import Driver

S = PaymentState
MERCHANT = {"GBP": "sandbox-merchant-gbp"}
BOB = PayeeAccount(sort_code="112233", number="12345678")
_INSTITUTIONS = {"truelayer": "uk-ob-harbour", "yapily": "harbour-sandbox", "plaid": "ins_harbour"}
_API, _PLAID = "/truelayer/api/v3", "/plaid/payment_initiation"
_TOKEN, _PAYMENT = "POST /truelayer/auth/connect/token", f"GET {_API}/payments/*"
_PAYING = (_TOKEN, f"POST {_API}/payments", f"POST {_API}/payments/*/authorization-flow", _PAYMENT)


@dataclass(frozen=True)
class Rail:
    """`routes`: all that the provider is asked on the way; the last tells what became of it. `words`: how it says SUBMITTED, EXECUTED,
    FAILED. `end`: the last that it tells of what went well."""

    name: str
    provider: str
    routes: tuple[str, ...]
    words: tuple[str, str, str]
    end: PaymentState = S.EXECUTED

    @property
    def look(self) -> str:
        return self.routes[-1]


OWN = Rail(
    "own",
    "truelayer",
    (_TOKEN, f"POST {_API}/payouts", f"GET {_API}/payouts/*"),
    ("pending", "executed", "failed"),
)
TRUELAYER = Rail("truelayer", "truelayer", _PAYING, ("authorized", "executed", "failed"))
TOP_UP = Rail("top_up", "truelayer", _PAYING, ("authorized", "settled", "failed"), S.SETTLED)
YAPILY = Rail(
    "yapily",
    "yapily",
    (
        "POST /yapily/payment-auth-requests",
        "GET /yapily/consents/*",
        "POST /yapily/payments",
        "GET /yapily/payments/*/details",
    ),
    ("PENDING", "COMPLETED", "FAILED"),
)
PLAID = Rail(
    "plaid",
    "plaid",
    (
        f"POST {_PLAID}/recipient/create",
        f"POST {_PLAID}/payment/create",
        "POST /plaid/link/token/create",
        f"POST {_PLAID}/recipient/get",
        f"POST {_PLAID}/payment/get",
    ),
    ("PAYMENT_STATUS_INITIATED", "PAYMENT_STATUS_EXECUTED", "PAYMENT_STATUS_FAILED"),
)
RAILS = (OWN, TRUELAYER, YAPILY, PLAID, TOP_UP)
each_rail = pytest.mark.parametrize("rail", RAILS, ids=lambda rail: rail.name)


@dataclass
class Paid:
    """A payment of a test's. `payee`, `amount`: nobody else's."""

    rail: Rail
    id: UUID
    payee: str
    amount: Decimal
    account: UUID
    #: What was noted of all payments from people's banks before it.
    noted: Decimal = Decimal(0)
    approved: bool = False
    executed: bool = False


@dataclass
class Wire:
    sandbox: Sandbox
    side: WriteSide
    clock: SettableClock
    manners: Patience
    transport: Counted
    http: httpx.AsyncClient
    desk: PaymentDesk
    sca: ScaDesk
    saga: PaymentSaga
    banks: BankPaying
    statements: TrueLayerStatements
    _numbers: Any = field(default_factory=lambda: itertools.count(101))
    person: UUID = field(default_factory=uuid4)

    # -- what a person does ----------------------------------------------------------------------------------------------

    async def pay(self, rail: Rail, *, answered: bool = True) -> Paid:
        """Answered for, where we ask; the bank is asked to ask, where it does."""
        n = next(self._numbers)
        amount, payee = Decimal(n) / 100, f"Bob {n}"
        ledger, person = Driver(self.side.commands), self.person
        if rail is OWN:
            account = await ledger.funded(person, "100.00", "GBP")
            wish = PaymentWish(account, amount, "GBP", payee, BOB, "Rent")
            made = await self.desk.initiate(person, wish, self.envelope("initiatePayment"))
        else:
            source = await self.linked(rail.provider)
            account = await ledger.open(person, "GBP")
            if rail is TOP_UP:
                top_up = TopUpWish(source, account, amount, "GBP")
                made = await self.desk.top_up(person, top_up, self.envelope("topUp"))
            else:
                wish = PaymentWish(source, amount, "GBP", payee, BOB, "Rent", source=Source.BANK)
                made = await self.desk.initiate(person, wish, self.envelope("initiatePayment"))
        assert not isinstance(made, Refused), made
        paid = Paid(rail, made[0], payee, amount, account, await self.noted())
        if rail is OWN and answered:
            await self.answer(paid)
        return paid

    async def answer(self, paid: Paid) -> None:
        challenge = await self.column(paid, "challenge_id")
        digest = await self.side.pool.fetchval("select digest from sca_challenges where id = $1", challenge)
        code = Answer(self.sca._codes.code(challenge, digest))
        done = await self.sca.answer(self.person, challenge, code, self.envelope("answerScaChallenge"))
        assert not isinstance(done, Refused), done

    async def approve(self, paid: Paid, answer: str = "approve") -> None:
        """At the bank's page, once its address is known."""
        challenge = await self.column(paid, "challenge_id")
        async with self.side.pool.acquire() as connection:
            sealed = await connection.fetchval("select url from sca_challenges where id = $1", challenge)
            (url,) = await self.side.texts.open_many(connection, [sealed]) if sealed is not None else (None,)
        if url is not None and not paid.approved:
            page = self.sandbox.http.get(url, follow_redirects=True)
            assert self.sandbox.approve(str(page.url), answer=answer).status_code == 303
            paid.approved = True

    async def linked(self, provider: str) -> UUID:
        account, consent, now = uuid4(), uuid4(), self.side.clock.now()
        for wish in (
            RequestConsent(consent, self.person, "harbour", provider, Jurisdiction.UK, ("ACCOUNTS",)),
            AuthoriseConsent(consent, now, None),
            LinkBankAccounts(consent, self.person, "harbour", provider, (FoundAccount(account, "GBP"),)),
        ):
            made = await self.side.commands.run(wish, self.envelope("link"))
            assert not isinstance(made, Refused), made
        return account

    # -- what the bank does ----------------------------------------------------------------------------------------------

    async def execute(self, paid: Paid) -> None:
        """What the bank was told to do it does, once."""
        named = await self.column(paid, "provider_reference")
        if paid.executed or named is None or (paid.rail is YAPILY and ":" not in named):
            return
        paid.executed = True
        if paid.rail is OWN:
            for status in ("authorized", "executed"):
                self.act("truelayer.payout", payout=named, status=status)
        elif paid.rail is YAPILY:
            self.act("yapily.payment_status", payment=named.rpartition(":")[2], status="COMPLETED")
        elif paid.rail is PLAID:
            self.act("plaid.payment_status", payment=named, status="EXECUTED")
        else:
            for status in ("executed", "settled") if paid.rail is TOP_UP else ("executed",):
                self.act("truelayer.payment", payment=named, status=status)

    def act(self, action: str, **told: Any) -> None:
        self.sandbox.tell("actions", action=action, **told)

    def goes_wrong(self, route: str, kind: str, **more: Any) -> None:
        """The next time that this is asked."""
        self.sandbox.tell("misbehaviour", route=route, kind=kind, **more)

    def troubles_left(self) -> list[str]:
        rules = self.sandbox.tell("misbehaviour", route="GET /nothing", kind="nan")
        return [f"{one['kind']} {one['route']}" for one in rules if one["route"] != "GET /nothing"]

    # -- what `work` does ------------------------------------------------------------------------------------------------

    async def carried(self, paid: Paid, until: Callable[[PaymentState], bool] | None = None, most: int = 40) -> int:
        """A step each time, until it is over. Returns how many."""
        over = until or (lambda state: state is paid.rail.end)
        for steps in range(most):
            state = await self.state(paid)
            if over(state):
                return steps
            if state is S.AWAITING_SCA:
                await self.approve(paid)
            if state is S.SUBMITTED and until is None:
                await self.execute(paid)
            await self.saga.advance(paid.id)
        raise AssertionError(f"after {most} steps it is {await self.stands(paid)}")

    async def submitted(self, rail: Rail) -> Paid:
        paid = await self.pay(rail)
        await self.carried(paid, lambda state: state is S.SUBMITTED)
        return paid

    async def waits(self, paid: Paid) -> float | None:
        """Seconds until it is looked at again; None where nobody is about to."""
        found: timedelta | None = await self.side.pool.fetchval(
            "select min(execute_after) - now() from pgqueuer "
            "where entrypoint = 'advance_payment' and payload = $1 and status = 'queued'",
            str(paid.id).encode(),
        )
        return found.total_seconds() if found is not None else None

    async def nobody_looks(self) -> None:
        await self.side.pool.execute("delete from pgqueuer")

    # -- what is to be seen ----------------------------------------------------------------------------------------------

    async def column(self, paid: Paid, name: str) -> Any:
        return await self.side.pool.fetchval(f"select {name} from payments where id = $1", paid.id)

    async def state(self, paid: Paid) -> PaymentState:
        return PaymentState(await self.column(paid, "state"))

    async def stands(self, paid: Paid) -> tuple[PaymentState, str | None]:
        return await self.state(paid), await self.column(paid, "parked")

    async def at_bank(self, paid: Paid) -> Decimal:
        """What really moved for it, by the sandbox's own books."""
        if paid.rail in (OWN, TOP_UP):
            now = datetime.now(UTC)
            told = await self.statements.entries("GBP", now - timedelta(hours=1), now + timedelta(hours=1))
            return sum((abs(one.amount) for one in told.entries if abs(one.amount) == paid.amount), Decimal(0))
        return self.sandbox.paid_to(paid.payee, "harbour")

    async def in_our_books(self, paid: Paid) -> Decimal:
        """What our ledger says moved for it: out of the account here, into it, or past us."""
        if paid.rail is OWN:
            return Decimal(100) - await self.posted(paid.account)
        if paid.rail is TOP_UP:
            return await self.posted(paid.account)
        return await self.noted() - paid.noted

    async def posted(self, account: UUID) -> Decimal:
        found = await self.side.pool.fetchval("select posted from account_balances where account_id = $1", account)
        return found or Decimal(0)

    async def noted(self) -> Decimal:
        return await self.posted(house_account_id("memo:payee:GBP"))

    def envelope(self, mutation: str) -> Envelope:
        return Envelope(f"person:{self.person}", self.person, mutation, uuid4().hex, {"x": uuid4().hex}, "test")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(servers: EmbeddedServers, template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Wire]:
    folder, clock, manners = tmp_path_factory.mktemp("wire"), SettableClock(datetime.now(UTC)), Patience(attempts=1)
    async with AsyncExitStack() as stack:
        sandbox = stack.enter_context(sandbox_running(history_days=3))
        for provider in _INSTITUTIONS:
            sandbox.tell("facts", name=f"{provider}.hold", value="1")  # what happens a test makes happen
        stack.enter_context(mock.patch("isthmus.runtime.payments.Manners", return_value=manners))
        settings = load_settings(
            data_dir=folder,
            banking=at_sandbox(sandbox, truelayer_signing_key_id=KID, truelayer_merchant_accounts=MERCHANT),
            secrets={"certificates": {"truelayer": {"signing_key": signing_key(sandbox, folder)}}},
        )
        database = await stack.enter_async_context(fresh_database(servers, template))
        side = await stack.enter_async_context(write_side(settings, database.url, clock))
        transport = Counted()
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=20, trust_env=False, transport=transport))
        ids, payouts = uuid7_source(clock.now), truelayer_payouts(settings, side, http)
        assert payouts is not None
        banks = BankPaying(
            side.pool,
            side.commands,
            side.texts,
            side.links,
            bank_payments_of(settings, side, http),
            clock,
            ids,
            REDIRECT,
            key_secret=b"k" * 32,
        )
        compliance = ListedCompliance(sanctions_list(None), limit_table(None, "GB"))
        desk = PaymentDesk(side.pool, side.commands, side.texts, clock, ids, "truelayer", compliance, banks=banks)
        sca = ScaDesk(side.pool, side.commands, OneTimeCodes(b"k" * 32), None, clock, ids, side.texts, banks)
        at_banks = BankPaymentSaga(side.pool, side.commands, banks, ids)
        saga = PaymentSaga(side.pool, side.commands, side.texts, {"truelayer": payouts}, clock, ids, at_banks)
        statements = TrueLayerStatements(payouts.api.ask, MERCHANT)
        await side.pool.execute(
            "insert into institutions (id, name, plain_name, countries) values ('harbour', 'H', 'h', '{GB}')"
        )
        for provider, name in _INSTITUTIONS.items():
            await side.pool.execute("insert into institution_providers values ($1, $2, 'harbour')", provider, name)
        yield Wire(sandbox, side, clock, manners, transport, http, desk, sca, saga, banks, statements)


@pytest.fixture
def wire(rig: Wire) -> Iterator[Wire]:
    """With a person of the test's own; afterwards everybody is well again."""
    rig.person = uuid4()
    paying = rig.banks.providers["truelayer"]
    for client in (rig.statements._asked.__self__, paying._api.client):  # type: ignore[attr-defined]  # as they are made
        client._token = None  # so that each test asks for one
    rig.transport.sent.clear()
    yield rig
    rig.transport.instead, rig.manners.deadline_s = None, Patience.deadline_s
    rig.sandbox.http.delete(f"{rig.sandbox.url}/sandbox/misbehaviour")
