"""The contract: what clients ship runs, every word is described, and every root field says who may ask it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    parse,
    validate,
)
from typer.testing import CliRunner

from isthmus.cli.schema import schema as command
from isthmus.domain import refusals
from isthmus.domain.refusals import Refusal, RefusalCode
from isthmus.graphql.access import ACCESS, guard
from isthmus.graphql.error_catalogue import REFUSALS
from isthmus.graphql.sdl import difference, sdl, snapshot
from isthmus.resolvers.payments import MESSAGES
from isthmus.resolvers.user_error import UserErrorCode
from isthmus.resolvers.user_errors import TYPES

CONTRACT = Path(__file__).parent.parent / "contract"


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema(sdl())


def test_the_snapshot_is_what_the_code_says() -> None:
    assert not difference(snapshot(), sdl()), "isthmus schema --check says what changed"


def test_every_operation_of_the_contract_validates(schema: GraphQLSchema) -> None:
    document = parse((CONTRACT / "01-spine.graphql").read_text(encoding="utf-8"))
    names = [
        node.name.value for node in document.definitions if isinstance(node, OperationDefinitionNode) and node.name
    ]

    assert validate(schema, document) == []
    assert names == [
        "Viewer", "OpenAccount", "TransferInternally", "AccountHistory", "BalanceChanged", "AuditTrail",
    ]  # fmt: skip


def test_every_operation_of_the_open_banking_contract_validates(schema: GraphQLSchema) -> None:
    document = parse((CONTRACT / "02-open-banking.graphql").read_text(encoding="utf-8"))

    assert validate(schema, document) == []


def test_every_operation_of_the_payments_contract_validates(schema: GraphQLSchema) -> None:
    document = parse((CONTRACT / "03-payments-sca.graphql").read_text(encoding="utf-8"))

    assert validate(schema, document) == []


def test_null_is_only_where_the_contract_says(schema: GraphQLSchema) -> None:
    nullable = {
        f"{kind.name}.{name}"
        for kind in schema.type_map.values()
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType) and not kind.name.startswith("__")
        for name, field in kind.fields.items()
        if not str(field.type).endswith("!")
    }

    assert nullable == {
        "Query.node",
        "Account.name",
        "LedgerAccount.name",
        "ApiKey.name",
        "ApiKey.revokedAt",
        "ApiKey.lastUsedAt",
        "AuditEvent.causationId",
        "BalanceChange.cause",
        "BalanceChange.lagged",
        "Journal.reference",
        "JournalEntry.account",
        "PageInfo.startCursor",
        "PageInfo.endCursor",
        "Transaction.description",
        "Transaction.journal",
        "Transaction.valueDate",
        "Transaction.counterparty",
        "Transaction.provider",
        "Transaction.providerReference",
        "Transaction.category",
        "Counterparty.name",
        "Counterparty.account",
        "Counterparty.reference",
        "Institution.logoUrl",
        "BankConsent.expiresAt",
        "BankConsent.daysLeft",
        "BankSync.syncedAt",
        "BankSync.fault",
        "BankSync.nextSyncAllowedAt",
        "BankAccount.name",
        "BankAccount.iban",
        "DynamicLink.payeeName",
        "DynamicLink.payeeAccount",
        "Payee.name",
        "Payee.account",
        "Payment.reference",
        "Payment.payeeCheck",
        "Payment.toAccount",
        "TopUpPayload.payment",
        "PayeeCheck.warning",
        "PayeeCheck.matchedName",
        "PayeeCheck.resembles",
        "KnownPayee.name",
        "KnownPayee.account",
        "SavedPayee.name",
        "SavedPayee.account",
        "SavedPayee.savedAt",
        "CheckPayeePayload.check",
        "AddPayeePayload.payee",
        "RemovePayeePayload.payee",
        "Payment.challenge",
        "Payment.exemption",
        "Payment.failure",
        "InitiatePaymentPayload.payment",
        "AnswerScaChallengePayload.payment",
        "AnswerScaChallengePayload.challenge",
        "AnswerScaChallengePayload.subject",
        "ScaChallenge.dynamicLink",
        "OneTimeCodeChallenge.dynamicLink",
        "DeviceChallenge.dynamicLink",
        "RedirectChallenge.dynamicLink",
        "RedirectChallenge.url",
        "DecoupledChallenge.dynamicLink",
        "Device.name",
        "Notification.title",
        "Notification.body",
        "Notification.about",
        "Notification.readAt",
        "Device.enrolledAt",
        "Device.lastUsedAt",
        "Device.creationOptions",
        "BeginDeviceEnrolmentPayload.device",
        "CompleteDeviceEnrolmentPayload.device",
        "RemoveDevicePayload.device",
        "ApiKey.challenge",
        "BoundPayee.name",
        "BoundPayee.account",
        "PaymentBatch.challenge",
        "InitiateBatchPaymentPayload.batch",
        "AuthenticatorApp.enrolledAt",
        "AuthenticatorApp.lastUsedAt",
        "BeginAuthenticatorAppPayload.app",
        "BeginAuthenticatorAppPayload.otpauthUri",
        "CompleteAuthenticatorAppPayload.app",
        "RemoveAuthenticatorAppPayload.app",
        "TotpChallenge.dynamicLink",
        "Viewer.authenticatorApp",
        "PersonalLimit.asked",
        "PersonalLimit.challenge",
        "ChangeLimitPayload.limit",
        "CancelPaymentPayload.payment",
        "ScaRejected.challengeState",
        "BankAccount.number",
        "RedirectAuthorization.expiresAt",
        "LinkTokenAuthorization.expiresAt",
        "LinkTokenAuthorization.hostedUrl",
        "StartBankLinkPayload.consent",
        "StartBankLinkPayload.authorization",
        "CompleteBankLinkPayload.consent",
        "RenewBankConsentPayload.consent",
        "RenewBankConsentPayload.authorization",
        "RevokeBankConsentPayload.consent",
        "DeleteBankLinkPayload.consent",
        "RefreshBankLinkPayload.consent",
        "TagBankTransactionPayload.transaction",
        "OpenAccountPayload.account",
        "RenameAccountPayload.account",
        "CloseAccountPayload.account",
        "CreateApiKeyPayload.apiKey",
        "CreateApiKeyPayload.secret",
        "RevokeApiKeyPayload.apiKey",
        "FreezeAccountPayload.account",
        "UnfreezeAccountPayload.account",
        "TransferInternallyPayload.journal",
        "LimitExceeded.resetsAt",
        "ScaBlocked.resetsAt",
        "TooManyCodes.resetsAt",
        "ScaRequired.threshold",
        "ReleasePaymentPayload.payment",
        "RefusePaymentPayload.payment",
        "Payment.moved",
        "ParkedPayment.providerReference",
        "ParkedPayment.proposal",
        "PaymentProposal.providerReference",
        "PaymentProposal.reason",
        "LookAtPaymentAgainPayload.payment",
        "LookAtPaymentAgainPayload.parked",
        "LookAtPaymentAgainPayload.told",
        "ProposePaymentDecisionPayload.parked",
        "ConfirmPaymentDecisionPayload.payment",
        "CloseReconciliationCasePayload.case",
        "ProposeSuspenseDecisionPayload.case",
        "ConfirmSuspenseDecisionPayload.case",
        "ReconciliationCase.proposal",
        "SuspenseDecisionProposal.accountId",
        "SuspenseDecisionProposal.returnEntry",
        "SuspenseDecisionProposal.reason",
        "ReconciliationCase.why",
        "ReconciliationCase.journalId",
        "ReconciliationCase.entry",
        "ReconciliationCase.ours",
        "ReconciliationCase.theirs",
        "ReconciliationCase.reason",
        "ReconciliationCase.closedAt",
        "ReconciliationCase.closedBy",
        "SettleDepositPayload.journal",
    }


def test_one_operation_may_ask_of_every_refusal_all_that_it_tells(schema: GraphQLSchema) -> None:
    """By the fields' own names, without an alias: fields of one name and another type are refused beside each other."""
    refusal = schema.get_type("UserError")
    assert isinstance(refusal, GraphQLInterfaceType)
    tells: dict[str, set[str]] = {}
    for kind in schema.get_possible_types(refusal):
        for name, field in kind.fields.items():
            tells.setdefault(name, set()).add(str(field.type))

    assert {name: kinds for name, kinds in tells.items() if len(kinds) > 1} == {}


