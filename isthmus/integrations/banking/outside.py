"""What an adapter reaches its provider with: connections that show who we are, calls with manners, a clock, and credentials."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import structlog

from isthmus.domain.banking import ProviderUnavailable
from isthmus.domain.clock import Clock
from isthmus.integrations.banking.calls import Calls
from isthmus.integrations.secrets.certificates import CertificateError, client_tls
from isthmus.integrations.secrets.sealed_keys import SealedKeys
from isthmus.settings import ProviderCertificates
from isthmus.settings.banking import BankingSettings

_LIMITS = httpx.Limits(max_connections=32, max_keepalive_connections=8)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Outside:
    """`tls` is None for whoever is reached as everybody is; it raises ProviderUnavailable."""

    told: BankingSettings
    http: httpx.AsyncClient
    calls: Calls
    clock: Clock
    tls: Callable[[], ssl.SSLContext] | None = None


class Doors:
    """The HTTP clients: one for each provider, so that who is slow takes no connection from another.

    A certificate of ours that cannot be used shuts out its provider and nobody else: the rest of the product has to start.
    """

    def __init__(
        self,
        deadline_s: float,
        certificates: Mapping[str, ProviderCertificates],
        sealed: SealedKeys | None,
        clock: Clock,
    ) -> None:
        self._deadline_s = deadline_s
        self._certificates = certificates
        self._sealed = sealed
        self._clock = clock
        self._as_everybody = httpx.create_ssl_context(trust_env=False)
        self._opened: dict[str, httpx.AsyncClient] = {}

    def of(self, provider: str) -> tuple[httpx.AsyncClient, Callable[[], ssl.SSLContext] | None]:
        """The client, and how other connections to the provider are made, where that is not as everybody's are."""
        files = self._certificates.get(provider)
        if files is None or (files.client_certificate is None and files.authorities is None):
            return self._client(provider, lambda: self._as_everybody), None

        def tls() -> ssl.SSLContext:
            try:
                return client_tls(provider, files, self._clock.now(), self._sealed)
            except CertificateError as error:
                raise ProviderUnavailable(str(error)) from None

        return self._client(provider, tls), tls

    def _client(self, provider: str, tls: Callable[[], ssl.SSLContext]) -> httpx.AsyncClient:
        if provider not in self._opened:
            transport: httpx.AsyncBaseTransport
            try:
                transport = httpx.AsyncHTTPTransport(verify=tls(), trust_env=False, limits=_LIMITS)
            except ProviderUnavailable as fault:
                log.error("a provider cannot be reached", provider=provider, why=str(fault))
                transport = _Shut(str(fault))
            self._opened[provider] = httpx.AsyncClient(timeout=self._deadline_s, trust_env=False, transport=transport)
        return self._opened[provider]

    async def aclose(self) -> None:
        for http in self._opened.values():
            await http.aclose()


class _Shut(httpx.AsyncBaseTransport):
    def __init__(self, why: str) -> None:
        self._why = why

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(self._why, request=request)


@asynccontextmanager
async def doors(
    deadline_s: float, certificates: Mapping[str, ProviderCertificates], sealed: SealedKeys | None, clock: Clock
) -> AsyncIterator[Doors]:
    """Closed on leaving."""
    made = Doors(deadline_s, certificates, sealed, clock)
    try:
        yield made
    finally:
        await made.aclose()
