"""Running one operation, whatever it came in by: wait for its position, execute within the deadline, shape the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError, OperationType

from isthmus.auth.addresses import client_address, network_of, networks
from isthmus.auth.caller import Caller
from isthmus.auth.scopes import Scope
from isthmus.graphql import metrics
from isthmus.graphql.admission import Admission
from isthmus.graphql.call import Call
from isthmus.graphql.context import RequestContext
from isthmus.graphql.documents import Documents, Prepared
from isthmus.graphql.errors import NotYetVisible, RateLimited, Unavailable, classify, log_errors, shaped
from isthmus.graphql.limits import Limits
from isthmus.graphql.live import Live
from isthmus.graphql.open_connections import OpenConnections
from isthmus.graphql.schema import Schema, build_schema
from isthmus.graphql.services import Services
from isthmus.runtime.rate_limits import Bucket
from isthmus.settings import ApiSettings


@dataclass(frozen=True)
class Answer:
    """`executed` False: nothing ran, so there is no `data` at all."""

    data: Mapping[str, Any] | None
    errors: Sequence[GraphQLError]
    executed: bool = True
    #: Its operation has been counted among those executed, though there may be nothing to show for it (a deadline).
    counted: bool = False

    def shape(self, correlation_id: str) -> dict[str, Any]:
        shape: dict[str, Any] = {}
        if self.errors:
            shape["errors"] = [shaped(error, correlation_id) for error in self.errors]
        if self.executed:
            shape["data"] = self.data
        shape["extensions"] = {"correlationId": correlation_id}
        return shape

    @property
    def outcome(self) -> str:
        return classify(self.errors[0]).value if self.errors else "ok"


def nothing_ran(*errors: GraphQLError) -> Answer:
    return Answer(None, errors, executed=False)


def limits_of(api: ApiSettings) -> Limits:
    return Limits(api.depth_max, api.aliases_max, api.root_fields_max, api.directives_max, api.cost_max)


class Executor:
    def __init__(
        self, services: Services, api: ApiSettings, schema: Schema | None = None, admission: Admission | None = None
    ) -> None:
        self.services = services
        self.api = api
        self.admission = admission or Admission(api.operations_max, api.latency_target_s)
        self._schema = schema or build_schema()
        self.live = Live(self._schema, api.request_timeout_s)
        self._documents = Documents(
            self._schema._schema,
            limits_of(api),
            tokens_max=api.tokens_max,
            trusted=services.documents,
            development=api.in_development,
        )
        self.open_connections = OpenConnections(api.sockets_max)
        self._proxies = networks(api.trusted_proxies)

    def address_of(self, scope: Mapping[str, Any]) -> str:
        """Where an ASGI request comes from."""
        return client_address(scope, self._proxies)

    async def admit_address(self, address: str) -> None:
        """Before anybody is asked who they are, which may cost a question to the database. Raises RateLimited."""
        await self._take(self._address_bucket(address))

    async def admit_caller(self, caller: Caller, address: str) -> None:
        """After `admit_address`. Raises RateLimited; then nothing counts against the address, which others may share."""
        try:
            await self._take(self._own_bucket(caller))
        except RateLimited:
            await self.services.rates.give_back(self._address_bucket(address))
            raise

    async def admit(self, caller: Caller, address: str) -> None:
        """Both at once, where it is known who they are: one operation of an open connection. Raises RateLimited."""
        await self._take(self._address_bucket(address), self._own_bucket(caller))

    def _address_bucket(self, address: str) -> Bucket:
        return Bucket("address", network_of(address), self.api.address_rate)

    def _own_bucket(self, caller: Caller) -> Bucket:
        if caller.api_key_id is not None:
            return Bucket("api_key", str(caller.api_key_id), self.api.api_key_rate)
        return Bucket("user", str(caller.person_id), self.api.user_rate)

    async def _take(self, *buckets: Bucket) -> None:
        wait_s = await self.services.rates.take(*buckets)
        if wait_s:
            raise RateLimited("Too many requests: wait before the next one.", wait_s)

    async def prepare(self, call: Call, caller: Caller) -> Prepared:
        """Raises documents.Refused."""
        may_introspect = self.api.in_development or caller.may(Scope.SCHEMA)
        return await self._documents.prepare(call, may_introspect=may_introspect)

    async def visible(self, prepared: Prepared, position: int | None) -> None:
        """Wait until what is read has passed `position`. Raises NotYetVisible. A mutation reads nothing old."""
        if position is None or prepared.kind is OperationType.MUTATION:
            return
        if not await self.services.positions.wait_for(position, self.api.position_wait_ms / 1_000):
            raise NotYetVisible("That position is not visible yet. Try again.")

    def context(
        self, caller: Caller, correlation_id: str, prepared: Prepared, resume_after: int | None = None
    ) -> RequestContext:
        wait_s = self.api.position_wait_ms / 1_000
        return RequestContext(caller, correlation_id, self.services, prepared, wait_s, resume_after)

    async def run(self, context: RequestContext) -> Answer:
        """A query or a mutation. Raises admission.Overloaded; nothing has run then."""
        with metrics.span_of(context.prepared):
            return await self._run(context)

    async def _run(self, context: RequestContext) -> Answer:
        began = time.perf_counter()
        prepared = context.prepared
        try:
            async with self.admission.turn(), asyncio.timeout(self.api.request_timeout_s):
                result = await self._schema.execute(
                    prepared.text,
                    variable_values=dict(prepared.variables),
                    context_value=context,
                    operation_name=prepared.operation_name,
                )
            answer = Answer(result.data, result.errors or (), counted=True)
        except TimeoutError:
            late = Unavailable("The operation took too long; what it was to change may have been changed.")
            answer = Answer(None, [late], executed=False, counted=True)
        log_errors(answer.errors, context.correlation_id, prepared.kind.value)
        metrics.executed(prepared, answer.outcome, time.perf_counter() - began)
        return answer
