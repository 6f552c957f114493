"""What every mutation does around its own command: the envelope on the way in, the payload's common part on the way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import UUID

import strawberry

from isthmus.domain.refusals import Refusal
from isthmus.graphql.context import AppInfo
from isthmus.graphql.scalars import Position
from isthmus.resolvers.user_error import UserError
from isthmus.resolvers.user_errors import user_error
from isthmus.write_models.envelope import Done, Envelope, Refused

INPUT = "What is wished for."
KEY = "Names this wish: sent again with the same body, it gets the first answer. 255 characters at most."


@strawberry.type
class Payload:
    position: Position = strawberry.field(
        description="The log position of the write, or the log's end where nothing was written. Pass it back to read your own write."
    )
    replayed: bool = strawberry.field(description="True where this answer was given before to the same key and body.")
    errors: list[UserError] = strawberry.field(description="Why it was refused; empty where it was done.")


AnyPayload = TypeVar("AnyPayload", bound=Payload)


async def run(
    info: AppInfo,
    command: object,
    *,
    mutation: str,
    key: str,
    body: Mapping[str, object],
    scope: UUID | None = None,
) -> Done | Refused:
    """`scope` is whose keys these are: the caller's own unless told."""
    envelope = envelope_of(info, mutation=mutation, key=key, body=body, scope=scope)
    return await info.context.services.commands.run(command, envelope)


def envelope_of(
    info: AppInfo, *, mutation: str, key: str, body: Mapping[str, object], scope: UUID | None = None
) -> Envelope:
    context = info.context
    return Envelope(
        actor=context.caller.actor,
        person=scope or context.caller.person_id,
        mutation=mutation,
        idempotency_key=key,
        body=body,
        correlation_id=context.correlation_id,
    )


async def refused(
    info: AppInfo, kind: type[AnyPayload], refusal: Refusal, nothing: str, outcome: Refused | None = None, **more: None
) -> AnyPayload:
    """A payload that says No; `nothing` is the field that would hold the object, `more` are others that are null with it."""
    position = outcome.position if outcome is not None else 0
    fields: dict[str, Any] = {nothing: None, **more}
    return kind(
        position=Position(position or await info.context.services.read.log.end()),
        replayed=outcome.replayed if outcome is not None else False,
        errors=[await user_error(info.context, refusal)],
        **fields,
    )
