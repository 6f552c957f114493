"""API keys: a person makes one for a program, looks through those there are, and revokes one."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated

import strawberry
from strawberry import UNSET

from isthmus.auth.api_keys import digest_of, new_key, shown_prefix
from isthmus.auth.scopes import Scope
from isthmus.domain import api_keys as domain
from isthmus.domain.api_keys import ApiKeyMade, KeyScope
from isthmus.domain.personal import PersonalText
from isthmus.domain.refusals import Refusal
from isthmus.domain.validation import first_fault, key_fault, shown_fault
from isthmus.graphql.connections import (
    AFTER,
    FIRST,
    FIRST_DEFAULT,
    Edge,
    PageInfo,
    edges_of,
    page_info,
    page_size,
    position_of,
)
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import Kind, api_key_key, encode
from isthmus.graphql.scalars import Position
from isthmus.read_models.api_keys import ApiKeyRow
from isthmus.resolvers.nodes import Node
from isthmus.resolvers.sca import ScaChallenge, ScaMethod, challenge_of, method_body, method_from
from isthmus.resolvers.wishes import INPUT, KEY, Payload, envelope_of, refused, run
from isthmus.write_models.envelope import Refused

_CURSOR = "api_key"


@strawberry.enum(description="What an API key may do, on its maker's own things.")
class ApiKeyScope(Enum):
    READ = strawberry.enum_value("read", description="Queries and subscriptions.")
    WRITE = strawberry.enum_value("write", description="Mutations, but for those about API keys.")


@strawberry.enum(description="Whether an API key works.")
class ApiKeyStatus(Enum):
    AWAITING_SCA = strawberry.enum_value("AWAITING_SCA", description="It works once its challenge is answered.")
    ACTIVE = strawberry.enum_value("ACTIVE", description="It works.")
    EXPIRED = strawberry.enum_value("EXPIRED", description="Its time is over, or its challenge was not passed in time.")
    REVOKED = strawberry.enum_value("REVOKED", description="Its maker revoked it.")


@strawberry.type(description="A key with which a program acts for whoever made it.")
class ApiKey(Node):
    row: strawberry.Private[ApiKeyRow]
    prefix: str = strawberry.field(description="How the key begins: enough to find it by, and no secret.")
    scopes: list[ApiKeyScope] = strawberry.field(description="What it may do.")
    created_at: datetime = strawberry.field(description="When it was made.")
    expires_at: datetime = strawberry.field(description="When it stops to work.")
    revoked_at: datetime | None = strawberry.field(description="When it was revoked; null where it was not.")
    last_used_at: datetime | None = strawberry.field(
        description="When it was last used, to a minute or two; null where it never was."
    )

    @strawberry.field(description="The name it was given; null once its maker's personal data are erased.")
    async def name(self, info: AppInfo) -> str | None:
        return await info.context.loaders.texts.load(self.row.name)

    @strawberry.field(description="Whether it works.")
    def status(self, info: AppInfo) -> ApiKeyStatus:
        if self.row.revoked_at is not None:
            return ApiKeyStatus.REVOKED
        if self.row.expires_at <= info.context.services.clock.now():
            return ApiKeyStatus.EXPIRED
        if self.row.confirmed:
            return ApiKeyStatus.ACTIVE
        waits = self.row.challenge is not None and self.row.challenge.state == "PENDING"
        return ApiKeyStatus.AWAITING_SCA if waits else ApiKeyStatus.EXPIRED

    @strawberry.field(
        description="What is to be answered before it works; null of keys from before that was asked for."
    )
    def challenge(self) -> ScaChallenge | None:
        return None if self.row.challenge is None else challenge_of(self.row.challenge)


@strawberry.type(description="A page of API keys, oldest first.")
class ApiKeyConnection:
    edges: list[Edge[ApiKey]] = strawberry.field(description="The API keys of this page.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the whole list.")

    @strawberry.field(description="How many there are on all pages, those that no longer work too.")
    async def total_count(self, info: AppInfo) -> int:
        return await info.context.services.read.api_keys.count(info.context.caller.person_id)


@strawberry.input(description="An API key to be made.")
class CreateApiKeyInput:
    name: str = strawberry.field(description="What it is for, in 100 characters at most.")
    scopes: list[ApiKeyScope] = strawberry.field(description="What it may do: at least one, and nothing you may not.")
    expires_at: datetime | None = strawberry.field(
        default=UNSET, description="When it stops to work: 90 days from now unless told, 366 at most."
    )
    method: ScaMethod | None = strawberry.field(
        default=UNSET, description="How to be asked: by a device where there is one, unless told."
    )
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="An API key to be revoked.")
class RevokeApiKeyInput:
    api_key_id: strawberry.ID = strawberry.field(description="The API key's id.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.type(description="What became of the wish to make an API key.")
class CreateApiKeyPayload(Payload):
    api_key: ApiKey | None = strawberry.field(description="The API key; null when refused.")
    secret: str | None = strawberry.field(
        description="The key itself, to be sent as a bearer token. Shown this once: nobody keeps it, so a replay has null."
    )


@strawberry.type(description="What became of the wish to revoke an API key.")
class RevokeApiKeyPayload(Payload):
    api_key: ApiKey | None = strawberry.field(description="The API key; null when refused.")


def api_key_of(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        id=strawberry.ID(encode(Kind.API_KEY, row.api_key_id)),
        row=row,
        prefix=shown_prefix(row.api_key_id),
        scopes=[ApiKeyScope[scope.upper()] for scope in row.scopes],
        created_at=row.made_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.used_at,
    )


@strawberry.type
class ApiKeyQueries:
    @strawberry.field(description="The viewer's API keys, oldest first. Not for API keys.")
    async def api_keys(
        self,
        info: AppInfo,
        first: Annotated[int, strawberry.argument(description=FIRST)] = FIRST_DEFAULT,
        after: Annotated[str | None, strawberry.argument(description=AFTER)] = UNSET,
    ) -> ApiKeyConnection:
        size, position = page_size(first), position_of(_CURSOR, after or None)
        owner = info.context.caller.person_id
        rows, more = await info.context.services.read.api_keys.page(owner, size, position)
        edges = edges_of(_CURSOR, rows, lambda row: row.made_position, api_key_of)
        return ApiKeyConnection(
            edges=edges, page_info=page_info([edge.cursor for edge in edges], more=more, after=after or None)
        )


@strawberry.type
class ApiKeyMutations:
    @strawberry.mutation(
        description="Make an API key. Its secret is in this answer and nowhere else; it works once the challenge in it is answered. "
        "Not for API keys."
    )
    async def create_api_key(
        self, info: AppInfo, input: Annotated[CreateApiKeyInput, strawberry.argument(description=INPUT)]
    ) -> CreateApiKeyPayload:
        caller, services = info.context.caller, info.context.services
        now = services.clock.now()
        scopes = [KeyScope[scope.name] for scope in input.scopes]
        fault = first_fault(
            key_fault(input.idempotency_key),
            domain.name_fault(input.name),
            shown_fault(input.name, ("input", "name")),
            domain.scopes_fault(scopes, [scope for scope in KeyScope if caller.may(Scope[scope.name])]),
            domain.expiry_fault(input.expires_at, now) if input.expires_at else None,
        )
        if fault is not None:
            return await refused(info, CreateApiKeyPayload, fault, "api_key", secret=None)
        envelope = envelope_of(
            info,
            mutation="createApiKey",
            key=input.idempotency_key,
            body={
                "name": input.name,
                "scopes": sorted(set(scopes)),
                "expires_at": input.expires_at.isoformat() if input.expires_at else None,
                **method_body(input.method),
            },
        )
        asked = await services.sca.ask(caller.person_id, method_from(input.method), envelope)
        if isinstance(asked, Refusal):
            return await refused(info, CreateApiKeyPayload, asked, "api_key", secret=None)
        key_id = services.ids()
        secret = new_key(key_id)
        digest = digest_of(secret).hex()
        wish = domain.MakeApiKey(
            key_id,
            caller.person_id,
            PersonalText(input.name),
            tuple(scopes),
            digest,
            input.expires_at or now + domain.LIFE_DEFAULT,
            asked,
        )
        outcome = await services.commands.run(wish, envelope)
        if isinstance(outcome, Refused):
            return await refused(info, CreateApiKeyPayload, outcome.refusal, "api_key", outcome, secret=None)
        event = next(one.event for one in outcome.events if isinstance(one.event, ApiKeyMade))
        row = await info.context.loaders.api_keys.load(event.api_key_id)
        assert row is not None, "it was made just now, in the same database"
        return CreateApiKeyPayload(
            api_key=api_key_of(row),
            # The key that a replay tells of is another than the one that was just drawn.
            secret=secret if event.secret_digest == digest and not outcome.replayed else None,
            position=Position(outcome.position),
            replayed=outcome.replayed,
            errors=[],
        )

    @strawberry.mutation(description="Stop an API key, at once and for good. Not for API keys.")
    async def revoke_api_key(
        self, info: AppInfo, input: Annotated[RevokeApiKeyInput, strawberry.argument(description=INPUT)]
    ) -> RevokeApiKeyPayload:
        fault = key_fault(input.idempotency_key)
        if fault is not None:
            return await refused(info, RevokeApiKeyPayload, fault, "api_key")
        key_id = api_key_key(input.api_key_id)
        outcome = await run(
            info,
            domain.RevokeApiKey(key_id, info.context.caller.person_id),
            mutation="revokeApiKey",
            key=input.idempotency_key,
            body={"api_key_id": input.api_key_id},
        )
        if isinstance(outcome, Refused):
            return await refused(info, RevokeApiKeyPayload, outcome.refusal, "api_key", outcome)
        row = await info.context.loaders.api_keys.load(key_id)
        assert row is not None, "it was revoked just now, in the same database"
        return RevokeApiKeyPayload(
            api_key=api_key_of(row), position=Position(outcome.position), replayed=outcome.replayed, errors=[]
        )
