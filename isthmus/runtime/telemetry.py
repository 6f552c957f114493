"""Logs: JSON on standard error, one line each, with nothing in them that opens a door or names a person.

Redaction happens here, at the one place every line passes (our own and libraries'), because a habit that each caller must
remember is forgotten once. What a caller knows to be personal still belongs under a key that says so: a bare word in a sentence
cannot be told from any other.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from structlog.contextvars import merge_contextvars

from isthmus import tracing
from isthmus.runtime.redaction import clean, clean_arguments, describe_exception, redact_key, redact_text
from isthmus.settings import Settings

__all__ = ["configure_logging", "redact_text"]

#: They say what every line of ours already says, or print what passes through them.
_NOISY = (
    "aiokafka", "alembic", "asyncio", "graphql", "httpcore", "httpx", "kafka", "pgqueuer", "python_multipart", "sqlalchemy",
    "strawberry", "uvicorn.access", "websockets",
)  # fmt: skip
#: Libraries that may have brought handlers of their own, which would print past us.
_OWN_HANDLERS = (
    "uvicorn",
    "uvicorn.error",
    "uvicorn.access",
    "alembic",
    "pgqueuer",
    "aiokafka",
    "strawberry",
    "graphql",
)
_FIRST = ("event", "service", "correlation_id", "actor")
_RECORD_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}

Event = MutableMapping[str, Any]


def configure_logging(settings: Settings, service: str) -> None:
    """Send every log line of this process, whoever writes it, to standard error. `service` names the process (serve, work)."""
    level = logging.getLevelNamesMapping()[settings.log.level]
    render = _renderer(service)
    structlog.configure(
        processors=[merge_contextvars, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Lines,
        cache_logger_on_first_use=False,  # tests configure again; a line costs 2 microseconds more
    )
    root = logging.getLogger()
    root.handlers[:] = [_Bridge(render)]
    root.setLevel(level)
    for name in _OWN_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)


class _Lines:
    """Writes finished lines. A standard error that nobody reads any more must never stop the product."""

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, line: bytes) -> None:
        stream = sys.stderr  # looked up each time: terminals' progress displays and tests replace it
        with suppress(OSError, ValueError, AttributeError):
            buffer = getattr(stream, "buffer", None)
            if buffer is None:
                stream.write(line.decode())
            else:
                buffer.write(line)
            stream.flush()

    debug = info = warn = warning = error = critical = fatal = exception = log = msg


class _Bridge(logging.Handler):
    """Standard library records, through the same rendering as our own lines."""

    def __init__(self, render: Callable[[Any, str, Event], bytes]) -> None:
        super().__init__()
        self._render = render
        self._lines = _Lines()

    def emit(self, record: logging.LogRecord) -> None:
        event: Event = {key: value for key, value in record.__dict__.items() if key not in _RECORD_FIELDS}
        try:
            event["event"] = str(record.msg) % clean_arguments(record.args) if record.args else str(record.msg)
        except Exception:  # noqa: BLE001  # a wrong format string in a library is no reason to lose the line
            event["event"] = str(record.msg)
        event["logger"] = record.name
        if record.exc_info:
            event["exc_info"] = record.exc_info
        try:
            self._lines.msg(self._render(None, record.levelname.lower(), merge_contextvars(None, "", event)))
        except Exception:  # noqa: BLE001  # logging never raises into the code that logs
            self._lines.msg(b'{"level":"error","event":"a log line could not be rendered"}\n')


def _renderer(service: str) -> Callable[[Any, str, Event], bytes]:
    def render(_logger: Any, method: str, event: Event) -> bytes:
        line: dict[str, Any] = {
            "ts": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": "error" if method == "exception" else "warning" if method == "warn" else method,
        }
        event["service"] = service
        error = _exception(event.pop("exc_info", None))
        event.pop("stack_info", None)
        for key in _FIRST:
            if (value := event.pop(key, None)) is not None:
                line[key] = clean(key, value)
        if (trace_id := tracing.trace_id()) is not None:
            line["trace_id"] = trace_id
        for key, value in event.items():
            line[redact_key(key)] = clean(key, value)
        if error is not None:
            line["exception"] = describe_exception(error)
        try:
            return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        except TypeError:  # a lone surrogate or an integer beyond 64 bits
            return orjson.dumps(_plain(line), option=orjson.OPT_APPEND_NEWLINE)

    return render


def _exception(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1] if len(exc_info) > 1 else None
    return sys.exc_info()[1] if exc_info else None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, bool | None):
        return value
    return str(value).encode("utf-8", "replace").decode()
