"""Settings of banking: providers, where people may be sent back to, how often banks are read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class ProviderCredentials(BaseModel):
    """What we sign in with at a provider."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    secret: SecretStr
    url: str | None = None


class BankingSettings(BaseModel):
    providers: tuple[str, ...] = Field(
        ("truelayer", "yapily", "plaid"),
        description="Who speaks for banks, as a JSON list: of two that speak for the same one the first does. Those without credentials "
        "below are left out. There is gocardless, too.",
    )
    routes: tuple[str, ...] = Field(
        (),
        description='Institutions that another provider serves than the first, as a JSON list: ["harbour-bank-gb=yapily"].',
    )
    redirect_uris: tuple[str, ...] = Field(
        (),
        description="Where a person may be sent back to from a bank, to the letter, as a JSON list. In `up`, by default: "
        "/bank-links/callback and /payments/callback of the API, and isthmus-demo://bank-link.",
    )
    payment_return_uri: str | None = Field(
        None,
        description="Where a person is sent back to who authorised a payment at their bank, to the letter; by default the first of "
        "`redirect_uris`. In `up`, by default: /payments/callback of the API.",
    )
    countries: tuple[str, ...] = Field(("GB", "DE", "US"), description="Where institutions are known, as a JSON list.")
    balance_lasts_s: float = Field(
        30, ge=1, description="For so long a balance is shown without asking the bank again, in seconds."
    )
    deadline_s: float = Field(
        8, gt=0, le=60, description="Longest that a provider may take for one answer, in seconds."
    )
    sync_every_minutes: int = Field(
        360, ge=1, le=1440, description="How often a bank is read by itself; four times a day is what the law allows."
    )
    refresh_institutions_minutes: int = Field(
        1440, ge=1, description="How often the catalogue of institutions is made anew."
    )
    webhook_url: str | None = Field(
        None,
        description="Where providers reach /webhooks of the API from outside. In `up`, by default: there, on this machine.",
    )
    webhook_bytes_max: int = Field(262_144, ge=1_024, description="Longest webhook that is kept as evidence.")
    credentials: dict[str, ProviderCredentials] = Field(
        {},
        description="Credentials of providers that have no settings of their own below, as a JSON object: "
        '{"gocardless": {"id": "…", "secret": "…"}}, with `url` where it is not the usual one.',
    )
    plaid_url: str = Field("https://production.plaid.com", description="Plaid's API.")
    plaid_client_id: str | None = Field(None, description="Our name at Plaid.")
    plaid_secret: SecretStr | None = Field(None, description="Our secret at Plaid.")
    truelayer_auth_url: str = Field("https://auth.truelayer.com", description="TrueLayer's dialog and tokens.")
    truelayer_data_url: str = Field("https://api.truelayer.com", description="TrueLayer's data API.")
    truelayer_client_id: str | None = Field(None, description="Our name at TrueLayer.")
    truelayer_secret: SecretStr | None = Field(None, description="Our secret at TrueLayer.")
    truelayer_signing_key_id: str | None = Field(
        None,
        description="What TrueLayer calls our signing key, which signs payments. The key is in `secrets.certificates`.",
    )
    truelayer_jku: str = Field(
        "https://webhooks.truelayer.com/.well-known/jwks",
        description="The one address of the keys that TrueLayer's webhooks are signed with.",
    )
    truelayer_merchant_accounts: dict[str, str] = Field(
        {},
        description='Our accounts at TrueLayer that payments leave and top-ups reach, by currency, as JSON: {"GBP": "<id>"}.',
    )
    yapily_url: str = Field("https://api.yapily.com", description="Yapily's API.")
    yapily_application: str | None = Field(None, description="Our name at Yapily.")
    yapily_secret: SecretStr | None = Field(None, description="Our secret at Yapily.")
    yapily_acsc_settles: tuple[str, ...] = Field(
        (),
        description="Banks, as Yapily names them, that say of a payment that it is settled on the payer's side (ACSC) and never that "
        "it has arrived (ACCC): theirs is settled by the first. As a JSON list.",
    )
    yapily_webhook_secrets: SecretStr | None = Field(
        None,
        description="What Yapily's webhooks are signed with; two, parted by a comma, while one takes the other's place.",
    )
