"""Live: consents as they change."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Hashable

import strawberry

from isthmus.graphql.context import AppInfo, SharedContext
from isthmus.read_models.consent_feed import ConsentSubscriber
from isthmus.read_models.consents import ConsentRow
from isthmus.resolvers.consents import BankConsent, consent_of


@strawberry.type(description="A consent, and that it has changed.")
class ConsentChange:
    consent: BankConsent = strawberry.field(description="The consent as it is now.")


class ConsentStream(AsyncIterable[ConsentChange]):
    """One subscriber's messages, to be taken by `pop` (graphql/live.py). Iterable for the type system only."""

    def __init__(self, subscriber: ConsentSubscriber) -> None:
        self._subscriber = subscriber
        self.pop = subscriber.pop
        self.close = subscriber.close

    @property
    def ready(self) -> Callable[[], None]:
        return self._subscriber.ready

    @ready.setter
    def ready(self, tell: Callable[[], None]) -> None:
        self._subscriber.ready = tell

    def mark(self, row: ConsentRow) -> Hashable:
        return row.consent_id, row.version, row.status

    def place(self, row: ConsentRow) -> str:
        return str(row.requested_position)

    async def value(self, context: SharedContext, row: ConsentRow) -> ConsentChange:  # noqa: ARG002 - as the port has it
        return ConsentChange(consent=consent_of(row))

    def __aiter__(self) -> AsyncIterator[ConsentChange]:
        raise TypeError("taken by pop")


@strawberry.type
class ConsentSubscriptions:
    @strawberry.subscription(
        description="First each of the viewer's consents as it is; then each that changes, or whose end is seven days ahead."
    )
    async def consent_changed(self, info: AppInfo) -> AsyncIterable[ConsentChange]:
        return ConsentStream(await info.context.services.consents.subscribe(info.context.sight))
