"""How long the certificates still last that banks' providers know us by: told as a gauge, from which an alert is made."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog
from prometheus_client import Gauge

from isthmus.domain.clock import Clock
from isthmus.integrations.secrets.certificates import expiries
from isthmus.settings import ProviderCertificates

EVERY_S = 60.0

_expires = Gauge(
    "isthmus_certificate_expires_seconds",
    "Until a certificate of ours at a provider ends, or one of its chain; below 0 it has, -Inf: it cannot be read.",
    ["provider", "purpose"],
)

log = structlog.get_logger(__name__)


async def watch_certificates(certificates: Mapping[str, ProviderCertificates], clock: Clock) -> None:
    """Files may be replaced while we run."""
    unreadable: set[tuple[str, str]] = set()
    while True:
        now_unreadable = await asyncio.to_thread(look, certificates, clock)
        for provider, purpose in now_unreadable - unreadable:
            log.error("a certificate cannot be read", provider=provider, purpose=purpose)
        unreadable = now_unreadable
        await asyncio.sleep(EVERY_S)


def look(certificates: Mapping[str, ProviderCertificates], clock: Clock) -> set[tuple[str, str]]:
    """Those that cannot be read."""
    unreadable = set[tuple[str, str]]()
    for provider, purpose, ends in expiries(certificates):
        left = float("-inf") if ends is None else (ends - clock.now()).total_seconds()
        _expires.labels(provider, purpose).set(left)
        if ends is None:
            unreadable.add((provider, purpose))
    return unreadable
