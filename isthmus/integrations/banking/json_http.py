"""JSON over HTTP as the adapters speak it: what the transport and the status mean, answers of bounded size, amounts never as floats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, TypeVar

import httpx
import msgspec

from isthmus.domain.banking import AccessEnded, Malformed, OutcomeUnknown, ProviderRefused, ProviderUnavailable
from isthmus.integrations.banking.calls import Calls, silence

ANSWER_BYTES_MAX = 8 * 1024 * 1024
#: Who is told "too often" without a time is not asked again within the same call.
_REST_S = 60.0

Shape = TypeVar("Shape")
Refusing = Callable[[int, bytes], ProviderRefused]


class JsonHttp:
    """`refusal` makes of a status from 400 to 499 and its body what the provider means by it. `rest_headers`: where it says for how many
    seconds it wants to be left alone, beside Retry-After."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        calls: Calls,
        base_url: str,
        refusal: Refusing,
        rest_headers: Sequence[str] = (),
    ) -> None:
        self._http = http
        self._calls = calls
        self._base_url = base_url.rstrip("/")
        self._refusal = refusal
        self._rest_headers = ("retry-after", *rest_headers)

    async def ask(
        self,
        name: str,
        method: str,
        path: str,
        shape: type[Shape],
        *,
        safe: bool,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Shape:
        """`more` are httpx's own (params, json, data, content). Redirects are not followed: a secret goes to no other place."""

        async def once() -> Shape:
            body = await self._sent(method, path, safe, headers or {}, more)
            try:
                return msgspec.json.decode(body or b"null", type=shape)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise Malformed(f"{self._calls.provider} answered {name} with what is none: {where(error)}") from None

        return await self._calls.run(name, once, safe=safe)

    async def _sent(
        self, method: str, path: str, safe: bool, headers: Mapping[str, str], more: Mapping[str, Any]
    ) -> bytes:
        provider, status, body = self._calls.provider, 0, bytearray()
        try:
            request = self._http.build_request(method, f"{self._base_url}{path}", headers=dict(headers), **more)
            answer = await self._http.send(request, stream=True, follow_redirects=False)
            try:
                status = answer.status_code
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > ANSWER_BYTES_MAX:
                        raise Malformed(f"{provider} answered with more than {ANSWER_BYTES_MAX} bytes")
            finally:
                await answer.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise ProviderUnavailable(f"{provider} cannot be reached") from None
        except httpx.HTTPError:
            raise silence(provider, safe=safe) from None
        if status == 429:
            wish_s = rest_s(answer.headers, self._rest_headers)
            raise ProviderUnavailable(f"{provider} is asked too often", _REST_S if wish_s is None else wish_s)
        if status >= 500:
            if safe:
                raise ProviderUnavailable(f"{provider} answered {status}", rest_s(answer.headers, self._rest_headers))
            raise OutcomeUnknown(f"{provider} answered {status}: it may have done what was asked")
        if status >= 400:
            raise self._refusal(status, bytes(body))
        if status >= 300:
            raise Malformed(f"{provider} wants to send us elsewhere")
        return bytes(body)


def where(error: Exception) -> str:
    """What is wrong and where, without what stood there."""
    text = str(error)
    return text.split(" - at ")[-1] if " - at " in text else type(error).__name__


def refusal_of(provider: str, status: int, code: str) -> ProviderRefused:
    """By status, where the code says no more."""
    shown = "".join(one for one in code[:60] if one.isascii() and (one.isalnum() or one in "_-."))
    if status in (401, 403):
        return AccessEnded(f"{provider} lets us in no more ({shown or status})", shown)
    return ProviderRefused(f"{provider} refused ({shown or status})", shown)


def rest_s(headers: Mapping[str, str], names: Sequence[str]) -> float | None:
    """The longest that one of them says, in seconds or (RFC 9110) as a date; None where none does."""
    told = [rest for name in names if (rest := _seconds(headers.get(name, ""))) is not None]
    return max(told, default=None)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (at.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if isfinite(seconds) else None
