"""Settings of compliance: whose limits hold, and what is screened against."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field


class ComplianceSettings(BaseModel):
    profile: str = Field(
        "GB", description="Whose limits hold: GB, EU, STRICT, or another profile of the file of limits."
    )
    sanctions_list: Path | None = Field(
        None,
        description="The sanctions list, as JSON: version, as_of, entries of id, name, aliases. Without it an invented one, "
        "for development.",
    )
    limits: Path | None = Field(
        None, description="The limits by profile and asset, as JSON. Without it those that come with the platform."
    )
    exempt: bool = Field(
        False,
        description="Whether payments that the law exempts go without a challenge (RTS 2018/389 Art. 13, 15, 16). The profile STRICT "
        "exempts nothing either way.",
    )
    exemptions: Path | None = Field(
        None, description="The exemptions by profile, as JSON. Without it those that come with the platform."
    )
