"""Every setting, typed, read from the environment as `ISTHMUS_<GROUP>__<NAME>`.

A URL given here replaces the embedded server of the same name, and `up` then does not start it. `isthmus settings` prints this
table for the docs. A wrong value stops the start with a sentence that names it (`SettingsError`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal, cast, get_origin

from pydantic import BaseModel, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSetting

from isthmus.settings.api import LOOPBACK, ApiSettings, PlaygroundSettings
from isthmus.settings.banking import BankingSettings
from isthmus.settings.compliance import ComplianceSettings
from isthmus.settings.notifications import NotificationSettings
from isthmus.settings.payees import PayeeSettings
from isthmus.settings.sca import ScaSettings
from isthmus.settings.secrets import ProviderCertificates, SecretsSettings
from isthmus.settings.servers import DatabaseSettings, IssuerSettings, KafkaSettings, RedisSettings

__all__ = [
    "LOOPBACK",
    "ApiSettings",
    "IssuerSettings",
    "ProviderCertificates",
    "SecretsSettings",
    "Settings",
    "SettingsError",
    "TelemetrySettings",
    "load_settings",
    "setting_paths",
    "variable_name",
]


class SettingsError(Exception):
    """A setting is wrong; the message is one sentence a person can act on."""


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


class SandboxSettings(BaseModel):
    enabled: bool = Field(
        True, description="Whether `up` runs the sandbox. Without it, banks are the real ones, or none."
    )
    seed: int = Field(7, description="What its customers have and do follows from this number.")
    redirect_uris: tuple[str, ...] = Field(
        (),
        description="Addresses that the sandbox's TrueLayer and Yapily may send a person back to, as a JSON list. In `up`, by default: "
        "/bank-links/callback and /payments/callback of the API, and isthmus-demo://bank-link.",
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
    banking: BankingSettings = BankingSettings()
    notifications: NotificationSettings = NotificationSettings()
    compliance: ComplianceSettings = ComplianceSettings()
    sca: ScaSettings = ScaSettings()
    payees: PayeeSettings = PayeeSettings()
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
        wanted = {name: _json_wanted(name) for name in map(variable_name, setting_paths())}
        raise SettingsError("; ".join(f"{name}: must be {form}" for name, form in wanted.items() if form)) from None
    known = {variable_name(path) for path in setting_paths()} | {
        variable_name((group,)) for group in Settings.model_fields
    }
    for name in os.environ:
        if name.upper().startswith("ISTHMUS_") and name.upper() not in known:
            raise SettingsError(f"{name}: there is no such setting; `isthmus settings` lists them all")
    return settings


def _json_wanted(name: str) -> str | None:
    """The form that this variable's value should have and has not."""
    group, _, field = name.removeprefix("ISTHMUS_").lower().partition("__")
    annotation = cast(Any, Settings.model_fields[group].annotation)
    kind = get_origin(annotation.model_fields[field].annotation) if field else None
    if name not in os.environ or kind not in (tuple, dict):
        return None
    form, wanted = (list, 'a JSON list, as ["a", "b"]') if kind is tuple else (dict, 'a JSON object, as {"a": {}}')
    try:
        return None if isinstance(json.loads(os.environ[name]), form) else wanted
    except ValueError:
        return wanted


def setting_paths() -> list[tuple[str, ...]]:
    paths: list[tuple[str, ...]] = []
    for name, field in Settings.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            paths.extend((name, inner) for inner in annotation.model_fields)
        else:
            paths.append((name,))
    return paths
