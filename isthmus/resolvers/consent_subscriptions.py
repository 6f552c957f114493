"""Live: consents as they change."""

from __future__ import annotations

from collections.abc import AsyncIterable, Hashable

import strawberry

from isthmus.graphql.context import AppInfo, SharedContext
from isthmus.read_models.consents import ConsentRow
from isthmus.resolvers.consents import BankConsent, consent_of
from isthmus.resolvers.streams import Stream


@strawberry.type(description="A consent, and that it has changed.")
class ConsentChange:
    consent: BankConsent = strawberry.field(description="The consent as it is now.")


class ConsentStream(Stream[ConsentRow, ConsentChange]):
    def mark(self, row: ConsentRow) -> Hashable:
        return row.consent_id, row.version, row.status

    def place(self, row: ConsentRow) -> str:
        return str(row.requested_position)

    async def value(self, context: SharedContext, row: ConsentRow) -> ConsentChange:  # noqa: ARG002 - as the port has it
        return ConsentChange(consent=consent_of(row))


@strawberry.type
class ConsentSubscriptions:
    @strawberry.subscription(
        description="First each of the viewer's consents as it is; then each that changes, or whose end is seven days ahead."
    )
    async def consent_changed(self, info: AppInfo) -> AsyncIterable[ConsentChange]:
        return ConsentStream(await info.context.services.consents.subscribe(info.context.sight))
