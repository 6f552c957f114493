"""Who may do what: one row for each field of Query, Mutation and Subscription, put around the field when the schema is made.

A field without a row stops the start, so that none is ever open by being forgotten.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from graphql import GraphQLObjectType, GraphQLSchema

from isthmus.auth.scopes import Scope
from isthmus.graphql.errors import Forbidden

#: What the token must carry. A token never carries more than its person's roles allow (auth/scopes.py).
ACCESS: Mapping[str, Scope] = {
    "Query.viewer": Scope.READ,
    "Query.node": Scope.READ,
    "Query.assets": Scope.READ,
    "Query.auditTrail": Scope.READ,
    "Query.apiKeys": Scope.READ,
    "Query.institutions": Scope.READ,
    "Query.paymentsForReview": Scope.OPERATE,
    "Query.paymentsParked": Scope.OPERATE,
    "Query.reconciliationCases": Scope.OPERATE,
    "Mutation.openAccount": Scope.WRITE,
    "Mutation.renameAccount": Scope.WRITE,
    "Mutation.closeAccount": Scope.WRITE,
    "Mutation.transferInternally": Scope.WRITE,
    "Mutation.freezeAccount": Scope.OPERATE,
    "Mutation.unfreezeAccount": Scope.OPERATE,
    "Mutation.settleDeposit": Scope.OPERATE,
    "Mutation.createApiKey": Scope.WRITE,
    "Mutation.revokeApiKey": Scope.WRITE,
    "Mutation.startBankLink": Scope.WRITE,
    "Mutation.completeBankLink": Scope.WRITE,
    "Mutation.renewBankConsent": Scope.WRITE,
    "Mutation.revokeBankConsent": Scope.WRITE,
    "Mutation.deleteBankLink": Scope.WRITE,
    "Mutation.refreshBankLink": Scope.WRITE,
    "Mutation.tagBankTransaction": Scope.WRITE,
    "Mutation.initiatePayment": Scope.WRITE,
    "Mutation.answerScaChallenge": Scope.WRITE,
    "Mutation.cancelPayment": Scope.WRITE,
    "Mutation.releasePayment": Scope.OPERATE,
    "Mutation.refusePayment": Scope.OPERATE,
    "Mutation.lookAtPaymentAgain": Scope.OPERATE,
    "Mutation.proposePaymentDecision": Scope.OPERATE,
    "Mutation.confirmPaymentDecision": Scope.OPERATE,
    "Mutation.closeReconciliationCase": Scope.OPERATE,
    "Mutation.proposeSuspenseDecision": Scope.OPERATE,
    "Mutation.confirmSuspenseDecision": Scope.OPERATE,
    "Mutation.beginDeviceEnrolment": Scope.WRITE,
    "Mutation.completeDeviceEnrolment": Scope.WRITE,
    "Mutation.removeDevice": Scope.WRITE,
    "Mutation.markNotificationsRead": Scope.WRITE,
    "Mutation.setNotificationPreference": Scope.WRITE,
    "Mutation.beginAuthenticatorApp": Scope.WRITE,
    "Mutation.completeAuthenticatorApp": Scope.WRITE,
    "Mutation.removeAuthenticatorApp": Scope.WRITE,
    "Mutation.changeLimit": Scope.WRITE,
    "Mutation.initiateBatchPayment": Scope.WRITE,
    "Mutation.topUp": Scope.WRITE,
    "Mutation.checkPayee": Scope.WRITE,
    "Mutation.addPayee": Scope.WRITE,
    "Mutation.removePayee": Scope.WRITE,
    "Subscription.balanceChanged": Scope.READ,
    "Subscription.consentChanged": Scope.READ,
    "Subscription.paymentProgressed": Scope.READ,
    "Subscription.notificationReceived": Scope.READ,
}

#: What nobody does by API key: one that leaked could make others, and outlive its own end; and nobody answers for somebody else, or
#: judges in their name.
IN_PERSON = frozenset(
    {
        "Query.apiKeys",
        "Mutation.createApiKey",
        "Mutation.revokeApiKey",
        "Mutation.answerScaChallenge",
        "Mutation.releasePayment",
        "Mutation.refusePayment",
        "Mutation.lookAtPaymentAgain",
        "Mutation.proposePaymentDecision",
        "Mutation.confirmPaymentDecision",
        "Mutation.closeReconciliationCase",
        "Mutation.proposeSuspenseDecision",
        "Mutation.confirmSuspenseDecision",
        "Mutation.beginDeviceEnrolment",
        "Mutation.completeDeviceEnrolment",
        "Mutation.removeDevice",
        "Mutation.setNotificationPreference",
        "Mutation.beginAuthenticatorApp",
        "Mutation.completeAuthenticatorApp",
        "Mutation.removeAuthenticatorApp",
        "Mutation.changeLimit",
        "Mutation.addPayee",
        "Mutation.removePayee",
    }
)


def guard(schema: GraphQLSchema, table: Mapping[str, Scope] = ACCESS) -> None:
    """Put each root field behind its row. Raises where a field has no row, or a row no field."""
    roots = [root for root in (schema.query_type, schema.mutation_type, schema.subscription_type) if root]
    names = {f"{root.name}.{field}" for root in roots for field in root.fields}
    if names != table.keys():
        raise LookupError(f"access is not declared for, or declared without a field: {sorted(names ^ table.keys())}")
    for root in roots:
        _guard_fields(root, table, subscribing=root is schema.subscription_type)


def _guard_fields(root: GraphQLObjectType, table: Mapping[str, Scope], *, subscribing: bool) -> None:
    for name, field in root.fields.items():
        place = f"{root.name}.{name}"
        scope, in_person = table[place], place in IN_PERSON
        if subscribing:
            field.subscribe = _guarded(scope, in_person, field.subscribe)
        else:
            field.resolve = _guarded(scope, in_person, field.resolve)


def _guarded(scope: Scope, in_person: bool, inner: Callable[..., Any] | None) -> Callable[..., Any]:
    assert inner is not None, "every root field has a resolver"

    def resolve(root: Any, info: Any, /, **arguments: Any) -> Awaitable[Any] | AsyncIterator[Any] | Any:
        if not info.context.caller.may(scope):
            raise Forbidden(f"This needs the scope {scope.value}.")
        if in_person and info.context.caller.api_key_id is not None:
            raise Forbidden("An API key cannot do this: sign in yourself.")
        return inner(root, info, **arguments)

    return resolve
