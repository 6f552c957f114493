"""Every setting, typed, read from the environment as `ISTHMUS_<GROUP>__<NAME>`.

A URL given here replaces the embedded server of the same name, and `up` then does not start it. `isthmus settings` prints this
table for the docs. A wrong value stops the start with a sentence that names it (`SettingsError`).
"""

from __future__ import annotations

import json
import os
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal, cast, get_origin

from pydantic import BaseModel, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSetting

LOOPBACK = "127.0.0.1"
#: More in a minute than one machine can ask.
_UNMET = 10_000_000


class SettingsError(Exception):
    """A setting is wrong; the message is one sentence a person can act on."""


class DatabaseSettings(BaseModel):
    url: SecretStr | None = Field(
        None,
        description="PostgreSQL 16 or newer as postgresql://user:password@host:port/name. Replaces the embedded server.",
    )
    admin_url: SecretStr | None = Field(
        None,
        description="The role that migrates (owner of the tables). Without it, database.url is used for that too.",
    )
    pool_size: int = Field(16, ge=2, le=500, description="Connections per process for queries.")
    statement_timeout_ms: int = Field(10_000, ge=100, description="Longest statement, in milliseconds.")
    lock_timeout_ms: int = Field(4_000, ge=100, description="Longest wait for a lock, in milliseconds.")
    idle_in_transaction_timeout_ms: int = Field(
        2_000, ge=100, description="The server ends a transaction of ours that idles longer, in milliseconds."
    )

    @field_validator("url", "admin_url")
    @classmethod
    def _postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must begin with postgresql://")
        return value


class RedisSettings(BaseModel):
    url: SecretStr | None = Field(
        None, description="Redis or Valkey as redis://[:password@]host:port/0. Replaces the embedded one."
    )
    timeout_s: float = Field(2.0, gt=0, description="Deadline of one call, in seconds.")

    @field_validator("url")
    @classmethod
    def _redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("redis://", "rediss://")):
            raise ValueError("must begin with redis:// or rediss://")
        return value


class KafkaSettings(BaseModel):
    url: str | None = Field(None, description="Bootstrap servers as host:port,host:port. Replaces the embedded broker.")
    idempotent_producer: bool = Field(
        True, description="Off only for brokers that refuse InitProducerId, as the embedded one does."
    )
    replication_factor: int = Field(1, ge=1, description="Of the topics that Isthmus makes.")
    embedded_memory_mib: int = Field(
        256, ge=32, description="The embedded broker is started anew above this; the relay publishes again."
    )


