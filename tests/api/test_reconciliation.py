"""What operators see of reconciliation, beside the sandbox's own book of our account; and money that people send us there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from isthmus.auth.scopes import Role
from isthmus.domain.payment_news import PaymentNews, ProviderPayment, RecordPaymentNews
from isthmus.graphql.ids import payment_key
from isthmus.integrations.banking.calls import Calls, Manners
from isthmus.integrations.payments.truelayer_api import TrueLayerApi
from isthmus.integrations.payments.truelayer_payouts import TrueLayerPayouts
from isthmus.integrations.payments.truelayer_statements import TrueLayerStatements
from isthmus.write_models.bank_mirror import system_envelope
from isthmus.write_models.pay_ins import Look, PayIns
from isthmus.write_models.reconciliation import Reconciler
from isthmus.write_models.reconciliation_report import Report
from tests.api.banking import on_loop
from tests.api.conftest import Person, Served
from tests.api.test_payments import answer, balance, code_of, funded, initiate
from tests.sandbox.running import Sandbox

ACCOUNTS = {"GBP": "sandbox-merchant-gbp", "EUR": "sandbox-merchant-eur"}
CASES = """query($first: Int! = 200, $after: String, $state: ReconciliationCaseState) {
    reconciliationCases(first: $first, after: $after, state: $state) { totalCount pageInfo { hasNextPage endCursor } edges { node {
        id difference state why provider asset journalId entry ours { amount } theirs { amount } reason closedBy
        proposal { id accountId returnEntry reason proposedBy } } } } }"""
CLOSE = """mutation($input: CloseReconciliationCaseInput!) { closeReconciliationCase(input: $input) { replayed
    case { id state reason closedBy } errors { code path } } }"""
PROPOSE = """mutation($input: ProposeSuspenseDecisionInput!) { proposeSuspenseDecision(input: $input) { replayed
    case { id state proposal { id accountId returnEntry } } errors { code path } } }"""
CONFIRM = """mutation($input: ConfirmSuspenseDecisionInput!) { confirmSuspenseDecision(input: $input) { replayed
    case { id state reason closedBy proposal { id } } errors { code path } } }"""


class Books:
    """What `work` compares with and looks into, at the sandbox."""

    def __init__(self, served: Served, banks: Sandbox, http: httpx.AsyncClient) -> None:
        desk = served.app.state.running.services.payments
        self.served, self.banks, self.commands, self.ids = served, banks, desk._commands, desk._ids
        told = served.banking.links._clock
        urls = f"{banks.url}/truelayer/auth", f"{banks.url}/truelayer/api"
        calls = Calls("truelayer_payouts", Manners(deadline_s=20))
        nobody: Any = None  # nothing is paid, and so nothing is signed
        api = TrueLayerApi(*urls, "sandbox-truelayer", "sandbox-truelayer-secret", nobody, http, calls, told)
        payouts = TrueLayerPayouts(api, ACCOUNTS)
        statements = {"truelayer": TrueLayerStatements(payouts.api.ask, ACCOUNTS)}
        self.reconciler = Reconciler(desk._pool, desk._commands, statements, told, desk._ids, young=timedelta(0))
        self.pay_ins = PayIns(desk._pool, desk._commands, statements, told)

    def act(self, action: str, **told: Any) -> str:
        found: str = self.banks.tell("actions", action=f"truelayer.{action}", **told)["id"]
        return found

    def left(self, person: Person, account: str, value: str, payout: str) -> None:
        """A payment that the bank, we believe, executed as that payout."""
        payment = initiate(person, account, value)["payment"]
        assert (
            answer(person, payment["challenge"]["id"], code_of(self.served, payment["challenge"]["id"]))["errors"] == []
        )
        news = PaymentNews(ProviderPayment.EXECUTED, "executed", payout, amount=Decimal(value), asset="EUR")
        wish = RecordPaymentNews(payment_key(payment["id"]), news, self.ids())
        on_loop(self.served, self.commands.run(wish, system_envelope(wish, uuid4().hex, "test")))

    def came(self, cents: int, reference: str) -> str:
        """Returns the bank's name for it, and has it looked for as after a webhook."""
        entry = self.act("external_payment", currency="EUR", amount_in_minor=cents, reference=reference)
        look = Look("truelayer", entry, "EUR", Decimal(cents) / 100, datetime.now(UTC))
        on_loop(self.served, self.pay_ins.look(msgspec.json.encode(look)))
        return entry

    def run(self, days: set[date]) -> Report:
        """In euros, of the last of these days; mostly there is one."""
        reports = [on_loop(self.served, self.reconciler.run(day)) for day in sorted(days)][-1]
        found: Report = next(one for one in reports if one.asset == "EUR")
        return found


