"""Settings of notifications: who carries them to people."""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr


class NotificationSettings(BaseModel):
    onesignal_url: str = Field("https://api.onesignal.com", description="OneSignal's API.")
    onesignal_app_id: str | None = Field(
        None, description="Our name at OneSignal. Without it nobody is told anything, and no code can be delivered."
    )
    onesignal_api_key: SecretStr | None = Field(None, description="Our key at OneSignal.")
