"""Settings of what is kept secret: the master key, and the certificates that banks' providers know us by."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator


class ProviderCertificates(BaseModel):
    """Files in PEM. A QWAC is a client certificate, a QSEAL one that signs (eIDAS); both come with their keys, which may be sealed.
    `authorities`: whose certificates are believed when the provider shows its own; by default the system's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client_certificate: Path | None = None
    client_key: Path | None = None
    signing_certificate: Path | None = None
    signing_key: Path | None = None
    authorities: Path | None = None

    @model_validator(mode="after")
    def _pairs(self) -> ProviderCertificates:
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("client_certificate and client_key come together")
        if self.signing_certificate is not None and self.signing_key is None:
            raise ValueError("signing_certificate needs signing_key")
        return self


class SecretsSettings(BaseModel):
    provider: Literal["file", "vault"] = Field(
        "file", description="Where the master key is: in a file, or in a Vault or OpenBao that never gives it away."
    )
    master_key_file: Path | None = Field(
        None,
        description="File with the master key (docs/secrets.md). By default secrets/master.key in the data directory.",
    )
    vault_url: str | None = Field(None, description="The vault, as https://host:8200.")
    vault_token: SecretStr | None = Field(None, description="Token that signs in at the vault.")
    vault_token_file: Path | None = Field(
        None, description="File that holds the token instead, read for each call: as an agent of the vault renews it."
    )
    vault_mount: str = Field("transit", min_length=1, description="Where the vault's transit engine is mounted.")
    vault_key: str = Field("isthmus", min_length=1, description="Name of the transit key; it must be a derived one.")
    vault_ca_file: Path | None = Field(
        None, description="Certificates (PEM) that the vault's own is checked with. By default those of the system."
    )
    vault_deadline_s: float = Field(
        1.5,
        gt=0,
        description="Deadline of one call with its retries, in seconds. Less than database.idle_in_transaction_timeout_ms.",
    )
    certificates: dict[str, ProviderCertificates] = Field(
        {},
        description="Files (PEM) by provider, as a JSON object of client_certificate, client_key (mutual TLS, QWAC), "
        "signing_certificate and signing_key (QSEAL), and authorities (whom the provider's own is checked with).",
    )

    @field_validator("vault_url")
    @classmethod
    def _https(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise ValueError("must begin with https:// (http:// only on this machine)")
        return value.rstrip("/") if value else value

    @model_validator(mode="after")
    def _vault(self) -> SecretsSettings:
        if self.provider == "vault":
            if self.vault_url is None:
                raise ValueError("the provider vault needs vault_url")
            if (self.vault_token is None) == (self.vault_token_file is None):
                raise ValueError("the provider vault needs vault_token or vault_token_file")
        return self
