"""/graphql: HTTP and WebSocket at one address."""

from __future__ import annotations

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types.unset import UNSET, UnsetType

from isthmus.graphql.correlation import HEADER, drawn, well_formed
from isthmus.graphql.execution import Executor
from isthmus.graphql.http import HttpTransport
from isthmus.graphql.schema import build_schema
from isthmus.graphql.websocket import Socket, SocketAdapter, TransportHandler

INIT_TIMEOUT = timedelta(seconds=10)


class Endpoint(GraphQL[Socket, None]):
    """The library's WebSocket road (origin check, sub-protocol, init time-out) with our handler; HTTP is all ours (http.py)."""

    graphql_transport_ws_handler_class = TransportHandler
    websocket_adapter_class = SocketAdapter  # type: ignore[assignment]  # fewer methods: those it calls

    def __init__(self, executor: Executor, challenge: str = "Bearer", init_timeout: timedelta = INIT_TIMEOUT) -> None:
        super().__init__(
            build_schema(),
            graphql_ide=None,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=init_timeout,
            max_subscriptions_per_connection=None,  # ours: it answers with a code (websocket.py)
            allowed_origins=executor.api.allowed_origins,
        )
        self.executor = executor
        self._http = HttpTransport(executor, challenge)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await super().__call__(scope, receive, send)
            return
        request = Request(scope, receive)
        response: Response = await self._http.handle(request, scope.get("correlation_id") or drawn())
        await response(scope, receive, send)

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Socket:  # noqa: ARG002
        address = self.executor.address_of(request.scope)
        return Socket(self.executor, well_formed(request.headers.get(HEADER)), request, address)

    async def on_ws_connect(self, context: Socket) -> UnsetType | dict[str, object] | None:
        await context.sign_in()
        nothing: UnsetType = UNSET
        return nothing
