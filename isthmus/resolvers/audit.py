"""The audit trail: what happened to the viewer's things, and who did it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import UNSET

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
from isthmus.graphql.ids import aggregate_id
from isthmus.graphql.scalars import Position
from isthmus.read_models.audit import AuditRow

_CURSOR = "audit"
_CORRELATION = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_PERSON = "person:"
_SOMEONE_ELSE = "counterparty"


@strawberry.type(description="One event of the log, as its audit trail shows it.")
class AuditEvent:
    event_id: strawberry.ID = strawberry.field(description="The event's own id.")
    position: Position = strawberry.field(description="Its place in the log.")
    aggregate_type: str = strawberry.field(description="What kind of thing it happened to: account, journal, api_key.")
    aggregate_id: strawberry.ID = strawberry.field(description="The id of the thing it happened to.")
    version: int = strawberry.field(description="Its number among the events of that thing, from 1.")
    event_type: str = strawberry.field(description="What happened.")
    occurred_at: datetime = strawberry.field(description="When it happened.")
    correlation_id: strawberry.ID = strawberry.field(description="The request that caused it.")
    causation_id: strawberry.ID | None = strawberry.field(
        description="The event that caused it; null where a request did."
    )
    actor: str = strawberry.field(
        description="Who did it, and with which API key; `counterparty` where that is someone else."
    )
    hash: str = strawberry.field(
        description="SHA-256 over the event and the hash of the one before it of the same thing, in hexadecimal."
    )


@strawberry.type(description="A page of the audit trail, in the order things happened.")
class AuditEventConnection:
    edges: list[Edge[AuditEvent]] = strawberry.field(description="The events of this page.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the whole trail.")


@strawberry.type
class AuditQueries:
    @strawberry.field(
        description="Events on the viewer's own accounts, journals and API keys; an auditor sees everyone's."
    )
    async def audit_trail(
        self,
        info: AppInfo,
        correlation_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Only what that request caused.")
        ] = UNSET,
        first: Annotated[int, strawberry.argument(description=FIRST)] = FIRST_DEFAULT,
        after: Annotated[str | None, strawberry.argument(description=AFTER)] = UNSET,
    ) -> AuditEventConnection:
        size, position = page_size(first), position_of(_CURSOR, after or None)
        wanted = correlation_id or None
        if correlation_id is not None and correlation_id is not UNSET and not _CORRELATION.fullmatch(correlation_id):
            rows, more = list[AuditRow](), False  # nothing ever had such an id
        else:
            rows, more = await info.context.services.read.audit.page(info.context.sight, wanted, size, position)
        own = f"{_PERSON}{info.context.caller.person_id}"
        everyone = info.context.sight.all_trails

        def shown(row: AuditRow) -> AuditEvent:
            hidden = not everyone and row.actor.startswith(_PERSON) and row.actor.partition("/")[0] != own
            return audit_event(row, _SOMEONE_ELSE if hidden else row.actor)

        edges = edges_of(_CURSOR, rows, lambda row: row.position, shown)
        return AuditEventConnection(
            edges=edges, page_info=page_info([edge.cursor for edge in edges], more=more, after=after or None)
        )


def audit_event(row: AuditRow, actor: str) -> AuditEvent:
    return AuditEvent(
        event_id=strawberry.ID(str(row.event_id)),
        position=Position(row.position),
        aggregate_type=row.aggregate_type,
        aggregate_id=strawberry.ID(aggregate_id(row.aggregate_type, row.aggregate_id)),
        version=row.version,
        event_type=row.event_type,
        occurred_at=row.occurred_at,
        correlation_id=strawberry.ID(row.correlation_id),
        causation_id=strawberry.ID(row.causation_id) if row.causation_id else None,
        actor=actor,
        hash=row.hash.hex(),
    )
