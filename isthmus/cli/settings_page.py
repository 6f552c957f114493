"""`isthmus settings`: the page of settings, made from the settings themselves, so that it cannot go stale."""

from __future__ import annotations

import json as json_module
import sys
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import typer
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from isthmus.settings import ProviderCertificates, Settings, variable_name
from isthmus.settings.banking import ProviderCredentials

_INTRODUCTION = """# Settings

Everything is set by environment variables: `ISTHMUS_<GROUP>__<NAME>`, with two underscores between group and name. Nothing needs
to be set: without any, `isthmus up` runs on embedded servers and keeps its state in the data directory.

A URL of a server replaces the embedded one, and `up` then does not start it. A wrong value, or a name that is no setting, stops
the start with exit code 2 and a sentence that names it. Lists are written as JSON: `ISTHMUS_API__ALLOWED_ORIGINS='["https://app.example"]'`.

This page is made by `isthmus settings > docs/settings.md`; `isthmus settings --check docs/settings.md` tells whether it is current.
"""

_TITLES = {
    "": "General",
    "database": "Database (PostgreSQL)",
    "redis": "Redis protocol",
    "kafka": "Kafka protocol",
    "issuer": "Sign-in (OpenID issuer)",
    "api": "API (`isthmus serve`)",
    "work": "Background work (`isthmus work`)",
    "secrets": "Secrets",
    "log": "Logs",
}
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    SecretStr: "text, secret",
    dict[str, str]: "JSON object",
    dict[str, Decimal]: "JSON object",
    dict[str, ProviderCertificates]: "JSON object",
    dict[str, ProviderCredentials]: "JSON object, secret",
}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


class Setting(NamedTuple):
    group: str
    variable: str
    type: str
    default: Any
    description: str


def every_setting() -> list[Setting]:
    found: list[Setting] = []
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            found.extend(_setting((name, inner), each) for inner, each in group.model_fields.items())
        else:
            found.append(_setting((name,), field))
    return found


def _setting(path: tuple[str, ...], field: FieldInfo) -> Setting:
    group = path[0] if len(path) > 1 else ""
    default = field.get_default(call_default_factory=True, validated_data={})
    shown = str(default) if isinstance(default, Path) else default
    return Setting(group, variable_name(path), _type_words(field), shown, field.description or "")


def _type_words(field: FieldInfo) -> str:
    words = _annotation_words(field.annotation)
    limits = [
        f"{phrase} {_number(getattr(bound, name))}"
        for bound in field.metadata
        for name, phrase in _BOUNDS.items()
        if getattr(bound, name, None) is not None
    ]
    return f"{words}, {' and '.join(limits)}" if limits else words


def _annotation_words(annotation: Any) -> str:
    if annotation in _WORDS:
        return _WORDS[annotation]
    origin, arguments = get_origin(annotation), [a for a in get_args(annotation) if a not in (NoneType, Ellipsis)]
    if origin in (Union, UnionType) and len(arguments) == 1:
        return _annotation_words(arguments[0])
    if origin is Literal:
        return "one of " + ", ".join(str(value) for value in arguments)
    if origin is tuple:
        return f"list of {_annotation_words(arguments[0])}"
    raise AssertionError(f"a setting of type {annotation} has no words yet: add them to _WORDS")


def _number(value: float) -> str:
    return f"{value:,}".replace(",", " ") if value >= 10_000 else str(value)


def _default_words(default: Any) -> str:
    match default:
        case None:
            return "not set"
        case bool():
            return f"`{str(default).lower()}`"
        case tuple() | dict():
            return f"`{json_module.dumps(default)}`"
        case _:
            return f"`{default}`"


def page() -> str:
    """The whole page, Markdown."""
    parts = [_INTRODUCTION]
    settings_found = every_setting()
    for group in dict.fromkeys(setting.group for setting in settings_found):
        parts.append(f"## {_TITLES.get(group, group.capitalize())}\n")
        parts.append("| Variable | Type | Default | What it does |\n| --- | --- | --- | --- |")
        for setting in settings_found:
            if setting.group == group:
                cells = (f"`{setting.variable}`", setting.type, _default_words(setting.default), setting.description)
                parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        parts.append("")
    return "\n".join(parts)


def settings(
    json: Annotated[bool, typer.Option("--json", help="As a JSON list, for scripts.")] = False,
    check: Annotated[
        Path | None, typer.Option(metavar="PAGE", help="Compare with this page; exit 1 when it differs.")
    ] = None,
) -> None:
    """List every setting: its variable, type, default, and what it does.

    Example:
      isthmus settings > docs/settings.md
      isthmus settings --check docs/settings.md
      isthmus settings --json | jq -r '.[].variable'
    """
    if check is not None:
        if check.is_file() and check.read_text(encoding="utf-8") == page():
            print(f"{check} is current", file=sys.stderr)
            return
        fault = "differs from the settings" if check.is_file() else "is not there"
        print(f"{check} {fault}; make it anew with: isthmus settings > {check}", file=sys.stderr)
        raise typer.Exit(1)
    if json:
        print(json_module.dumps([setting._asdict() for setting in every_setting()], indent=2, ensure_ascii=False))
    else:
        sys.stdout.write(page())
