"""Settings of payees: how often a person may ask whose an account is."""

from __future__ import annotations

from pydantic import BaseModel, Field


class PayeeSettings(BaseModel):
    checks_per_minute: int = Field(
        30, ge=1, description="Most confirmations of payee of one person in a minute, payments counted."
    )
    checks_per_day: int = Field(500, ge=1, description="And in 24 hours.")