class IssuerSettings(BaseModel):
    url: str | None = Field(
        None, description="An OpenID provider's issuer, found by discovery. Replaces the embedded one."
    )
    name: str = Field(
        "isthmus",
        min_length=1,
        description="Stands for the issuer in people's ids, so that its address may change. Never change it.",
    )
    audience: str = Field("isthmus-api", description="The `aud` that an access token must carry.")
    token_types: tuple[str, ...] = Field(
        ("at+jwt",), description='Accepted `typ` values, as a JSON list. Keycloak: ["JWT"].'
    )
    algorithms: tuple[Literal["ES256", "RS256"], ...] = Field(
        ("ES256", "RS256"), description="Accepted signature algorithms, as a JSON list."
    )
    roles_claim: str = Field(
        "roles", description="Where the roles are; a dot steps into an object, as in realm_access.roles."
    )
    leeway_s: int = Field(30, ge=0, le=30, description="Clock difference forgiven, in seconds.")
    access_token_minutes: int = Field(
        10, ge=1, le=10, description="Life of the embedded issuer's access tokens, and the longest accepted."
    )
    login_attempts_per_minute: int = Field(10, ge=1, description="Of the embedded issuer, per account and per address.")

    @field_validator("url")
    @classmethod
    def _https(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise ValueError("must begin with https:// (http:// only on this machine)")
        return value.rstrip("/") if value else value


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


class WorkSettings(BaseModel):
    partitions_ahead_months: int = Field(3, ge=1, le=24, description="Partitions of `entries` made ahead of time.")
    hold_sweep_s: float = Field(
        5.0, gt=0, description="How often expired holds without a timer are looked for, in seconds."
    )
    verify_every_minutes: int = Field(60, ge=1, description="How often the verifier runs over the whole ledger.")
    verify_sweep_events: int = Field(
        1_000,
        ge=0,
        le=10_000,
        description="Events of the past that are verified again every 5 s; 0 leaves that to the whole verification. What is new "
        "is always verified.",
    )
    relay_batch: int = Field(500, ge=1, le=10_000, description="Events published per batch.")
    health_port: int = Field(
        0, ge=0, le=65535, description="Port of `work`'s /livez, /readyz and /metrics; 0 takes a free one."
    )


class SecretsSettings(BaseModel):
    master_key_file: Path | None = Field(
        None,
        description="File with the master key (base64, 32 bytes). By default secrets/master.key in the data directory.",
    )


class SandboxSettings(BaseModel):
    enabled: bool = Field(
        True, description="Whether `up` runs the sandbox. Without it, banks are the real ones, or none."
    )
    seed: int = Field(7, description="What its customers have and do follows from this number.")
    redirect_uris: tuple[str, ...] = Field(
        (),
        description="Addresses that the sandbox's TrueLayer and Yapily may send a person back to, as a JSON list. In `up`, by default: "
        "/bank-links/callback of the API, and isthmus-demo://bank-link.",
    )
    webhook_url: str | None = Field(
        None,
        description="Where the sandbox's webhooks go: to /plaid, /truelayer and /yapily under it. In `up`, by "
        "default: /webhooks of the API. A webhook that an app names itself comes first.",
    )

    @field_validator("webhook_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/") if value else value


class TelemetrySettings(BaseModel):
    otlp_endpoint: str | None = Field(
        None,
        description="Where traces go, by OTLP over HTTP, as http://collector:4318 (/v1/traces is added where there is no path). "
        "Without it nothing is traced, and nothing of tracing is loaded.",
    )
    otlp_authorization: SecretStr | None = Field(
        None, description="What the collector asks for in the Authorization header, as in: Basic dXNlcjpwYXNz."
    )
    sample_ratio: float = Field(
        0.01, ge=0, le=1, description="Share of requests that are traced, from 0 to 1. 1 traces all of them."
    )
    honour_parent: bool = Field(
        False,
        description="Whether the sampling decision in a request's traceparent is followed. Only behind a gateway that makes it: "
        "otherwise clients decide how much is traced.",
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise ValueError("must begin with https:// or http://")
        return value


class LogSettings(BaseModel):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")


class Settings(BaseSettings):
    """All settings. Groups nest with two underscores: `ISTHMUS_DATABASE__URL`."""

    model_config = SettingsConfigDict(
        env_prefix="ISTHMUS_", env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True
    )

    data_dir: Path = Field(Path(".isthmus"), description="The data directory: embedded servers, keys, logs, ports.")
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    kafka: KafkaSettings = KafkaSettings()
    issuer: IssuerSettings = IssuerSettings()
    api: ApiSettings = ApiSettings()
    playground: PlaygroundSettings = PlaygroundSettings()
    work: WorkSettings = WorkSettings()
    secrets: SecretsSettings = SecretsSettings()
    log: LogSettings = LogSettings()
    sandbox: SandboxSettings = SandboxSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    fail: str | None = Field(
        None,
        description="Fail points of `serve` and `work`, for tests: `name[:nth]:action`, parted by commas. Development mode only.",
    )

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("fail")
    @classmethod
    def _fail_points(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        from isthmus.failpoints import parse  # only where there are any

        parse(value)
        api = info.data.get("api")
        if isinstance(api, ApiSettings) and not api.in_development:
            raise ValueError("fail points are for tests; production mode (ISTHMUS_API__MODE) refuses them")
        return value

    @property
    def playground_is_served(self) -> bool:
        enabled = self.playground.enabled
        return self.api.in_development if enabled is None else enabled

    @property
    def master_key_file(self) -> Path:
        return self.secrets.master_key_file or self.data_dir / "secrets" / "master.key"


def variable_name(path: tuple[str | int, ...]) -> str:
    return "ISTHMUS_" + "__".join(str(part).upper() for part in path)


def load_settings(**overrides: object) -> Settings:
    """Read the environment. Raises SettingsError naming every wrong setting, its value left out where it is secret."""
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]  # pydantic checks them at run time
    except ValidationError as error:
        sentences = [f"{variable_name(e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
        raise SettingsError("; ".join(sentences)) from None
    except UnreadableSetting:  # pydantic names the group only
        unreadable = [name for name in map(variable_name, setting_paths()) if not _reads_as_list(name)]
        raise SettingsError("; ".join(f'{name}: must be a JSON list, as ["a", "b"]' for name in unreadable)) from None
    known = {variable_name(path) for path in setting_paths()} | {
        variable_name((group,)) for group in Settings.model_fields
    }
    for name in os.environ:
        if name.upper().startswith("ISTHMUS_") and name.upper() not in known:
            raise SettingsError(f"{name}: there is no such setting; `isthmus settings` lists them all")
    return settings


def _reads_as_list(name: str) -> bool:
    group, _, field = name.removeprefix("ISTHMUS_").lower().partition("__")
    annotation = cast(Any, Settings.model_fields[group].annotation)
    if name not in os.environ or not field or get_origin(annotation.model_fields[field].annotation) is not tuple:
        return True
    try:
        return isinstance(json.loads(os.environ[name]), list)
    except ValueError:
        return False


def setting_paths() -> list[tuple[str, ...]]:
    paths: list[tuple[str, ...]] = []
    for name, field in Settings.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            paths.extend((name, inner) for inner in annotation.model_fields)
        else:
            paths.append((name,))
    return paths
