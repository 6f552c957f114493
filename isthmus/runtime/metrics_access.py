"""Who may read /metrics: they hold no personal data, but tell how the platform is doing, which is its operator's business alone."""

from __future__ import annotations

import hmac
from ipaddress import ip_address

from pydantic import SecretStr
from starlette.requests import Request

#: A request that came through a proxy has one of these; the proxy's own address says nothing then.
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


def may_read_metrics(request: Request, token: SecretStr | None) -> bool:
    """With the token where one is set; else from this machine, and not through a proxy on it."""
    if token is not None:
        given = request.headers.get("authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {token.get_secret_value()}".encode())
    return _is_loopback(request) and not any(name in request.headers for name in _FORWARDED)


def _is_loopback(request: Request) -> bool:
    try:
        return request.client is not None and ip_address(request.client.host).is_loopback
    except ValueError:
        return False
