"""Relay connections: keyset cursors that are opaque and typed, and page sizes with a default and a cap."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar
from uuid import UUID

import strawberry

from isthmus.graphql.errors import BadUserInput

FIRST = "How many, 20 unless told, 200 at most."
AFTER = "The cursor of an item: the page begins behind it."
FIRST_DEFAULT = 20
FIRST_MAX = 200
_CURSOR_MAX = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_POSITION_DIGITS_MAX = 18

Item = TypeVar("Item")
Row = TypeVar("Row")


@strawberry.type(description="Where a page lies in the whole list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether more items come after this page.")
    has_previous_page: bool = strawberry.field(description="Whether the page was asked for with `after`.")
    start_cursor: str | None = strawberry.field(description="Cursor of the first item; null where the page is empty.")
    end_cursor: str | None = strawberry.field(description="Cursor of the last item; null where the page is empty.")


@strawberry.type(description="An item of a page, and its cursor.")
class Edge(Generic[Item]):
    node: Item = strawberry.field(description="The item.")
    cursor: str = strawberry.field(description="Opaque; give it as `after` to go on behind this item.")


def page_size(first: int) -> int:
    """Names the cap, so that whoever asks for too much learns what is allowed."""
    if not 1 <= first <= FIRST_MAX:
        raise BadUserInput(f"first: between 1 and {FIRST_MAX}.")
    return first


def cursor_of(kind: str, position: int) -> str:
    return base64.urlsafe_b64encode(f"{kind}:{position}".encode()).decode().rstrip("=")


def position_of(kind: str, cursor: str | None) -> int | None:
    """What a cursor of that kind points at; another list's cursor is refused."""
    if cursor is None:
        return None
    if cursor.isascii() and len(cursor) <= _CURSOR_MAX:
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            found, _, digits = raw.decode("ascii").partition(":")
        except (binascii.Error, ValueError):
            found = digits = ""
        if found == kind and digits.isdecimal() and len(digits) <= _POSITION_DIGITS_MAX:
            position = int(digits)
            if cursor_of(kind, position) == cursor:
                return position
    raise BadUserInput("after: not a cursor of this list.")


def timed_cursor(kind: str, at: datetime, key: UUID) -> str:
    """Of an item whose place is an instant, and its id among those of the same instant."""
    raw = f"{kind}:{(at - _EPOCH) // timedelta(microseconds=1)}:{key.hex}"
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def timed_position(kind: str, cursor: str | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    if cursor.isascii() and len(cursor) <= 2 * _CURSOR_MAX:
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            found, digits, key = raw.decode("ascii").split(":")
            at, item = _EPOCH + timedelta(microseconds=int(digits)), UUID(key)
        except (binascii.Error, ValueError, OverflowError):
            raise BadUserInput("after: not a cursor of this list.") from None
        if found == kind and timed_cursor(kind, at, item) == cursor:
            return at, item
    raise BadUserInput("after: not a cursor of this list.")


def named_cursor(kind: str, name: str) -> str:
    """Of an item whose place follows from its name, wherever that is by now."""
    return base64.urlsafe_b64encode(f"{kind}:{name}".encode()).decode().rstrip("=")


def named_position(kind: str, cursor: str | None) -> str | None:
    if cursor is None:
        return None
    if cursor.isascii() and len(cursor) <= 2 * _CURSOR_MAX:
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            found, _, name = raw.decode("ascii").partition(":")
        except (binascii.Error, ValueError):
            found = name = ""
        if found == kind and name and named_cursor(kind, name) == cursor:
            return name
    raise BadUserInput("after: not a cursor of this list.")


def page_info(cursors: Sequence[str], *, more: bool, after: str | None) -> PageInfo:
    return PageInfo(
        has_next_page=more,
        has_previous_page=after is not None,
        start_cursor=cursors[0] if cursors else None,
        end_cursor=cursors[-1] if cursors else None,
    )


def edges_of(
    kind: str, rows: Sequence[Row], position: Callable[[Row], int], node: Callable[[Row], Item]
) -> list[Edge[Item]]:
    return [Edge(node=node(row), cursor=cursor_of(kind, position(row))) for row in rows]
