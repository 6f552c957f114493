"""Settings of strong customer authentication: what devices know us by."""

from __future__ import annotations

from decimal import Decimal
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator, model_validator

#: In production.
CODES_PER_TEN_MINUTES, CODES_PER_DAY = 10, 50


class ScaSettings(BaseModel):
    rp_id: str | None = Field(
        None,
        description="The host that devices know us by (WebAuthn's RP ID), as bank.example. It can never be changed: every device would "
        "be lost. Without it no device is enrolled, and codes are all there is. In `up`, by default in development: localhost.",
    )
    rp_name: str = Field("Isthmus", description="What devices show of us.")
    origins: tuple[str, ...] = Field(
        (),
        description="Pages on which a device may be asked, as a JSON list of origins of that host or under it. "
        "In `up`, by default in development: the API, at http://localhost.",
    )

    codes_per_ten_minutes: int | None = Field(
        None,
        ge=1,
        description="Most one-time codes that are sent to one person in ten minutes, whatever they are for. Not set: 10 in production, "
        "as many as are asked for in development.",
    )
    codes_per_day: int | None = Field(
        None, ge=1, description="And in 24 hours. Not set: 50 in production, as many as are asked for in development."
    )

    transfer_above: dict[str, Decimal] = Field(
        default_factory=dict,
        description="Most that one `transferInternally` moves to another person without a challenge, as JSON by asset: "
        '{"EUR": "30"}. Above it one pays by `initiatePayment`. An asset that is not named: what the exemptions of the profile say, '
        "which is 0. It is not counted how often.",
    )

    @field_validator("transfer_above")
    @classmethod
    def _amounts(cls, told: dict[str, Decimal]) -> dict[str, Decimal]:
        if any(not most.is_finite() or most < 0 for most in told.values()):
            raise ValueError("amounts of 0 or more")
        return told

    @model_validator(mode="after")
    def _of_one_host(self) -> Self:
        if (self.rp_id is None) != (not self.origins):
            raise ValueError("rp_id and origins belong together")
        for origin in self.origins:
            parts = urlsplit(origin)
            host = parts.hostname or ""
            if origin != f"{parts.scheme}://{parts.netloc}" or not (parts.scheme == "https" or host == "localhost"):
                raise ValueError(f"{origin} must be https://host (http:// for localhost alone), without a path")
            if host != self.rp_id and not host.endswith(f".{self.rp_id}"):
                raise ValueError(f"{origin} is not of {self.rp_id}")
        return self
