"""The viewer's authenticator app: to enrol one, to remove it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from isthmus.domain.refusals import InvalidInput, Refusal
from isthmus.domain.validation import first_fault, key_fault
from isthmus.graphql.context import AppInfo
from isthmus.graphql.scalars import Position
from isthmus.read_models.sca_apps import AppRow
from isthmus.resolvers.devices import DeviceState
from isthmus.resolvers.sca import ScaChallenge, challenge_of
from isthmus.resolvers.wishes import INPUT, KEY, AnyPayload, Payload, envelope_of, refused
from isthmus.write_models.envelope import Done, Refused

CODE_LENGTH_MAX = 16


@strawberry.type(description="An app that shows codes (TOTP) with which the viewer authorises.")
class AuthenticatorApp:
    row: strawberry.Private[AppRow]
    state: DeviceState = strawberry.field(description="Where it stands.")
    created_at: datetime = strawberry.field(description="When its enrolment was begun.")
    enrolled_at: datetime | None = strawberry.field(
        description="Since when its codes count; null where they never did."
    )
    last_used_at: datetime | None = strawberry.field(description="When one last did; null where none ever did.")

    @strawberry.field(description="What had to be answered before it could be enrolled.")
    def challenge(self) -> ScaChallenge:
        return challenge_of(self.row.challenge)


def app_of(row: AppRow) -> AuthenticatorApp:
    return AuthenticatorApp(
        row=row,
        state=DeviceState(row.state),
        created_at=row.created_at,
        enrolled_at=row.enrolled_at,
        last_used_at=row.used_at,
    )


@strawberry.input(description="An authenticator app to be enrolled.")
class BeginAuthenticatorAppInput:
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="The app's first code, once its challenge is answered.")
class CompleteAuthenticatorAppInput:
    code: str = strawberry.field(description="What the app shows.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="The authenticator app is to be removed.")
class RemoveAuthenticatorAppInput:
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.type(description="What became of the wish to enrol an app.")
class BeginAuthenticatorAppPayload(Payload):
    app: AuthenticatorApp | None = strawberry.field(description="The app, with its challenge; null when refused.")
    otpauth_uri: str | None = strawberry.field(
        description="What the app reads, as a QR code: it holds the secret. Shown this once, so a replay has null."
    )


@strawberry.type(description="What became of the app's first code.")
class CompleteAuthenticatorAppPayload(Payload):
    app: AuthenticatorApp | None = strawberry.field(description="The app; null when refused.")


@strawberry.type(description="What became of the wish to remove the app.")
class RemoveAuthenticatorAppPayload(Payload):
    app: AuthenticatorApp | None = strawberry.field(description="The app; null when refused.")


@strawberry.type
class AppMutations:
    @strawberry.mutation(
        description="Enrol an authenticator app. First the challenge in the answer is answered, with the code that is sent; then the app's "
        "first code is brought by `completeAuthenticatorApp`. Not for API keys."
    )
    async def begin_authenticator_app(
        self, info: AppInfo, input: Annotated[BeginAuthenticatorAppInput, strawberry.argument(description=INPUT)]
    ) -> BeginAuthenticatorAppPayload:
        fault = key_fault(input.idempotency_key)
        if fault is not None:
            return await refused(info, BeginAuthenticatorAppPayload, fault, "app", otpauth_uri=None)
        envelope = envelope_of(info, mutation="beginAuthenticatorApp", key=input.idempotency_key, body={})
        caller = info.context.caller
        begun = await info.context.services.apps.begin(caller.person_id, caller.subject, envelope)
        if isinstance(begun, Refused):
            return await refused(info, BeginAuthenticatorAppPayload, begun.refusal, "app", begun, otpauth_uri=None)
        return await _payload(info, BeginAuthenticatorAppPayload, begun.done, otpauth_uri=begun.uri)

    @strawberry.mutation(
        description="Bring the app's first code, once its challenge is passed. From then on who has no device is asked for its codes. "
        "Not for API keys."
    )
    async def complete_authenticator_app(
        self, info: AppInfo, input: Annotated[CompleteAuthenticatorAppInput, strawberry.argument(description=INPUT)]
    ) -> CompleteAuthenticatorAppPayload:
        fault = first_fault(key_fault(input.idempotency_key), _code_fault(input.code))
        if fault is not None:
            return await refused(info, CompleteAuthenticatorAppPayload, fault, "app")
        envelope = envelope_of(
            info, mutation="completeAuthenticatorApp", key=input.idempotency_key, body={"code": input.code}
        )
        outcome = await info.context.services.apps.complete(info.context.caller.person_id, input.code, envelope)
        if isinstance(outcome, Refused):
            return await refused(info, CompleteAuthenticatorAppPayload, outcome.refusal, "app", outcome)
        return await _payload(info, CompleteAuthenticatorAppPayload, outcome)

    @strawberry.mutation(description="Remove the authenticator app, at once and for ever. Not for API keys.")
    async def remove_authenticator_app(
        self, info: AppInfo, input: Annotated[RemoveAuthenticatorAppInput, strawberry.argument(description=INPUT)]
    ) -> RemoveAuthenticatorAppPayload:
        fault = key_fault(input.idempotency_key)
        if fault is not None:
            return await refused(info, RemoveAuthenticatorAppPayload, fault, "app")
        envelope = envelope_of(info, mutation="removeAuthenticatorApp", key=input.idempotency_key, body={})
        outcome = await info.context.services.apps.remove(info.context.caller.person_id, envelope)
        if isinstance(outcome, Refused):
            return await refused(info, RemoveAuthenticatorAppPayload, outcome.refusal, "app", outcome)
        return await _payload(info, RemoveAuthenticatorAppPayload, outcome)


async def _payload(info: AppInfo, kind: type[AnyPayload], outcome: Done, **more: str | None) -> AnyPayload:
    row = await info.context.services.read.apps.of_owner(info.context.caller.person_id)
    assert row is not None, "it was written just now, in the same database"
    fields = {"app": app_of(row), **more}
    return kind(position=Position(outcome.position), replayed=outcome.replayed, errors=[], **fields)


def _code_fault(code: str) -> Refusal | None:
    return InvalidInput("That is no code.", ("input", "code")) if len(code) > CODE_LENGTH_MAX else None
