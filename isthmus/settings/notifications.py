"""Settings of notifications: who carries them to people, and by which ways."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, SecretStr


class NotificationSettings(BaseModel):
    onesignal_url: str = Field("https://api.onesignal.com", description="OneSignal's API.")
    onesignal_app_id: str | None = Field(
        None, description="Our name at OneSignal. Without it nobody is told anything, and no code can be delivered."
    )
    onesignal_api_key: SecretStr | None = Field(None, description="Our key at OneSignal.")
    channels: tuple[Literal["PUSH", "EMAIL"], ...] = Field(
        ("PUSH", "EMAIL"),
        description="By which ways people are told of what happens to them, as a JSON list. Codes come by push whatever is here.",
    )
    send_within_hours: float = Field(
        6.0,
        gt=0,
        le=72,
        description="What happened longer ago is not sent any more when it is first seen, or when the carrier is back: it is only listed.",
    )

    @property
    def carried(self) -> bool:
        """Whether anybody carries them."""
        return self.onesignal_app_id is not None and self.onesignal_api_key is not None
