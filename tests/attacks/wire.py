"""Requests as they stand on the wire, and one client for all: a new one for each would take most of the time."""

from __future__ import annotations

from functools import cache

import httpx


@cache
def http() -> httpx.Client:
    """Without a token, and without memory: nothing here sets a cookie."""
    return httpx.Client(timeout=20)
