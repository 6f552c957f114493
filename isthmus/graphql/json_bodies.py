"""JSON from clients: bounded in depth before it is decoded, since whatever walks it afterwards may go as deep as it does."""

from __future__ import annotations

import re
from typing import Any

import orjson

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


class TooDeep(ValueError):
    """Nested deeper than the limit."""


def decode(raw: bytes, depth_max: int) -> Any:
    """Raises TooDeep, and orjson.JSONDecodeError for what is not JSON (RFC 8259; NaN, bad UTF-8 and lone surrogates included)."""
    if raw.count(b"[") + raw.count(b"{") > depth_max:  # mostly not, and then there is nothing to count
        _check_depth(raw, depth_max)
    return orjson.loads(raw)


def _check_depth(raw: bytes, depth_max: int) -> None:
    depth = 0
    for token in _TOKEN.finditer(raw):
        first = token[0][0]
        if first in b"[{":
            depth += 1
            if depth > depth_max:
                raise TooDeep(f"nested deeper than {depth_max} levels")
        elif first in b"]}":
            depth -= 1
