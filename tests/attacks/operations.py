"""How each operation of the schema is called, and where in it an id goes: what rows B1, B4 and B7 walk.

The places are found by walking the schema. One that stands in no entry here, or an entry that stands for no place, fails the suite:
an operation that nobody thought of is an operation that nobody attacked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from graphql import GraphQLInputObjectType, GraphQLInputType, GraphQLObjectType, get_named_type, is_input_object_type

from isthmus.auth.scopes import Role
from isthmus.graphql.schema import build_schema

FRESH = object()  # an idempotency key of its own each time
MINE = object()  # an account of the attacker's own
MONEY = {"amount": "1.00", "asset": "EUR"}
_MOVE = {"fromAccountId": MINE, "toAccountId": MINE, "amount": MONEY, "idempotencyKey": FRESH}

_PARTS = "position replayed errors { __typename code message path }"
_SEEN = """__typename id ... on Account { name asset balance { posted { amount } } transactions { totalCount } }
    ... on Journal { reference correlationId entries { amount { amount } } } ... on Transaction { description }
    ... on Viewer { subject accounts { totalCount } } ... on ApiKey { prefix name scopes }
    ... on BankConsent { status linked: accounts { id } } ... on Payment { state payee { name } }
    ... on Device { called: name } ... on SavedPayee { told: name account }"""


#: What may be given in the place of what an honest caller gives here.
OTHERWISE: Mapping[str, Mapping[str, Any]] = {"redirectResult": {"code": "came", "state": "back"}}
#: What an input need not have, and has where something of it is tried.
AND_THEN: Mapping[str, Mapping[str, Any]] = {"amount": {"amount": "1.00", "asset": "EUR"}}
#: What stands in its input alone, in the place of everything that is there.
ALONE = ("ownAccountId", "savedPayeeId")
_FROM, _PAYEE_IDS = (
    {"input.fromAccountId": "account"},
    {"payee.accountId": "account", "payee.ownAccountId": "account", "payee.savedPayeeId": "payee"},
)


@dataclass(frozen=True)
class Call:
    """`ids`: by place, what an id there names. `role`: whoever may call it at all."""

    document: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict)
    role: Role = Role.CUSTOMER

    def filled(self, place: str | None, value: Any, mine: str) -> dict[str, Any]:
        """The variables, with `value` at `place` and everything else as an honest caller would have it."""
        made: dict[str, Any] = _copy(self.variables, mine)
        if place is not None:
            *steps, last = place.split(".")
            inner = made
            for step in steps:
                if step in OTHERWISE and step not in inner:
                    inner.clear()  # exactly one of them may be given
                    inner[step] = dict(OTHERWISE[step])
                if step in AND_THEN and step not in inner:
                    inner[step] = dict(AND_THEN[step])
                inner = inner[step]
                inner = inner[0] if isinstance(inner, list) else inner  # of a list, its first
            if last in ALONE:
                inner.clear()
            inner[last] = value
        return made


def _copy(value: Any, mine: str) -> Any:
    if value is FRESH:
        return uuid4().hex
    if value is MINE:
        return mine
    if isinstance(value, list):
        return [_copy(inner, mine) for inner in value]
    return {name: _copy(inner, mine) for name, inner in value.items()} if isinstance(value, Mapping) else value


def _wish(
    name: str, fields: Mapping[str, Any], shown: str, role: Role = Role.CUSTOMER, ids: Mapping[str, str] | None = None
) -> Call:
    document = f"mutation($input: {name[0].upper()}{name[1:]}Input!) {{ {name}(input: $input) {{ {shown} {_PARTS} }} }}"
    ids = ids or {f"input.{key}": "account" for key, value in fields.items() if value is MINE}
    return Call(document, {"input": dict(fields)}, ids, role)


_PAYMENT = "payment { id state payee { name } challenge { id } }"
_DEVICE = "device { id name state challenge { id } }"
_PAYEE = "payee { id name account challenge { id } }"
_CONSENT = "consent { id status accounts { id } }"
_ACCOUNT, _JOURNAL = "account { id name status }", "journal { id entries { account { id } } }"
CALLS: Mapping[str, Call] = {
    "Query.viewer": Call("{ viewer { __typename id subject } }"),
    "Query.node": Call(f"query($id: ID!) {{ node(id: $id) {{ {_SEEN} }} }}", {"id": MINE}, {"id": "node"}),
    "Query.assets": Call("{ assets { code } }"),
    "Query.auditTrail": Call(
        "query($correlationId: ID) { auditTrail(correlationId: $correlationId) { edges { node { eventId aggregateId actor } } } }",
        {"correlationId": FRESH},
        {"correlationId": "correlation"},
    ),
    "Mutation.openAccount": _wish("openAccount", {"asset": "EUR", "name": "x", "idempotencyKey": FRESH}, _ACCOUNT),
    "Mutation.renameAccount": _wish(
        "renameAccount", {"accountId": MINE, "name": "Mallory's", "idempotencyKey": FRESH}, _ACCOUNT
    ),
    "Mutation.closeAccount": _wish("closeAccount", {"accountId": MINE, "idempotencyKey": FRESH}, _ACCOUNT),
    "Mutation.freezeAccount": _wish(
        "freezeAccount", {"accountId": MINE, "idempotencyKey": FRESH}, _ACCOUNT, Role.OPERATOR
    ),
    "Mutation.unfreezeAccount": _wish(
        "unfreezeAccount", {"accountId": MINE, "idempotencyKey": FRESH}, _ACCOUNT, Role.OPERATOR
    ),
    "Mutation.settleDeposit": _wish(
        "settleDeposit", {"accountId": MINE, "amount": MONEY, "reference": FRESH}, _JOURNAL, Role.OPERATOR
    ),
    "Mutation.transferInternally": _wish("transferInternally", _MOVE, _JOURNAL),
    "Query.apiKeys": Call("{ apiKeys { edges { node { id name prefix } } } }"),
    "Mutation.createApiKey": _wish(
        "createApiKey", {"name": "x", "scopes": ["READ"], "idempotencyKey": FRESH}, "apiKey { id name prefix }"
    ),
    "Mutation.revokeApiKey": Call(
        f"mutation($input: RevokeApiKeyInput!) {{ revokeApiKey(input: $input) {{ apiKey {{ id name prefix }} {_PARTS} }} }}",
        {"input": {"apiKeyId": MINE, "idempotencyKey": FRESH}},
        {"input.apiKeyId": "api key"},
    ),
    "Query.institutions": Call('{ institutions(country: "GB") { edges { node { id name } } } }'),
    "Mutation.startBankLink": _wish(
        "startBankLink",
        {"institutionId": "nowhere-gb", "redirectUri": "https://app.example/linked", "idempotencyKey": FRESH},
        _CONSENT,
        ids={"input.institutionId": "institution"},
    ),
    "Mutation.completeBankLink": _wish(
        "completeBankLink",
        {"consentId": MINE, "credential": {"code": "x", "state": "y"}},
        _CONSENT,
        ids={"input.consentId": "consent"},
    ),
    "Mutation.renewBankConsent": _wish(
        "renewBankConsent",
        {"consentId": MINE, "redirectUri": "https://app.example/linked", "idempotencyKey": FRESH},
        _CONSENT,
        ids={"input.consentId": "consent"},
    ),
    "Mutation.revokeBankConsent": _wish(
        "revokeBankConsent", {"consentId": MINE, "idempotencyKey": FRESH}, _CONSENT, ids={"input.consentId": "consent"}
    ),
    "Mutation.deleteBankLink": _wish(
        "deleteBankLink", {"consentId": MINE, "idempotencyKey": FRESH}, _CONSENT, ids={"input.consentId": "consent"}
    ),
    "Mutation.refreshBankLink": _wish(
        "refreshBankLink", {"consentId": MINE}, _CONSENT, ids={"input.consentId": "consent"}
    ),
    "Mutation.tagBankTransaction": _wish(
        "tagBankTransaction",
        {"transactionId": MINE, "tags": ["x"], "idempotencyKey": FRESH},
        "transaction { id tags }",
        ids={"input.transactionId": "bank transaction"},
    ),
    "Mutation.initiatePayment": _wish(
        "initiatePayment",
        {
            "fromAccountId": MINE,
            "amount": MONEY,
            "payee": {"name": "x", "account": {"iban": "GB29NWBK60161331926819"}},
            "idempotencyKey": FRESH,
        },
        _PAYMENT,
        ids=_FROM | {f"input.{place}": kind for place, kind in _PAYEE_IDS.items()},
    ),
    "Mutation.answerScaChallenge": _wish(
        "answerScaChallenge",
        {"challengeId": MINE, "answer": {"oneTimeCode": "000000"}},
        _PAYMENT,
        ids={"input.challengeId": "challenge"},
    ),
    "Mutation.cancelPayment": _wish(
        "cancelPayment", {"paymentId": MINE, "idempotencyKey": FRESH}, _PAYMENT, ids={"input.paymentId": "payment"}
    ),
    "Mutation.beginDeviceEnrolment": _wish("beginDeviceEnrolment", {"name": "x", "idempotencyKey": FRESH}, _DEVICE),
    "Mutation.completeDeviceEnrolment": _wish(
        "completeDeviceEnrolment",
        {"deviceId": MINE, "credential": "{}", "idempotencyKey": FRESH},
        _DEVICE,
        ids={"input.deviceId": "device"},
    ),
    "Mutation.beginAuthenticatorApp": _wish(
        "beginAuthenticatorApp", {"idempotencyKey": FRESH}, "app { state challenge { id } }"
    ),
    "Mutation.completeAuthenticatorApp": _wish(
        "completeAuthenticatorApp", {"code": "000000", "idempotencyKey": FRESH}, "app { state challenge { id } }"
    ),
    "Mutation.removeAuthenticatorApp": _wish(
        "removeAuthenticatorApp", {"idempotencyKey": FRESH}, "app { state challenge { id } }"
    ),
    "Mutation.initiateBatchPayment": _wish(
        "initiateBatchPayment",
        {
            "fromAccountId": MINE,
            "payments": [{"amount": MONEY, "payee": {"name": "x", "account": {"iban": "GB29NWBK60161331926819"}}}],
            "idempotencyKey": FRESH,
        },
        "batch { payments { id state } challenge { id } }",
        ids=_FROM | {f"input.payments.{place}": kind for place, kind in _PAYEE_IDS.items()},
    ),
    "Mutation.topUp": _wish("topUp", _MOVE, _PAYMENT),
    "Mutation.changeLimit": _wish(
        "changeLimit",
        {"asset": "EUR", "perPayment": "1", "perDay": "1", "idempotencyKey": FRESH},
        "limit { asset limit { perDay { amount } } }",
    ),
    "Mutation.removeDevice": _wish(
        "removeDevice", {"deviceId": MINE, "idempotencyKey": FRESH}, _DEVICE, ids={"input.deviceId": "device"}
    ),
    "Mutation.checkPayee": Call(
        f"mutation($input: CheckPayeeInput!) {{ checkPayee(input: $input) {{ check {{ result matchedName }} {_PARTS} }} }}",
        {"input": {"name": "Bob Builder", "account": {"iban": "GB33BUKB20201555555555"}}},
    ),
    "Mutation.addPayee": _wish(
        "addPayee",
        {
            "payee": {"name": "Bob Builder", "account": {"iban": "GB33BUKB20201555555555"}},
            "idempotencyKey": FRESH,
        },
        _PAYEE,
        ids={f"input.{place}": kind for place, kind in _PAYEE_IDS.items()},
    ),
    "Mutation.removePayee": _wish(
        "removePayee", {"payeeId": MINE, "idempotencyKey": FRESH}, _PAYEE, ids={"input.payeeId": "payee"}
    ),
    "Subscription.paymentProgressed": Call(
        "subscription($paymentId: ID!) { paymentProgressed(paymentId: $paymentId) { id state } }",
        {"paymentId": MINE},
        {"paymentId": "payment"},
    ),
    "Query.paymentsForReview": Call(
        "{ paymentsForReview { edges { node { payment { id } rule } } } }", role=Role.OPERATOR
    ),
    "Query.reconciliationCases": Call("{ reconciliationCases { edges { node { id state } } } }", role=Role.OPERATOR),
    "Mutation.closeReconciliationCase": _wish(
        "closeReconciliationCase",
        {"caseId": MINE, "reason": "x", "idempotencyKey": FRESH},
        "case { id state }",
        Role.OPERATOR,
        ids={"input.caseId": "reconciliation case"},
    ),
    "Mutation.proposeSuspenseDecision": _wish(
        "proposeSuspenseDecision",
        {"caseId": MINE, "accountId": MINE, "reason": "x", "idempotencyKey": FRESH},
        "case { id state }",
        Role.OPERATOR,
        ids={"input.caseId": "reconciliation case", "input.accountId": "account"},
    ),
    "Mutation.confirmSuspenseDecision": _wish(
        "confirmSuspenseDecision",
        {"caseId": MINE, "proposalId": FRESH, "idempotencyKey": FRESH},
        "case { id state }",
        Role.OPERATOR,
        ids={"input.caseId": "reconciliation case", "input.proposalId": "proposal"},
    ),
    "Mutation.releasePayment": _wish(
        "releasePayment",
        {"paymentId": MINE, "idempotencyKey": FRESH},
        "payment { id state }",
        Role.OPERATOR,
        ids={"input.paymentId": "payment"},
    ),
    "Mutation.refusePayment": _wish(
        "refusePayment",
        {"paymentId": MINE, "idempotencyKey": FRESH},
        "payment { id state }",
        Role.OPERATOR,
        ids={"input.paymentId": "payment"},
    ),
    "Query.paymentsParked": Call(
        "{ paymentsParked { edges { node { payment { id } why evidence { told } } } } }", role=Role.OPERATOR
    ),
    "Mutation.lookAtPaymentAgain": _wish(
        "lookAtPaymentAgain",
        {"paymentId": MINE, "idempotencyKey": FRESH},
        "payment { id state } told",
        Role.OPERATOR,
        ids={"input.paymentId": "payment"},
    ),
    "Mutation.proposePaymentDecision": _wish(
        "proposePaymentDecision",
        {"paymentId": MINE, "finding": "NOT_EXECUTED", "reason": "x", "idempotencyKey": FRESH},
        "parked { payment { id state } }",
        Role.OPERATOR,
        ids={"input.paymentId": "payment"},
    ),
    "Mutation.confirmPaymentDecision": _wish(
        "confirmPaymentDecision",
        {"paymentId": MINE, "proposalId": FRESH, "idempotencyKey": FRESH},
        "payment { id state }",
        Role.OPERATOR,
        ids={"input.paymentId": "payment", "input.proposalId": "proposal"},
    ),
    "Mutation.markNotificationsRead": _wish("markNotificationsRead", {"through": "1"}, "unreadCount"),
    "Mutation.setNotificationPreference": _wish(
        "setNotificationPreference",
        {"kind": "PAYMENT_SETTLED", "channel": "EMAIL", "wanted": True},
        "preferences { kind wanted }",
    ),
    "Subscription.notificationReceived": Call("subscription { notificationReceived { id title } }"),
    "Subscription.consentChanged": Call("subscription { consentChanged { consent { id status } } }"),
    "Subscription.balanceChanged": Call(
        "subscription($accountIds: [ID!]) { balanceChanged(accountIds: $accountIds) { account { id } version } }",
        {"accountIds": None},
        {"accountIds": "accounts"},
    ),
}
#: Paying somebody else's account is what a transfer is for: there an id of another's is no attack.
MAY_NAME_ANOTHERS = {
    ("Mutation.transferInternally", "input.toAccountId"),
    ("Mutation.initiatePayment", "input.payee.accountId"),
    ("Mutation.initiateBatchPayment", "input.payments.payee.accountId"),
}
#: Whatever stands there is refused without being looked at.
NEVER_READ = {
    ("Mutation.addPayee", "input.payee.accountId"),
    ("Mutation.addPayee", "input.payee.ownAccountId"),
    ("Mutation.addPayee", "input.payee.savedPayeeId"),
    ("Mutation.initiateBatchPayment", "input.payments.payee.ownAccountId"),
}


def root_fields() -> Iterator[tuple[str, Any]]:
    schema = build_schema()._schema
    for root in (schema.query_type, schema.mutation_type, schema.subscription_type):
        assert isinstance(root, GraphQLObjectType)
        yield from ((f"{root.name}.{name}", found) for name, found in root.fields.items())


def id_places(found: Any) -> Iterator[str]:
    """Where an argument of a field takes an ID, as a path through its inputs."""
    for name, argument in found.args.items():
        yield from _places(name, argument.type, ())


def _places(path: str, given: GraphQLInputType, inside: tuple[str, ...]) -> Iterator[str]:
    named = get_named_type(given)
    if named.name == "ID":
        yield path
    elif is_input_object_type(named) and named.name not in inside:
        assert isinstance(named, GraphQLInputObjectType)
        for name, inner in named.fields.items():
            yield from _places(f"{path}.{name}", inner.type, (*inside, named.name))


def nested_id_places() -> Iterator[str]:
    """Arguments that take an ID below the root: none today, and a new one must be thought of."""
    schema = build_schema()._schema
    roots = {root.name for root in (schema.query_type, schema.mutation_type, schema.subscription_type) if root}
    for name, made in schema.type_map.items():
        if isinstance(made, GraphQLObjectType) and name not in roots and not name.startswith("__"):
            yield from (f"{name}.{f}.{place}" for f, found in made.fields.items() for place in id_places(found))
