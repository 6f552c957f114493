"""The schema as text, and what a change to it means to clients."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import unified_diff
from importlib.resources import files

from graphql import build_schema as from_sdl
from graphql.utilities import BreakingChange, DangerousChange, find_breaking_changes, find_dangerous_changes

SNAPSHOT = "schema.graphql"


@dataclass(frozen=True)
class Difference:
    """`breaking` stops a client that works today, `dangerous` may; the rest of `lines` is additions and words."""

    breaking: list[str]
    dangerous: list[str]
    lines: list[str]

    def __bool__(self) -> bool:
        return bool(self.lines)


def sdl() -> str:
    from isthmus.graphql.schema import build_schema

    return build_schema().as_str() + "\n"


def snapshot() -> str:
    return files("isthmus.graphql").joinpath(SNAPSHOT).read_text(encoding="utf-8")


def difference(before: str, after: str) -> Difference:
    """From the snapshot to the code."""
    if before == after:
        return Difference([], [], [])
    old, new = from_sdl(before), from_sdl(after)
    lines = list(unified_diff(before.splitlines(), after.splitlines(), "snapshot", "code", lineterm="", n=2))
    return Difference(_sentences(find_breaking_changes(old, new)), _sentences(find_dangerous_changes(old, new)), lines)


def _sentences(changes: list[BreakingChange] | list[DangerousChange]) -> list[str]:
    return [f"{change.type.name}: {change.description}" for change in changes]
