"""Request parameters, read with bounds. Pairs, not a mapping: a parameter that is there twice must be seen to be."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

_BYTES_MAX = 16_384
_FIELDS_MAX = 40
Pairs = list[tuple[str, str]]


def query_pairs(request: Request) -> Pairs:
    return _parse(request.scope.get("query_string", b""))


async def form_pairs(request: Request) -> Pairs:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "application/x-www-form-urlencoded is expected")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BYTES_MAX:
            raise HTTPException(413, "the form is too long")
    return _parse(bytes(body))


def _parse(raw: bytes) -> Pairs:
    if len(raw) > _BYTES_MAX:
        raise HTTPException(414, "the query is too long")
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError:
        raise HTTPException(400, "the parameters cannot be read") from None
