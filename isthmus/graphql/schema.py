"""The schema: resolvers put together, with our scalars, our access table, and errors that are logged by us alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import strawberry
from graphql import GraphQLError
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from isthmus import tracing
from isthmus.graphql.access import guard
from isthmus.graphql.scalars import SCALARS
from isthmus.graphql.spans import trace_roots
from isthmus.resolvers.account_mutations import AccountMutations
from isthmus.resolvers.accounts import LedgerAccount
from isthmus.resolvers.api_keys import ApiKeyMutations, ApiKeyQueries
from isthmus.resolvers.apps import AppMutations
from isthmus.resolvers.assets import AssetQueries
from isthmus.resolvers.audit import AuditQueries
from isthmus.resolvers.bank_accounts import BankAccount
from isthmus.resolvers.batches import BatchMutations
from isthmus.resolvers.consent_mutations import ConsentMutations
from isthmus.resolvers.consent_subscriptions import ConsentSubscriptions
from isthmus.resolvers.devices import DeviceMutations
from isthmus.resolvers.institutions import InstitutionQueries
from isthmus.resolvers.journals import Journal
from isthmus.resolvers.limits import LimitMutations
from isthmus.resolvers.money_mutations import MoneyMutations
from isthmus.resolvers.notification_mutations import NotificationMutations
from isthmus.resolvers.notification_subscriptions import NotificationSubscriptions
from isthmus.resolvers.parked_payments import ParkedPaymentQueries
from isthmus.resolvers.payment_decisions import PaymentDecisionMutations
from isthmus.resolvers.payment_mutations import PaymentMutations
from isthmus.resolvers.payment_reviews import PaymentReviewMutations, PaymentReviewQueries
from isthmus.resolvers.payment_subscriptions import PaymentSubscriptions
from isthmus.resolvers.reconciliation import ReconciliationMutations, ReconciliationQueries
from isthmus.resolvers.saved_payees import PayeeMutations
from isthmus.resolvers.sca import CHALLENGES
from isthmus.resolvers.subscriptions import BalanceSubscriptions
from isthmus.resolvers.suspense import SuspenseMutations
from isthmus.resolvers.top_ups import TopUpMutations
from isthmus.resolvers.transactions import Transaction
from isthmus.resolvers.user_errors import TYPES
from isthmus.resolvers.viewer import ViewerQueries


@strawberry.type(description="Questions.")
class Query(
    ViewerQueries,
    AssetQueries,
    AuditQueries,
    ApiKeyQueries,
    InstitutionQueries,
    PaymentReviewQueries,
    ParkedPaymentQueries,
    ReconciliationQueries,
):
    pass


@strawberry.type(
    description="Wishes. Each says No in its payload's `errors`, and is safe to send again with the same key."
)
class Mutation(
    AccountMutations,
    MoneyMutations,
    ApiKeyMutations,
    ConsentMutations,
    PaymentMutations,
    TopUpMutations,
    PaymentReviewMutations,
    PaymentDecisionMutations,
    ReconciliationMutations,
    SuspenseMutations,
    DeviceMutations,
    NotificationMutations,
    AppMutations,
    BatchMutations,
    LimitMutations,
    PayeeMutations,
):
    pass


@strawberry.type(description="What happens, as it happens.")
class Subscription(BalanceSubscriptions, ConsentSubscriptions, PaymentSubscriptions, NotificationSubscriptions):
    pass


class UsePrepared(SchemaExtension):
    """Hands execution the document that was parsed, weighed and validated before (documents.py)."""

    def on_parse(self) -> Iterator[None]:
        context: Any = self.execution_context.context
        self.execution_context.graphql_document = context.prepared.document
        self.execution_context.pre_execution_errors = []
        yield


class Schema(strawberry.Schema):
    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """The library's own log line would hold the values of variables; the transports log without them (errors.py)."""


@cache
def build_schema() -> Schema:
    schema = Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[LedgerAccount, BankAccount, Journal, Transaction, *CHALLENGES, *TYPES.values()],
        extensions=[UsePrepared],
        config=StrawberryConfig(scalar_map=SCALARS, disable_field_suggestions=True),
    )
    guard(schema._schema)
    if tracing.on():
        trace_roots(schema._schema)
    return schema