@pytest.fixture
def books(served: Served, banks: Sandbox) -> Iterator[Books]:
    async def client() -> httpx.AsyncClient:
        return httpx.AsyncClient(timeout=20, trust_env=False)

    http = on_loop(served, client())
    yield Books(served, banks, http)
    on_loop(served, http.aclose())


@pytest.fixture
def otto(served: Served) -> Person:
    return Person(served, Role.OPERATOR)


def today() -> date:
    return datetime.now(UTC).date()


def case_of(operator: Person, entry: str | None, state: str = "OPEN") -> Any:
    edges = operator.ask(CASES, {"state": state})["reconciliationCases"]["edges"]
    return next((edge["node"] for edge in edges if edge["node"]["entry"] == entry), None)


def close(operator: Person, case: str, **more: Any) -> Any:
    wish = {"caseId": case, "reason": "looked into it", "idempotencyKey": uuid4().hex} | more
    return operator.ask(CLOSE, {"input": wish})["closeReconciliationCase"]


def propose(operator: Person, case: str, **more: Any) -> Any:
    wish = {"caseId": case, "reason": "they wrote to us", "idempotencyKey": uuid4().hex} | more
    return operator.ask(PROPOSE, {"input": wish})["proposeSuspenseDecision"]


def confirm(operator: Person, case: str, proposal: str, **more: Any) -> Any:
    wish = {"caseId": case, "proposalId": proposal, "idempotencyKey": uuid4().hex} | more
    return operator.ask(CONFIRM, {"input": wish})["confirmSuspenseDecision"]


def test_what_the_bank_did_behind_our_back_has_not_done_and_did_otherwise_are_cases_of_an_operators(
    served: Served, books: Books, ada: Person, olga: Person, alan: Person
) -> None:
    begun, account = today(), funded(ada, olga)
    matched, differing, gone, extra = (
        books.act("payout_behind", currency="EUR", amount_in_minor=cents) for cents in (1000, 2000, 3000, 501)
    )
    for value, payout in (("10.00", matched), ("20.00", differing), ("30.00", gone)):
        books.left(ada, account, value, payout)
    books.act("amend_movement", movement=differing, amount_in_minor=2001)
    books.act("drop_movement", movement=gone)

    report = books.run({begun, today()})

    assert not report.sound
    assert report.balance is not None
    found = {pair.found.value: pair for pair in report.differences}
    assert found["missing"].theirs is None
    seen = case_of(olga, extra)
    assert (seen["difference"], seen["ours"], seen["theirs"], seen["journalId"]) == (
        "EXTRA",
        None,
        {"amount": "-5.01"},
        None,
    )
    assert (seen["provider"], seen["asset"]) == ("truelayer", "EUR")
    differs = case_of(olga, differing)
    assert (differs["difference"], differs["ours"], differs["theirs"]) == (
        "DIFFERING",
        {"amount": "-20.00"},
        {"amount": "-20.01"},
    )
    edges = olga.ask(CASES, {"state": "OPEN"})["reconciliationCases"]["edges"]
    missing = next(edge["node"] for edge in edges if edge["node"]["ours"] == {"amount": "-30.00"})
    assert (missing["difference"], missing["entry"]) == ("MISSING", None)
    assert case_of(olga, matched) is None
    page = olga.ask(CASES, {"first": 1, "state": "OPEN"})["reconciliationCases"]
    assert (page["totalCount"] >= 3, page["pageInfo"]["hasNextPage"]) == (True, True)
    assert alan.refused(CASES) == "FORBIDDEN"

    closed = close(olga, seen["id"])
    books.act("amend_movement", movement=differing, amount_in_minor=2000)
    books.run({begun, today()})

    assert (closed["errors"], closed["case"]["state"], closed["case"]["reason"]) == ([], "CLOSED", "looked into it")
    assert case_of(olga, extra) is None, "found again, it stays closed"
    assert case_of(olga, differing, "CLOSED")["closedBy"] == "RUN", "they agree now"
    assert close(olga, "nothing")["errors"] == [{"code": "RECONCILIATION_CASE_NOT_FOUND", "path": ["input", "caseId"]}]
    assert close(olga, missing["id"], reason=" ")["errors"][0]["code"] == "INVALID_INPUT"
    assert propose(olga, missing["id"], accountId=account)["errors"][0]["code"] == "RECONCILIATION_CASE_NOT_FOUND"