def test_every_failure_of_a_payment_that_is_ours_has_words_of_its_own() -> None:
    page = (Path(__file__).parents[2] / "docs" / "payments.md").read_text(encoding="utf-8")
    codes = re.findall(r"^\| `(\w+)` \|", page.split("## Failure codes")[1].split("\n## ")[0], re.MULTILINE)

    assert set(codes) == MESSAGES.keys(), "of any other it says that the bank would not have it"


def test_items_of_lists_are_never_null(schema: GraphQLSchema) -> None:
    lists = [
        str(field.type)
        for kind in schema.type_map.values()
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType) and not kind.name.startswith("__")
        for field in kind.fields.values()
        if "[" in str(field.type)
    ]

    assert lists
    assert all(text.endswith("!]!") for text in lists)


def test_everything_is_described(schema: GraphQLSchema) -> None:
    bare = []
    for kind in schema.type_map.values():
        if kind.name.startswith("__") or kind.name in ("String", "Int", "Boolean", "ID", "Float"):
            continue
        bare += [] if kind.description else [kind.name]
        if isinstance(kind, GraphQLEnumType):
            bare += [f"{kind.name}.{name}" for name, value in kind.values.items() if not value.description]
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for name, field in kind.fields.items():
                bare += [] if field.description else [f"{kind.name}.{name}"]
                arguments = getattr(field, "args", {})
                bare += [f"{kind.name}.{name}({a})" for a, value in arguments.items() if not value.description]

    assert bare == []


