"""Top-level errors: what is not a business answer. Each has a code in `extensions`, and whatever was not meant for clients is masked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, ClassVar

import structlog
from graphql import GraphQLError

from isthmus.domain.secrets import SecretsAway
from isthmus.read_models.database import Incomplete, is_unavailable
from isthmus.write_models.envelope import Unavailable as WriteUnavailable

log = structlog.get_logger(__name__)


class ErrorCode(StrEnum):
    """Every `extensions.code`. docs/errors.md has a line for each (a test counts them)."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    BAD_USER_INPUT = "BAD_USER_INPUT"
    NOT_YET_VISIBLE = "NOT_YET_VISIBLE"
    QUERY_TOO_COMPLEX = "QUERY_TOO_COMPLEX"
    PERSISTED_QUERY_NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"
    DOCUMENT_NOT_TRUSTED = "DOCUMENT_NOT_TRUSTED"
    RATE_LIMITED = "RATE_LIMITED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


RETRYABLE = frozenset({ErrorCode.NOT_YET_VISIBLE, ErrorCode.RATE_LIMITED, ErrorCode.UNAVAILABLE})


class ApiError(GraphQLError):
    """An error whose words are meant for the client."""

    code: ClassVar[ErrorCode]

    def __init__(self, message: str) -> None:
        super().__init__(message, extensions=extensions_of(self.code))


class Unauthenticated(ApiError):
    code = ErrorCode.UNAUTHENTICATED


class Forbidden(ApiError):
    code = ErrorCode.FORBIDDEN


class BadUserInput(ApiError):
    code = ErrorCode.BAD_USER_INPUT


class NotYetVisible(ApiError):
    code = ErrorCode.NOT_YET_VISIBLE


class QueryTooComplex(ApiError):
    code = ErrorCode.QUERY_TOO_COMPLEX


class PersistedQueryNotFound(ApiError):
    code = ErrorCode.PERSISTED_QUERY_NOT_FOUND

    def __init__(self) -> None:
        super().__init__("PersistedQueryNotFound")  # this very word: Apollo's clients know it, and send the text


class DocumentNotTrusted(ApiError):
    code = ErrorCode.DOCUMENT_NOT_TRUSTED

    def __init__(self) -> None:
        super().__init__("Only published operations run here, and this is none of them.")


class RateLimited(ApiError):
    code = ErrorCode.RATE_LIMITED

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        assert self.extensions is not None
        self.extensions["retryAfterMs"] = math.ceil(retry_after_s * 1_000)


class Unavailable(ApiError):
    code = ErrorCode.UNAVAILABLE


def extensions_of(code: ErrorCode) -> dict[str, Any]:
    return {"code": code.value, **({"retryable": True} if code in RETRYABLE else {})}


def classify(error: GraphQLError) -> ErrorCode:
    """What an error is to the client. A client's own mistake has no cause but another GraphQLError; all else is ours."""
    step: BaseException | None = error
    while isinstance(step, GraphQLError):
        if isinstance(step, ApiError):
            return step.code
        step = step.original_error
    if step is None:
        return ErrorCode.BAD_USER_INPUT
    if isinstance(step, WriteUnavailable | Incomplete | SecretsAway) or is_unavailable(step):
        return ErrorCode.UNAVAILABLE
    return ErrorCode.INTERNAL


_MESSAGE_MAX = 500
_MASKS = {
    ErrorCode.INTERNAL: "Something went wrong on our side; the correlation id finds it in our logs.",
    ErrorCode.UNAVAILABLE: "The service cannot answer right now. Try again; a mutation with the same idempotency key.",
}


def _cut(message: str) -> str:
    """The library repeats what was sent, however long that was."""
    return message if len(message) <= _MESSAGE_MAX else f"{message[:_MESSAGE_MAX]}…"


def shaped(error: GraphQLError, correlation_id: str) -> dict[str, Any]:
    """An error as clients see it."""
    code = classify(error)
    meant_for_clients = code not in _MASKS or isinstance(error.original_error or error, ApiError)
    shape: dict[str, Any] = {"message": _cut(error.message) if meant_for_clients else _MASKS[code]}
    if error.locations:
        shape["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
    if error.path is not None:
        shape["path"] = error.path
    # What a field raises is wrapped in an error that has its path.
    ours = error if isinstance(error, ApiError) else error.original_error
    told = ours.extensions if isinstance(ours, ApiError) and ours.extensions else extensions_of(code)
    shape["extensions"] = {**told, "correlationId": correlation_id}
    return shape


def log_errors(errors: Sequence[GraphQLError], correlation_id: str, operation: str) -> None:
    """Each unexpected error once, without variables: their values are the client's, and may be personal."""
    for error in errors:
        code = classify(error)
        if code is ErrorCode.INTERNAL:
            cause = error.original_error
            log.error(
                "unexpected error",
                code=code.value,
                operation=operation,
                path=[str(part) for part in error.path or ()],
                correlation_id=correlation_id,
                error=type(cause).__name__,
                where=_where(cause),
            )
        elif code is ErrorCode.UNAVAILABLE:
            log.warning("unavailable", operation=operation, correlation_id=correlation_id, error=repr_type(error))


def repr_type(error: GraphQLError) -> str:
    return type(error.original_error or error).__name__


def _where(error: BaseException | None) -> list[str]:
    """File, line and function of each frame: enough to find the fault, and no values."""
    frames: list[str] = []
    trace = error.__traceback__ if error is not None else None
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return frames[-12:]
