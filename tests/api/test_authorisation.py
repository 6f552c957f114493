"""Whose data it is: someone else's object answers exactly as one that does not exist, and scopes gate the rest."""

from __future__ import annotations

import base64
import re
from typing import Any
from uuid import uuid4

import httpx
import pytest

from isthmus.auth.scopes import Role, Scope, allowed
from isthmus.graphql.access import ACCESS
from isthmus.graphql.ids import Kind, decode, encode
from tests.api.conftest import CONTRACT, Person, Served, deposit, token

NODE = """query($id: ID!) { node(id: $id) { __typename id ... on Account { name balance { posted { amount } } }
    ... on Journal { reference } ... on Transaction { description } ... on Viewer { subject } } }"""

#: One document for each root field; its scope is ACCESS's.
CALLS = {
    "Query.viewer": "{ viewer { id } }",
    "Query.node": '{ node(id: "x") { id } }',
    "Query.assets": "{ assets { code } }",
    "Query.auditTrail": "{ auditTrail { pageInfo { hasNextPage } } }",
    "Mutation.openAccount": 'mutation { openAccount(input: {asset: "EUR", name: "x", idempotencyKey: "k"}) { position } }',
    "Mutation.renameAccount": 'mutation { renameAccount(input: {accountId: "x", name: "x", idempotencyKey: "k"}) { position } }',
    "Mutation.closeAccount": 'mutation { closeAccount(input: {accountId: "x", idempotencyKey: "k"}) { position } }',
    "Mutation.transferInternally": """mutation { transferInternally(input: {fromAccountId: "x", toAccountId: "y",
        amount: {amount: "1", asset: "EUR"}, idempotencyKey: "k"}) { position } }""",
    "Mutation.freezeAccount": 'mutation { freezeAccount(input: {accountId: "x", idempotencyKey: "k"}) { position } }',
    "Mutation.unfreezeAccount": 'mutation { unfreezeAccount(input: {accountId: "x", idempotencyKey: "k"}) { position } }',
    "Query.apiKeys": "{ apiKeys { totalCount } }",
    "Mutation.createApiKey": 'mutation { createApiKey(input: {name: "x", scopes: [READ], idempotencyKey: ""}) { position } }',
    "Mutation.revokeApiKey": 'mutation { revokeApiKey(input: {apiKeyId: "x", idempotencyKey: "k"}) { position } }',
    "Query.institutions": '{ institutions(country: "GB") { pageInfo { hasNextPage } } }',
    "Mutation.startBankLink": """mutation { startBankLink(input: {institutionId: "x", redirectUri: "x", idempotencyKey: "k"}) {
        position } }""",
    "Mutation.completeBankLink": """mutation { completeBankLink(input: {consentId: "x", credential: {code: "x", state: "x"}}) {
        position } }""",
    "Mutation.renewBankConsent": """mutation { renewBankConsent(input: {consentId: "x", redirectUri: "x", idempotencyKey: "k"}) {
        position } }""",
    "Mutation.revokeBankConsent": 'mutation { revokeBankConsent(input: {consentId: "x", idempotencyKey: "k"}) { position } }',
    "Mutation.deleteBankLink": 'mutation { deleteBankLink(input: {consentId: "x", idempotencyKey: "k"}) { position } }',
    "Mutation.refreshBankLink": 'mutation { refreshBankLink(input: {consentId: "x"}) { position } }',
    "Mutation.tagBankTransaction": """mutation { tagBankTransaction(input: {transactionId: "x", tags: [], idempotencyKey: "k"}) {
        position } }""",
    "Mutation.initiatePayment": """mutation { initiatePayment(input: {fromAccountId: "x", amount: {amount: "1", asset: "EUR"},
        payee: {name: "x", account: {}}, idempotencyKey: "k"}) { position } }""",
    "Mutation.answerScaChallenge": """mutation { answerScaChallenge(input: {challengeId: "x", answer: {oneTimeCode: "1"}}) {
        position } }""",
    "Mutation.cancelPayment": 'mutation { cancelPayment(input: {paymentId: "x", idempotencyKey: "k"}) { position } }',
    "Query.paymentsForReview": "{ paymentsForReview { totalCount } }",
    "Query.reconciliationCases": "{ reconciliationCases { totalCount } }",
    "Mutation.closeReconciliationCase": (
        'mutation { closeReconciliationCase(input: {caseId: "x", reason: "x", idempotencyKey: "k"}) { position } }'
    ),
    "Mutation.proposeSuspenseDecision": """mutation { proposeSuspenseDecision(input: {caseId: "x", reason: "x",
        idempotencyKey: "k"}) { position } }""",
    "Mutation.confirmSuspenseDecision": """mutation { confirmSuspenseDecision(input: {caseId: "x", proposalId: "x",
        idempotencyKey: "k"}) { position } }""",
    "Mutation.releasePayment": 'mutation { releasePayment(input: {paymentId: "x", idempotencyKey: "k"}) { position } }',
    "Mutation.refusePayment": 'mutation { refusePayment(input: {paymentId: "x", idempotencyKey: "k"}) { position } }',
    "Query.paymentsParked": "{ paymentsParked { totalCount } }",
    "Mutation.lookAtPaymentAgain": """mutation { lookAtPaymentAgain(input: {paymentId: "x", idempotencyKey: "k"}) { position } }""",
    "Mutation.proposePaymentDecision": """mutation { proposePaymentDecision(input: {paymentId: "x", finding: NOT_EXECUTED, reason: "x",
        idempotencyKey: "k"}) { position } }""",
    "Mutation.confirmPaymentDecision": """mutation { confirmPaymentDecision(input: {paymentId: "x", proposalId: "x",
        idempotencyKey: "k"}) { position } }""",
    "Mutation.beginDeviceEnrolment": 'mutation { beginDeviceEnrolment(input: {name: "", idempotencyKey: "k"}) { position } }',
    "Mutation.completeDeviceEnrolment": """mutation { completeDeviceEnrolment(input: {deviceId: "x", credential: "x",
        idempotencyKey: "k"}) { position } }""",
    "Mutation.removeDevice": 'mutation { removeDevice(input: {deviceId: "x", idempotencyKey: "k"}) { position } }',
    "Mutation.markNotificationsRead": 'mutation { markNotificationsRead(input: {through: "1"}) { position } }',
    "Mutation.setNotificationPreference": """mutation { setNotificationPreference(input: {kind: SCA_BLOCKED, channel: PUSH,
        wanted: true}) { position } }""",
    "Mutation.beginAuthenticatorApp": 'mutation { beginAuthenticatorApp(input: {idempotencyKey: ""}) { position } }',
    "Mutation.completeAuthenticatorApp": 'mutation { completeAuthenticatorApp(input: {code: "1", idempotencyKey: ""}) { position } }',
    "Mutation.removeAuthenticatorApp": 'mutation { removeAuthenticatorApp(input: {idempotencyKey: ""}) { position } }',
    "Mutation.initiateBatchPayment": """mutation { initiateBatchPayment(input: {fromAccountId: "x", payments: [], idempotencyKey: ""}) {
        position } }""",
    "Mutation.topUp": """mutation { topUp(input: {fromAccountId: "x", toAccountId: "x", amount: {amount: "1", asset: "EUR"},
        idempotencyKey: ""}) { position } }""",
    "Mutation.changeLimit": """mutation { changeLimit(input: {asset: "EUR", perPayment: "1", perDay: "1", idempotencyKey: ""}) {
        position } }""",
    "Mutation.checkPayee": 'mutation { checkPayee(input: {name: "", account: {}}) { position } }',
    "Mutation.addPayee": """mutation { addPayee(input: {payee: {name: "", account: {}}, idempotencyKey: "k"}) { position } }""",
    "Mutation.removePayee": 'mutation { removePayee(input: {payeeId: "x", idempotencyKey: "k"}) { position } }',
    "Mutation.settleDeposit": """mutation { settleDeposit(input: {accountId: "x", amount: {amount: "1", asset: "EUR"},
        reference: "nowhere"}) { position } }""",
}


