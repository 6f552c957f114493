"""Plaid's official client, which waits for answers in threads.

Answers are read as the bytes that came, since the client's own models make floats of amounts. Its errors are of three kinds and all are
caught: its own, urllib3's, and an AttributeError where a certificate does not fit.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import anyio
import msgspec

from isthmus.domain.banking import (
    AccessEnded,
    ChangedWhilePaging,
    Malformed,
    OutcomeUnknown,
    ProviderRefused,
    ProviderUnavailable,
)
from isthmus.integrations.banking.calls import Calls, silence
from isthmus.integrations.banking.json_http import ANSWER_BYTES_MAX, rest_s, where
from isthmus.integrations.banking.plaid_answers import Error

_THREADS = 16
_SOCKET_S = (3.0, 8.0)
#: For so long at least, by whatever it is that was asked too often.
_REST_S = 60.0

Shape = TypeVar("Shape")


class PlaidClient:
    """`tls`: what connections are made with, where it is other than the client's own; asked for once, when the first is made."""

    def __init__(
        self, host: str, client_id: str, secret: str, calls: Calls, tls: Callable[[], ssl.SSLContext | None] | None
    ) -> None:
        self._host = host
        self._key = {"clientId": client_id, "secret": secret}
        self._calls = calls
        self._tls = tls
        self._limiter: anyio.CapacityLimiter | None = None
        self._api: Any = None

    async def ask(self, name: str, method: str, shape: type[Shape], /, *, safe: bool, **body: Any) -> Shape:
        def work() -> bytes:
            return self._sent(method, body, safe)

        async def once() -> Shape:
            if self._limiter is None:
                self._limiter = anyio.CapacityLimiter(_THREADS)
            # A thread that is given up waits for its socket by itself.
            answer = await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._limiter)
            try:
                return msgspec.json.decode(answer, type=shape)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise Malformed(f"Plaid answered {name} with what is none: {where(error)}") from None

        return await self._calls.run(name, once, safe=safe)

    def _sent(self, method: str, body: dict[str, Any], safe: bool) -> bytes:
        import urllib3
        from plaid.exceptions import ApiException

        client = self._client()
        call: Callable[..., Any] = getattr(client, method)
        # Each method takes a model of its own; what is in it need not be one.
        (kind,) = getattr(client, f"{method}_endpoint").openapi_types[f"{method}_request"]
        try:
            answer = call(kind(_check_type=False, **body), _preload_content=False, _request_timeout=_SOCKET_S)
            data: bytes = answer.data
        except ApiException as error:
            raise _fault(error.status, error.body, error.headers or {}, safe=safe) from None
        except (urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.NewConnectionError):
            raise ProviderUnavailable("Plaid cannot be reached") from None
        except (urllib3.exceptions.HTTPError, AttributeError):
            raise silence("Plaid", safe=safe) from None
        if len(data) > ANSWER_BYTES_MAX:
            raise Malformed(f"Plaid answered with more than {ANSWER_BYTES_MAX} bytes")
        return data

    def _client(self) -> Any:
        if self._api is None:
            import plaid
            import urllib3
            from plaid.api import plaid_api

            configuration = plaid.Configuration(host=self._host, api_key=self._key)
            configuration.retries = False  # else a redirect is followed, with the secret
            client = plaid.ApiClient(configuration)
            if self._tls is not None and (context := self._tls()) is not None:
                # The client takes paths of files only, and would look at the key's file for each connection.
                client.rest_client.pool_manager = urllib3.PoolManager(retries=False, ssl_context=context)
            self._api = plaid_api.PlaidApi(client)
        return self._api


def _fault(status: int | None, body: object, headers: Mapping[str, str], *, safe: bool) -> Exception:
    try:
        error = msgspec.json.decode(body if isinstance(body, (str, bytes)) else b"", type=Error)
    except msgspec.MsgspecError:
        error = Error("")
    if status == 429 or error.error_type == "RATE_LIMIT_EXCEEDED":
        return ProviderUnavailable("Plaid is asked too often", max(_REST_S, rest_s(headers, ("retry-after",)) or 0))
    if status is None or status >= 500 or error.error_type in ("API_ERROR", "INSTITUTION_ERROR"):
        return ProviderUnavailable(f"Plaid answered {status}") if safe else OutcomeUnknown(f"Plaid answered {status}")
    if error.error_code == "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION":
        return ChangedWhilePaging("Plaid's pages changed while they were read")
    if error.error_type == "ITEM_ERROR" or error.error_code == "INVALID_ACCESS_TOKEN":
        return AccessEnded(f"the bank wants its customer to sign in ({error.error_code})", error.error_code)
    return ProviderRefused(f"Plaid refused ({error.error_code or status})", error.error_code or str(status))
