"""How `work` is doing: /livez, /readyz (per part, with its lag), /metrics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import asyncpg
import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isthmus.read_models.health import LogHealth, log_health, oldest_transaction_s
from isthmus.read_models.projector import Projector
from isthmus.runtime.metrics_access import may_read_metrics
from isthmus.runtime.serving import listening_socket
from isthmus.runtime.tasks import Supervisor
from isthmus.settings import Settings

WATCH_EVERY_S = 1.0
LAG_MAX_S = 30.0
_CHECK_S = 2.0

_outbox_seconds = Gauge(
    "isthmus_outbox_lag_seconds", "Age of the oldest event that is not on the bus; 0 where none waits."
)
_outbox_events = Gauge("isthmus_outbox_lag_events", "Events that are not on the bus.")
_projection_seconds = Gauge(
    "isthmus_projection_lag_seconds", "Age of the oldest event that a projection lacks; 0 where none."
)
_projection_events = Gauge(
    "isthmus_projection_lag_events", "Events that the slowest partition of the projections lacks."
)
_parked = Gauge("isthmus_projection_parked", "Records set aside because this release cannot project them; must be 0.")
_oldest = Gauge(
    "isthmus_database_oldest_transaction_seconds",
    "Age of the oldest transaction that is open in our database, those of `work` left out; 0 where none.",
)
_partitions = Gauge("isthmus_projector_partitions", "Partitions that Kafka's group gave to this process.")

log = structlog.get_logger(__name__)


class Health:
    def __init__(
        self,
        settings: Settings,
        pool: asyncpg.Pool[asyncpg.Record],
        redis: Redis,
        supervisor: Supervisor,
        projector: Projector,
        stamp: Callable[[], datetime | None],
    ) -> None:
        self._stamp = stamp
        self._host, self._port = settings.api.host, settings.work.health_port
        self._metrics_token = settings.api.metrics_token
        self._pool = pool
        self._redis = redis
        self._supervisor = supervisor
        self._projector = projector

    async def watch_lag(self) -> None:
        while True:
            health = await log_health(self._pool, self._stamp())
            _outbox_seconds.set(health.bus.seconds)
            _outbox_events.set(health.bus.behind)
            _projection_seconds.set(health.projections.seconds)
            _projection_events.set(health.projections.behind)
            _parked.set(health.parked)
            _oldest.set(await oldest_transaction_s(self._pool))
            _partitions.set(len(self._projector.assigned))
            await asyncio.sleep(WATCH_EVERY_S)

    async def serve(self) -> None:
        routes = [Route("/livez", self._livez), Route("/readyz", self._readyz), Route("/metrics", self._metrics)]
        listener = listening_socket(self._host, self._port)
        self._port = listener.getsockname()[1]  # the same again, should this be started anew
        log.info("health is told", url=f"http://{self._host}:{self._port}/readyz")
        config = uvicorn.Config(
            Starlette(routes=routes), lifespan="off", log_config=None, access_log=False, server_header=False
        )
        try:
            await _Server(config).serve(sockets=[listener])
        finally:
            listener.close()

    async def _livez(self, _: Request) -> Response:
        return _json({"status": "ok"})

    async def _metrics(self, request: Request) -> Response:
        if not may_read_metrics(request, self._metrics_token):
            return _json({"error": "metrics are read on this machine, or with the token that is set for them"}, 403)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def _readyz(self, _: Request) -> Response:
        parts = {
            **await self._database(),
            "redis": await self._redis_part(),
            **{
                part.name: {"ready": part.running, "crashes": part.crashes, "lastError": part.last_error}
                for part in self._supervisor.parts
            },
        }
        parts["projector"]["partitions"] = sorted(self._projector.assigned)
        ready = all(part["ready"] for part in parts.values())
        return _json({"ready": ready, "parts": parts}, 200 if ready else 503)

    async def _database(self) -> dict[str, dict[str, Any]]:
        try:
            async with asyncio.timeout(_CHECK_S):
                health = await log_health(self._pool, self._stamp())
        except Exception as error:  # noqa: BLE001 - whatever it is, the database does not answer
            return {"database": {"ready": False, "reason": type(error).__name__}}
        parts = {"database": {"ready": True, "position": health.head}, **_lags(health)}
        # No reason to take the process out: another start of the same release would not understand it either.
        parts["projections"]["needsAttention"] = health.parked
        return parts

    async def _redis_part(self) -> dict[str, Any]:
        try:
            async with asyncio.timeout(_CHECK_S):
                await self._redis.get("isthmus:ready")
        except Exception as error:  # noqa: BLE001 - whatever it is, Redis does not answer
            return {"ready": False, "reason": type(error).__name__}
        return {"ready": True}


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the whole process's business, not this server's."""
        yield


def _lags(health: LogHealth) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "ready": lag.seconds < LAG_MAX_S,
            "position": lag.position,
            "lagEvents": lag.behind,
            "lagSeconds": round(lag.seconds, 3),
        }
        for name, lag in (("bus", health.bus), ("projections", health.projections))
    }


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(body), status, media_type="application/json")
