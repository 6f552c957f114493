"""Settings of the API: where it listens, and what it takes on."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Literal

from pydantic import BaseModel, Field, SecretStr, field_validator

LOOPBACK = "127.0.0.1"
#: More in a minute than one machine can ask.
_UNMET = 10_000_000


class ApiSettings(BaseModel):
    mode: Literal["production", "development"] = Field(
        "production",
        description=(
            "production runs published operations only and shows the schema to the scope schema:read; development runs any "
            "document, for whoever is signed in. `up` runs in development unless this is set."
        ),
    )
    host: str = Field(LOOPBACK, description="Address that `serve` listens on.")
    port: int = Field(
        0, ge=0, le=65535, description="Port of the API; 0 takes a free one and keeps it in the data directory."
    )
    allowed_origins: tuple[str, ...] = Field(
        (), description="Browser origins that may call the API and open WebSockets, as a JSON list."
    )
    body_bytes_max: int = Field(100_000, ge=1_000, description="Longest request body, in bytes.")
    json_depth_max: int = Field(64, ge=8, description="Deepest nesting of a request's JSON.")
    tokens_max: int = Field(1_000, ge=50, description="Most lexical tokens in a document.")
    depth_max: int = Field(10, ge=5, description="Deepest selection; introspection is not counted.")
    aliases_max: int = Field(15, ge=1, description="Most aliases in a document, counted after fragments.")
    root_fields_max: int = Field(
        20, ge=1, description="Most fields at the root of an operation, counted after fragments."
    )
    directives_max: int = Field(50, ge=1, description="Most directives in a document, counted after fragments.")
    cost_max: int = Field(
        5_000, ge=100, description="Most objects that one operation may ask for (product of page sizes)."
    )
    user_requests_per_minute: int | None = Field(
        None,
        ge=1,
        description="Most operations of one user in a minute. Not set: 1 200 in production, 10 000 000 in development.",
    )
    api_key_requests_per_minute: int | None = Field(
        None, ge=1, description="Of one API key, instead of its user's. Not set: as the user's."
    )
    address_requests_per_minute: int | None = Field(
        None,
        ge=1,
        description="Of one address (IPv6: a /64), whoever asks. Not set: 6 000 in production, 10 000 000 in development.",
    )
    sockets_per_user_max: int | None = Field(
        None,
        ge=1,
        description="Most WebSockets and event streams of one user, per process. Not set: 100 in production, 100 000 in development.",
    )
    socket_operations_max: int = Field(100, ge=1, description="Most operations under way on one WebSocket.")
    processes: int = Field(
        1, ge=1, description="How many `serve` run: each admits its share of the limits per minute while Redis is away."
    )
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description="Addresses and networks of proxies whose X-Forwarded-For is believed, as a JSON list; nobody else's is.",
    )
    request_timeout_s: float = Field(15.0, gt=0, description="Deadline of one operation, in seconds.")
    operations_max: int = Field(
        512, ge=16, description="Most operations that run at once in one process, however quick they are."
    )
    latency_target_ms: int | None = Field(
        None,
        ge=100,
        description="Under load no more is taken on than is answered within this, in milliseconds; the rest is refused at once. "
        "Not set: 1 000 in production, 10 000 in development.",
    )
    position_wait_ms: int = Field(
        3_000, ge=0, le=10_000, description="Longest wait for X-Isthmus-Position, in milliseconds."
    )
    replay_max: int = Field(
        500,
        ge=1,
        le=10_000,
        description="Most missed messages that a subscription with `after` is given; twice as many may wait for a slow reader.",
    )
    metrics_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="Bearer token that reads /metrics. Without it, /metrics is read from this machine only, and not through a proxy.",
    )
    shutdown_s: float = Field(5.0, gt=0, description="Longest drain on SIGTERM, in seconds.")

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            ip_network(text)  # a ValueError that names it
        return value

    @property
    def user_rate(self) -> int:
        return self.user_requests_per_minute or (_UNMET if self.in_development else 1_200)

    @property
    def api_key_rate(self) -> int:
        return self.api_key_requests_per_minute or self.user_rate

    @property
    def address_rate(self) -> int:
        return self.address_requests_per_minute or (_UNMET if self.in_development else 6_000)

    @property
    def sockets_max(self) -> int:
        return self.sockets_per_user_max or (100_000 if self.in_development else 100)

    @property
    def latency_target_s(self) -> float:
        return (self.latency_target_ms or (10_000 if self.in_development else 1_000)) / 1_000

    @property
    def in_development(self) -> bool:
        return self.mode == "development"


class PlaygroundSettings(BaseModel):
    enabled: bool | None = Field(
        None,
        description="Whether /playground is served, and its cookie signs in. Unless set: in development, and not in production.",
    )
    url: str | None = Field(
        None, description="Where browsers find this API, as https://host. By default the address that it listens on."
    )
    client_id: str = Field(
        "isthmus-playground",
        description="A public client of the issuer, with the redirect address <url>/playground/callback.",
    )

    @field_validator("url")
    @classmethod
    def _origin(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise ValueError("must begin with https:// (http:// only on this machine)")
        return value.rstrip("/") if value else value
