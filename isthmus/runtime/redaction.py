"""What is taken out of log lines: values under telling keys, and whatever looks like a credential or a person in any text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Set
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import Path
from traceback import extract_tb
from typing import Any
from uuid import UUID

REDACTED = "[redacted]"

_TEXT_MAX, _ITEMS_MAX, _DEPTH_MAX, _FRAMES_MAX, _LEAVES_MAX = 8_192, 100, 6, 30, 5

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TELLING = re.compile(
    r"(?:^|_)(?:pass(?:word|wd|phrase)?|pwd|tokens?|jwt|authori[sz]ation|bearer|secrets?|credentials?|cookies?|e_?mails?|"
    r"references?|plain(?:text)?|idempotency_?key|api_?key|(?:private|master|signing|wrapped)_key|verifier|otp|ibans?|payee|phone)(?:_|$)"
    r"|^(?:name|(?:full|first|last|family|given|display|holder|owner|account|user)_?name)$"
)
#: Refusals are logged as `code=INSUFFICIENT_FUNDS`; any other code may be one that signs somebody in.
_ENUM_WORD = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|[A-Z]{2,}")

_JWT = re.compile(r"eyJ[\w-]{4,}(?:\.[\w-]*){0,4}")
_API_KEY = re.compile(r"isk_[\w-]{4,}")
_BEARER = re.compile(r"\b(bearer|basic|dpop)\s+[^\s\"',;]+", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"([A-Za-z][\w+.-]{0,30}://[^\s/:@\"']{0,128}):[^\s\"'<>]{0,512}@")
_EMAIL = re.compile(r"[\w.+%~-]{1,64}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}", re.IGNORECASE)
_PAIR = re.compile(
    r"((?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|authorization|verifier|idempotency[_-]?key|login_hint)"
    r"[\"']?\s{0,4}[=:]\s{0,4})(?:\"[^\"]*\"?|'[^']*'?|[^\s&,;)}\]]+)",
    re.IGNORECASE,
)
#: Looked for first, in lower case: plain searches cost a hundredth of the patterns, and most lines hold none of these.
_PAIR_HINTS = ("pass", "pwd", "secret", "token", "key", "authori", "verifier", "login_hint", "code", "cookie")
_QUOTED_HINTS = ("failing row", "key (", "query argument", "input_value")
_IBAN_HINT = re.compile(r"\b[A-Za-z]{2}\d\d")
_CODE_PAIR = re.compile(r"(\bcode[\"']?(?:=|\s*:\s*[\"'])[\"']?)(?!(?:[A-Z]+(?:_[A-Z0-9]+)*)\b)[^\s&,;\"')}\]]+")
_COOKIE_LINE = re.compile(r"((?:set-)?cookie[\"']?\s{0,4}[=:]\s{0,4})(?:\"[^\"]*\"?|'[^']*'?|.+)", re.IGNORECASE)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?\b")
_IBAN_ANY_CASE = re.compile(r"\b[a-z]{2}\d{2}(?: ?[a-z0-9]{4}){2,7}(?: ?[a-z0-9]{1,3})?\b", re.IGNORECASE)
#: What PostgreSQL, asyncpg and pydantic repeat of the values they were given.
_QUOTED_INPUT = re.compile(
    r"(Failing row contains )\(.*|(Key \([^)]{0,200}\))=\(.*?\)(?= |$)|(query argument \$\d+: ).*|(input_value=).*?(?=, input_type=|\]|$)",
    re.MULTILINE,
)


@lru_cache(maxsize=1_024)
def _tells(key: str) -> bool:
    return _TELLING.search(_CAMEL.sub("_", key).lower().replace("-", "_").replace(".", "_")) is not None


@lru_cache(maxsize=1_024)
def redact_key(key: str) -> str:
    """Keys repeat, line after line."""
    return redact_text(key)


def redact_text(text: str) -> str:
    """The text, with what looks like a credential, an e-mail address or an IBAN masked. Cheap where there is nothing to mask."""
    if len(text) > _TEXT_MAX:
        text = text[:_TEXT_MAX] + "…"
    lower = text.lower()
    if "eyJ" in text:
        text = _JWT.sub(REDACTED, text)
    if "isk_" in text:
        text = _API_KEY.sub(REDACTED, text)
    if " " in text:
        if "bearer" in lower or "basic" in lower or "dpop" in lower:
            text = _BEARER.sub(rf"\1 {REDACTED}", text)
        if any(hint in lower for hint in _QUOTED_HINTS):
            text = _QUOTED_INPUT.sub(lambda m: next(filter(None, m.groups())) + REDACTED, text)
    if "@" in text or "%40" in text:
        text = _EMAIL.sub(REDACTED, _URL_PASSWORD.sub(rf"\1:{REDACTED}@", text))
    if ("=" in text or ":" in text) and any(hint in lower for hint in _PAIR_HINTS):
        text = _COOKIE_LINE.sub(rf"\1{REDACTED}", _CODE_PAIR.sub(rf"\1{REDACTED}", _PAIR.sub(rf"\1{REDACTED}", text)))
    if len(text) >= 15 and _IBAN_HINT.search(text):
        text = _IBAN_ANY_CASE.sub(_unless_no_iban, _IBAN.sub(REDACTED, text))
    return text


def _unless_no_iban(match: re.Match[str]) -> str:
    """Lower case is common in hashes and ids, so there the checksum decides."""
    compact = match[0].replace(" ", "").upper()
    digits = "".join(str(int(sign, 36)) for sign in compact[4:] + compact[:4])
    return REDACTED if int(digits) % 97 == 1 else match[0]


def clean(key: str, value: Any, depth: int = 0) -> Any:
    """What of `value` may be logged under `key`, as plain JSON values."""
    kind = type(value)
    if kind is bool or value is None:
        return value
    if key and (
        _tells(key) or (key.lower() == "code" and not (isinstance(value, str) and _ENUM_WORD.fullmatch(value)))
    ):
        return REDACTED
    if kind is str:
        return redact_text(value)
    if kind is int or kind is float:
        return value
    if isinstance(value, Enum):
        return clean(key, value.value, depth)
    if isinstance(value, UUID | Decimal | Path | str):
        return redact_text(str(value))
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {exception_message(value)}"
    return _clean_container(value, depth)


def _clean_container(value: Any, depth: int) -> Any:
    if depth >= _DEPTH_MAX:
        return "…"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # Field by field, so that what is personal is known by its name; a repr would have printed it all, but what it hides.
        value = {
            field.name: getattr(value, field.name, None) if field.repr else REDACTED
            for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        pairs = list(value.items())[:_ITEMS_MAX]
        return {redact_key(_as_key(key)): clean(_as_key(key), inner, depth + 1) for key, inner in pairs}
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str | bytes):
        return [clean("", value[0], depth + 1), clean(_as_key(value[0]), value[1], depth + 1)]  # a header
    if isinstance(value, list | tuple | Set):
        return [clean("", inner, depth + 1) for inner in list(value)[:_ITEMS_MAX]]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    return f"<{type(value).__name__}>"


def _as_key(key: object) -> str:
    return key.decode("latin-1") if isinstance(key, bytes) else str(key)


def clean_arguments(arguments: Any) -> Any:
    """Arguments of a `%` format, structures cleaned while their keys are still there to tell; numbers stay numbers for `%d`."""
    if isinstance(arguments, Mapping):
        return {key: clean(str(key), value) for key, value in arguments.items()}
    return tuple(
        clean("", argument)
        if isinstance(argument, Mapping | list | tuple | Set | bytes | BaseException)
        or dataclasses.is_dataclass(argument)
        else argument
        for argument in arguments
    )


def exception_message(error: BaseException) -> str:
    try:
        return redact_text(str(error))
    except Exception:  # noqa: BLE001  # a broken __str__ is the error's fault, not the log's
        return ""


def describe_exception(error: BaseException, depth: int = 0) -> dict[str, Any]:
    """Type, redacted message and where: never a local variable or a source line, which hold what was being worked on."""
    told: dict[str, Any] = {
        "type": type(error).__qualname__,
        "message": exception_message(error),
        "frames": [f"{_place(frame.filename)}:{frame.name}:{frame.lineno}" for frame in _frames(error)],
    }
    if depth < _DEPTH_MAX:
        if isinstance(error, BaseExceptionGroup):
            told["exceptions"] = [describe_exception(inner, depth + 1) for inner in error.exceptions[:_LEAVES_MAX]]
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is not None:
            told["cause"] = describe_exception(cause, depth + 1)
    return told


def _frames(error: BaseException) -> list[Any]:
    return list(extract_tb(error.__traceback__))[-_FRAMES_MAX:]


@lru_cache(maxsize=512)
def _place(filename: str) -> str:
    """The file within its package: where this machine keeps it is nobody's business."""
    parts = Path(filename).parts
    for root in ("site-packages", "isthmus", "tests"):
        if root in parts:
            at = len(parts) - 1 - parts[::-1].index(root)
            return "/".join(parts[at + (root == "site-packages") :])
    return "/".join(parts[-2:]) if parts[:1] == ("/",) else filename
