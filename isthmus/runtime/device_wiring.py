"""What devices (WebAuthn) know this machine by in `up`: the name localhost, since to them an address such as 127.0.0.1 is nobody's."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from isthmus.runtime.endpoints import Endpoints
from isthmus.settings import LOOPBACK, Settings

_NAME = "localhost"


def runs_in_development(settings: Settings) -> bool:
    """A person tries things out here; `serve` by itself is production."""
    return settings.api.in_development or "mode" not in settings.api.model_fields_set


def device_origin(settings: Settings, endpoints: Endpoints) -> str | None:
    """Where browsers on this machine find the page that asks devices. None in production, where something else is
    set, or where it is not on this machine."""
    address = urlsplit(endpoints.api_url)
    told = settings.sca.rp_id is not None or settings.playground.url is not None
    if told or not runs_in_development(settings) or address.hostname != LOOPBACK:
        return None
    return f"http://{_NAME}:{address.port}"


def wired_to_devices(settings: Settings, endpoints: Endpoints) -> dict[str, str]:
    """Environment of `serve` and `work`."""
    origin = device_origin(settings, endpoints)
    if origin is None:
        return {}
    return {"ISTHMUS_SCA__RP_ID": _NAME, "ISTHMUS_SCA__ORIGINS": json.dumps([origin])}
