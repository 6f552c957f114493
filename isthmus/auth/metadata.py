"""What a client finds out about this API before it has a token (RFC 9728)."""

from __future__ import annotations

from typing import Any

from isthmus.auth.scopes import Scope
from isthmus.settings import Settings


def resource_of(api_url: str) -> str:
    """RFC 9728, 3: metadata at the root of the host are about the host's resource, so the path of GraphQL is left out."""
    return api_url.rstrip("/").removesuffix("/graphql").rstrip("/")


def protected_resource_metadata(settings: Settings, issuer_url: str, api_url: str | None) -> dict[str, Any]:
    """RFC 9728, 2. `api_url` is where clients find the API; without one it is where `serve` was told to listen."""
    return {
        "resource": resource_of(
            api_url or f"http://{settings.api.host}" + (f":{settings.api.port}" if settings.api.port else "")
        ),
        "authorization_servers": [issuer_url],
        "scopes_supported": [scope.value for scope in Scope],
        "bearer_methods_supported": ["header"],
        "resource_name": "Isthmus",
    }