def test_every_refusal_has_a_type_and_every_code_a_value() -> None:
    kinds = {
        kind
        for kind in vars(refusals).values()
        if isinstance(kind, type) and issubclass(kind, Refusal) and kind is not Refusal
    }

    assert kinds == TYPES.keys()
    assert len(set(TYPES.values())) == len(TYPES)
    assert {code.name for code in RefusalCode} == {code.name for code in UserErrorCode}
    assert set(RefusalCode) == REFUSALS.keys(), "docs/errors.md says of each what to do"


def test_every_root_field_declares_who_may_ask_it(schema: GraphQLSchema) -> None:
    roots = [root for root in (schema.query_type, schema.mutation_type, schema.subscription_type) if root]

    assert ACCESS.keys() == {f"{root.name}.{field}" for root in roots for field in root.fields}


@pytest.mark.parametrize("forgotten", sorted(ACCESS))
def test_a_field_without_a_declared_scope_stops_the_start(schema: GraphQLSchema, forgotten: str) -> None:
    with pytest.raises(LookupError, match=forgotten):
        guard(schema, {name: scope for name, scope in ACCESS.items() if name != forgotten})


@pytest.mark.parametrize(
    ("before", "after", "breaking"),
    [
        ("type Query { a: Int! b: Int }", "type Query { a: Int! }", True),
        ("type Query { a: Int! }", "type Query { a: Int }", True),
        ("type Query { a: Int }", "type Query { a(b: Int!): Int }", True),
        ("type Query { a: Int! }", "type Query { a: Int! b: Int }", False),
        ("type Query { a: Int! }", '"Words." type Query { a: Int! }', False),
    ],
)
def test_a_breaking_change_is_told_from_an_addition(before: str, after: str, breaking: bool) -> None:
    found = difference(before, after)

    assert found
    assert bool(found.breaking) is breaking


def test_the_command_says_what_would_break(tmp_path: Path) -> None:
    older = tmp_path / "older.graphql"
    older.write_text(sdl().replace("type Query {", "type Query {\n  gone: Int\n", 1), encoding="utf-8")
    app = typer.Typer()
    app.command()(command)

    same = CliRunner().invoke(app, ["--check"])
    other = CliRunner().invoke(app, ["--against", str(older)])
    missing = CliRunner().invoke(app, ["--against", str(tmp_path / "nothing")])

    assert (same.exit_code, other.exit_code, missing.exit_code) == (0, 1, 2)
    assert "FIELD_REMOVED: Field Query.gone was removed." in other.output
    assert CliRunner().invoke(app, []).output == sdl()
