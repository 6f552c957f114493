"""Settings of the servers that Isthmus runs on, and of who signs people in."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, SecretStr, field_validator


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