def test_money_sent_to_us_is_credited_by_its_reference_and_what_is_nobodys_by_two_operators(
    served: Served, books: Books, ada: Person, olga: Person, otto: Person
) -> None:
    account = ada.open()
    reference = ada.account(account, "... on LedgerAccount { fundingReference }")["fundingReference"]

    books.came(2500, f"rent {reference.lower()}")
    nobodys = books.came(1200, "hello")

    assert balance(ada, account) == ("25.00", "25.00")
    case = case_of(olga, nobodys)
    assert (case["difference"], case["why"], case["ours"]) == ("UNASSIGNED", "UNKNOWN_REFERENCE", {"amount": "12.00"})
    assert case["proposal"] is None
    key = uuid4().hex
    given = [propose(olga, case["id"], accountId=account, idempotencyKey=key) for _ in range(2)]
    assert given[1] == given[0] | {"replayed": True}
    waits = case_of(otto, nobodys)["proposal"]
    assert waits == given[0]["case"]["proposal"] | {
        "reason": "they wrote to us",
        "proposedBy": f"person:{olga.id}",
        "accountId": account,
        "returnEntry": None,
    }
    alone = confirm(olga, case["id"], waits["id"])["errors"]
    assert alone == [{"code": "SECOND_OPERATOR_NEEDED", "path": ["input", "proposalId"]}]
    assert confirm(otto, case["id"], "nothing")["errors"][0]["code"] == "CASE_PROPOSAL_OVER"
    assert balance(ada, account) == ("25.00", "25.00"), "nothing came of it yet"

    done = [confirm(otto, case["id"], waits["id"], idempotencyKey=key) for _ in range(2)]

    assert done[1] == done[0] | {"replayed": True}
    assert (done[0]["errors"], done[0]["case"]["closedBy"], done[0]["case"]["proposal"]) == ([], "OPERATOR", None)
    assert done[0]["case"]["reason"] == "they wrote to us"
    assert balance(ada, account) == ("37.00", "37.00")
    assert confirm(otto, case["id"], waits["id"])["errors"] == [{"code": "INVALID_INPUT", "path": ["input", "caseId"]}]


def test_an_operator_whose_account_it_would_be_neither_proposes_nor_confirms_it(
    served: Served, books: Books, olga: Person
) -> None:
    otto = Person(served, Role.CUSTOMER, Role.OPERATOR)
    account, case = otto.open(), case_of(olga, books.came(700, "hello"))["id"]

    own = propose(otto, case, accountId=account)["errors"]
    proposal = propose(olga, case, accountId=account)["case"]["proposal"]["id"]
    confirmed = confirm(otto, case, proposal)["errors"]

    assert own == [{"code": "ACCOUNT_NOT_FOUND", "path": ["input", "accountId"]}]
    assert confirmed == [{"code": "SECOND_OPERATOR_NEEDED", "path": ["input", "proposalId"]}]
    assert balance(otto, account) == ("0.00", "0.00")


def test_two_operators_who_confirm_at_once_credit_it_once(
    served: Served, books: Books, ada: Person, olga: Person
) -> None:
    account, case = ada.open(), case_of(olga, books.came(900, "hello"))["id"]
    proposal = propose(olga, case, accountId=account)["case"]["proposal"]["id"]
    others = [Person(served, Role.OPERATOR) for _ in range(4)]

    with ThreadPoolExecutor(len(others)) as pool:
        done = list(pool.map(lambda operator: confirm(operator, case, proposal)["errors"], others))

    assert sorted(len(errors) for errors in done) == [0, 1, 1, 1]
    assert balance(ada, account) == ("9.00", "9.00")


def test_money_that_is_nobodys_is_sent_back_and_the_statement_agrees_and_no_case_is_closed_over_it(
    served: Served, books: Books, ada: Person, olga: Person, otto: Person
) -> None:
    begun, nobodys = today(), books.came(1300, "hello")
    case = case_of(olga, nobodys)["id"]
    refused = close(olga, case)["errors"]
    assert refused == [{"code": "MONEY_IN_SUSPENSE", "path": ["input", "caseId"]}]
    back = books.act("payout_behind", currency="EUR", amount_in_minor=1300)
    books.run({begun, today()})
    assert case_of(olga, back)["difference"] == "EXTRA", "the bank has sent something that we know nothing of"

    both = propose(olga, case, returnEntry=back, accountId=ada.open())["errors"]
    known = propose(olga, case, returnEntry=nobodys)["errors"]
    neither = propose(olga, case)["errors"]
    proposal = propose(olga, case, returnEntry=back)["case"]["proposal"]
    assert (proposal["returnEntry"], proposal["accountId"]) == (back, None)
    books.run({begun, today()})
    assert case_of(olga, back)["difference"] == "EXTRA", "nobody has confirmed it"
    alone = confirm(olga, case, proposal["id"])["errors"]
    done = confirm(otto, case, proposal["id"])
    books.run({begun, today()})

    assert both == known == neither == [{"code": "INVALID_INPUT", "path": ["input", "returnEntry"]}]
    assert alone == [{"code": "SECOND_OPERATOR_NEEDED", "path": ["input", "proposalId"]}]
    assert (done["errors"], done["case"]["closedBy"]) == ([], "OPERATOR")
    assert case_of(olga, back, "CLOSED")["closedBy"] == "RUN", "now both books have it"