def plain(answer: httpx.Response) -> tuple[int, Any, dict[str, str]]:
    """An answer without what is always its own: correlation id, date."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>", answer.text)
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "x-correlation-id")}
    return answer.status_code, text, headers


def unreachable(foreign: str) -> dict[str, str]:
    """Ids that are not an account of the asker's: another's, a missing one, and many that are no ids."""
    decoded = decode(foreign)
    assert decoded is not None
    kind, parts = decoded
    return {
        "foreign": foreign,
        "missing": encode(kind, *(uuid4() for _ in parts)),
        "another type's": encode(Kind.AGGREGATE, parts[0]),
        "of no type": base64.urlsafe_b64encode(b"zz" + parts[0].bytes).decode(),
        "cut short": foreign[:-3],
        "too long": foreign + "AAAA",
        "padded": foreign + "=",
        "a bare uuid": str(parts[0]),
        "empty": "",
        "NUL": "\x00",
        "SQL": "' or 1=1 --",
        "not ASCII": "ＹＷＭ",
        "huge": "A" * 10_000,
    }


@pytest.mark.parametrize("kind", ["account", "journal", "transaction", "viewer"])
def test_another_persons_node_answers_as_a_missing_one(ada: Person, grace: Person, olga: Person, kind: str) -> None:
    account = ada.open()
    journal = deposit(olga, account, "5.00")["journal"]["id"]
    history = ada.account(account, "transactions { edges { node { id } } }")
    transaction = history["transactions"]["edges"][0]["node"]["id"]
    viewer = ada.ask("{ viewer { id } }")["viewer"]["id"]
    mine = {"account": account, "journal": journal, "transaction": transaction, "viewer": viewer}[kind]

    answers = {name: plain(grace.post(NODE, {"id": id})) for name, id in unreachable(mine).items()}

    assert ada.ask(NODE, {"id": mine})["node"]["id"] == mine
    assert set(map(str, answers.values())) == {str(answers["missing"])}
    assert '"node":null' in answers["missing"][1]
    assert "errors" not in answers["missing"][1]


@pytest.mark.parametrize("field", ["fromAccountId", "toAccountId"])
def test_another_persons_account_as_argument_answers_as_a_missing_one(
    ada: Person, grace: Person, funded: str, field: str
) -> None:
    closed = grace.open()
    grace.change("closeAccount", closed)
    theirs = grace.open("GBP") if field == "toAccountId" else grace.open()
    ids = unreachable(theirs) | ({"closed": closed} if field == "toAccountId" else {})

    def attempt(id: str) -> tuple[int, Any, dict[str, str]]:
        wish = {
            "fromAccountId": funded,
            "toAccountId": ada_other,
            "amount": {"amount": "1.00", "asset": "EUR"},
            "idempotencyKey": uuid4().hex,
        } | {field: id}
        return plain(ada.post(CONTRACT, {"input": wish}, "TransferInternally"))

    ada_other = ada.open()
    answers = {name: attempt(id) for name, id in ids.items()}

    assert set(map(str, answers.values())) == {str(answers["missing"])}
    assert ("ACCOUNT_NOT_FOUND" if field == "fromAccountId" else "RECIPIENT_NOT_FOUND") in answers["missing"][1]


@pytest.mark.parametrize("mutation", ["closeAccount", "renameAccount"])
def test_another_persons_account_cannot_be_changed(ada: Person, grace: Person, mutation: str) -> None:
    theirs = grace.open(name="Theirs")
    name = ', name: "Mine now"' if mutation == "renameAccount" else ""
    shown = "account { id } errors { code message path } position"
    query = f"mutation($id: ID!, $k: String!) {{ {mutation}(input: {{accountId: $id{name}, idempotencyKey: $k}}) {{ {shown} }} }}"

    answers = {name: plain(ada.post(query, {"id": id, "k": uuid4().hex})) for name, id in unreachable(theirs).items()}

    assert set(map(str, answers.values())) == {str(answers["missing"])}
    assert grace.ask(NODE, {"id": theirs})["node"]["name"] == "Theirs"


def test_a_shared_transfer_shows_each_side_its_own(ada: Person, grace: Person, funded: str) -> None:
    target = grace.open()
    ada.transfer(funded, target, "3.00")
    query = """query($id: ID!) { node(id: $id) { ... on Account { transactions { edges { node {
        amount { amount } direction journal { entries { account { id } } } } } } } } }"""

    theirs = grace.ask(query, {"id": target})["node"]["transactions"]["edges"][0]["node"]

    assert (theirs["amount"]["amount"], theirs["direction"]) == ("3.00", "CREDIT")
    assert theirs["journal"]["entries"] == [{"account": None}, {"account": {"id": target}}]


def test_the_trail_is_ones_own_and_hides_who_the_other_is(
    ada: Person, grace: Person, alan: Person, funded: str
) -> None:
    target, correlation_id = grace.open(), f"transfer-{uuid4()}"
    wish = {
        "fromAccountId": funded,
        "toAccountId": target,
        "amount": {"amount": "3.00", "asset": "EUR"},
        "idempotencyKey": uuid4().hex,
    }
    ada.ask(CONTRACT, {"input": wish}, "TransferInternally", x_correlation_id=correlation_id)

    def trail(person: Person) -> list[Any]:
        found = person.ask(CONTRACT, {"correlationId": correlation_id}, "AuditTrail")["auditTrail"]["edges"]
        return [edge["node"] for edge in found]

    mine, theirs, auditors, strangers = trail(ada), trail(grace), trail(alan), trail(Person(ada._served))
    assert [event["eventType"] for event in mine] == ["JournalPosted"]
    assert mine[0]["actor"] == auditors[0]["actor"] == f"person:{ada.id}"
    assert theirs == [mine[0] | {"actor": "counterparty"}]
    assert strangers == []
    assert re.fullmatch(r"[0-9a-f]{64}", mine[0]["hash"])


def test_the_trail_of_an_opening_begins_with_it(ada: Person) -> None:
    account = ada.open()
    events = [e["node"] for e in ada.ask(CONTRACT, {}, "AuditTrail")["auditTrail"]["edges"]]

    assert [(e["eventType"], e["aggregateId"], e["version"]) for e in events] == [("AccountOpened", account, 1)]


@pytest.mark.parametrize("correlation_id", ["\x00", "x" * 65, "' or 1=1", ""])
def test_an_odd_correlation_id_finds_nothing(ada: Person, correlation_id: str) -> None:
    ada.open()

    assert ada.ask(CONTRACT, {"correlationId": correlation_id}, "AuditTrail")["auditTrail"]["edges"] == []


def test_every_root_field_is_tried_below() -> None:
    assert (
        CALLS.keys()
        | {
            f"Subscription.{name}"
            for name in ("balanceChanged", "consentChanged", "paymentProgressed", "notificationReceived")
        }
        == ACCESS.keys()
    )


@pytest.mark.parametrize("role", sorted(Role))
@pytest.mark.parametrize("field", sorted(CALLS))
def test_scopes_gate_every_root_field(served: Served, role: Role, field: str) -> None:
    answer = Person(served, role).post(CALLS[field]).json()
    codes = [error["extensions"]["code"] for error in answer.get("errors", [])]

    assert codes == ([] if ACCESS[field] in allowed([role]) else ["FORBIDDEN"])


def test_an_auditor_changes_nothing() -> None:
    assert not allowed([Role.AUDITOR]) & {Scope.WRITE, Scope.OPERATE}
    assert {scope for field, scope in ACCESS.items() if field.startswith("Mutation.")} == {Scope.WRITE, Scope.OPERATE}


def test_an_operator_sees_the_account_that_was_frozen(ada: Person, olga: Person) -> None:
    account = ada.open()

    assert olga.ask(NODE, {"id": account})["node"]["id"] == account
    own = olga.ask("{ viewer { accounts { totalCount edges { node { id } } } } }")["viewer"]["accounts"]
    assert own == {"totalCount": 0, "edges": []}


def test_two_people_at_once_never_see_each_other(ada: Person, grace: Person, served: Served) -> None:
    mine, theirs = ada.open(name="Ada's"), grace.open(name="Grace's")
    query = "query($a: ID!, $b: ID!) { a: node(id: $a) { id } b: node(id: $b) { id } viewer { accounts { edges { node { name } } } } }"

    for _ in range(20):
        one, other = ada.ask(query, {"a": mine, "b": theirs}), grace.ask(query, {"a": mine, "b": theirs})
        assert (one["a"], one["b"]) == ({"id": mine}, None)
        assert (other["a"], other["b"]) == (None, {"id": theirs})
        assert "Grace's" not in str(one)
        assert "Ada's" not in str(other)


def test_an_ended_token_is_refused_though_it_was_good(served: Served, ada: Person) -> None:
    ada.token = token(ada.subject, seconds=-0.1)

    answer = ada.post("{ viewer { id } }")

    assert answer.status_code == 401
