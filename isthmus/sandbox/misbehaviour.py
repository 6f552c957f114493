"""Told so, the sandbox misbehaves on a route, a number of times: late, twice, cut off, wrong. Row T9 of the faults to survive."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: What may go wrong. `…_before` does nothing of what was asked; `…_after` does it, and does not say so.
KINDS = (
    "hang_before",
    "hang_after",
    "error_before",
    "error_after",
    "too_many",
    "truncated",
    "nan",
    "enormous",
    "many_places",
    "huge",
    "wrong_currency",
    "says",
    "twice",
    "page_again",
    "drip",
)
_HANG_S_MAX = 60.0
#: Answers that are kept, one a route, to be given again.
_KEPT_MAX = 1_000
_AMOUNTS = re.compile(rb'("(?:amount|amount_in_minor|current|available|Amount|value)"\s*:\s*)"?-?[0-9.]+"?')
_SPOILED = {"nan": rb"\1NaN", "enormous": rb"\g<1>1e400", "many_places": rb"\g<1>-0.1234567890123456789"}
_HUGE_BYTES = 10 * 1024 * 1024
_STATUS = re.compile(rb'("status"\s*:\s*)"[^"]*"')
_CURRENCIES = re.compile(rb'"(GBP|EUR|USD)"')


@dataclass
class Rule:
    """`route` is `METHOD /path` and may hold `*`. `times` counts down; `seconds` is how long a hang or a drip's byte takes, `retry_after`
    what `too_many` says, and `word` the status that `says` says in place of the true one."""

    route: str
    kind: str
    times: int = 1
    seconds: float = 30.0
    status: int = 500
    retry_after: int = 1
    word: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no such misbehaviour: {self.kind}; one of {', '.join(KINDS)}")
        self.seconds = min(self.seconds, _HANG_S_MAX)


@dataclass
class Misbehaviour:
    """ASGI middleware. `rules` may be changed while it runs; the first that fits is taken."""

    app: ASGIApp
    rules: list[Rule] = field(default_factory=list)
    _last: dict[str, list[Message]] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/sandbox/"):
            await self.app(scope, receive, send)
            return
        route = f"{scope['method']} {scope['path']}"
        rule = self._take(route)
        if rule is None:
            if len(self._last) >= _KEPT_MAX:
                self._last.clear()
            self._last[route] = await self._passed_on(scope, receive, send)
            return
        await self._misbehave(rule, route, scope, receive, send)

    def _take(self, route: str) -> Rule | None:
        for rule in self.rules:
            if fnmatchcase(route, rule.route):
                rule.times -= 1
                if rule.times <= 0:
                    self.rules.remove(rule)
                return rule
        return None

    async def _passed_on(self, scope: Scope, receive: Receive, send: Send) -> list[Message]:
        said: list[Message] = []

        async def keep(message: Message) -> None:
            said.append(message)
            await send(message)

        await self.app(scope, receive, keep)
        return said

    async def _misbehave(self, rule: Rule, route: str, scope: Scope, receive: Receive, send: Send) -> None:
        match rule.kind:
            case "hang_before":
                await _hang(receive, rule.seconds)
            case "error_before":
                await _error(send, rule.status)
            case "too_many":
                await _error(send, 429, ((b"retry-after", str(rule.retry_after).encode()),))
            case "page_again" if route in self._last:
                await _drain(receive)
                for message in self._last[route]:
                    await send(message)
            case _:
                start, body = await self._answer(scope, receive)
                await _spoiled(rule, start, body, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
        said = await self._passed_on(scope, receive, _unheard)
        return said[0], b"".join(message.get("body", b"") for message in said[1:])


async def _unheard(_: Message) -> None:
    """For an answer that is spoiled before anybody gets it."""


async def _spoiled(rule: Rule, start: Message, body: bytes, receive: Receive, send: Send) -> None:
    match rule.kind:
        case "hang_after":
            await _hang(receive, rule.seconds)
        case "error_after":
            await _error(send, rule.status)
        case "truncated":
            await send(start)  # it promises the whole length
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            raise ConnectionAbortedError("told to break off")
        case "drip":
            await send(start)
            for n in range(len(body)):
                await send({"type": "http.response.body", "body": body[n : n + 1], "more_body": True})
                await asyncio.sleep(rule.seconds)
            await send({"type": "http.response.body", "body": b""})
        case "nan" | "enormous" | "many_places":
            await _whole(send, start, _AMOUNTS.sub(_SPOILED[rule.kind], body))
        case "huge":
            await _whole(send, start, body + b" " * _HUGE_BYTES)  # JSON all the same
        case "says":
            await _whole(send, start, _STATUS.sub(rb'\1"' + rule.word.encode() + b'"', body))
        case "twice":
            await _whole(send, start, orjson.dumps(_doubled(orjson.loads(body))))
        case "wrong_currency":
            await _whole(send, start, _CURRENCIES.sub(b'"JPY"', body))
        case _:
            await _whole(send, start, body)  # `page_again` where there was none before


def _doubled(told: Any) -> Any:
    """What is first in a list is in it once more, under the same name."""
    if isinstance(told, dict):
        return {name: _doubled(value) for name, value in told.items()}
    return [told[0], *told] if isinstance(told, list) and told and isinstance(told[0], dict) else told


async def _whole(send: Send, start: Message, body: bytes) -> None:
    headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
    await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


async def _error(send: Send, status: int, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    body = b'{"error":"told to fail"}'
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": own})
    await send({"type": "http.response.body", "body": body})


async def _drain(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        pass


async def _hang(receive: Receive, seconds: float) -> None:
    """Says nothing until the client has gone, or so many seconds; then the connection ends without an answer."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        async with asyncio.timeout(seconds):
            await gone()
    except TimeoutError:
        pass
    raise ConnectionAbortedError("told to hang")
