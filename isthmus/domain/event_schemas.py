"""The JSON Schema of every event type and version, and what may not change in one.

`domain/schemas/` holds a file per type and version, as it was published. The current version's file is generated and may only grow
by what an old reader does not need; anything else is a new schema version with an upcaster (`event_codec.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from isthmus.domain.event_codec import EVENT_TYPES, Data, json_schema

_MEANING = ("type", "format", "pattern", "const", "items", "prefixItems", "additionalProperties", "anyOf")


def file_name(event_type: str, schema_version: int) -> str:
    return f"{event_type}.v{schema_version}.json"


def current() -> dict[str, str]:
    """File name -> text, for the current version of every event type."""
    return {
        file_name(event_type, version): json.dumps(json_schema(event_type), indent=2, sort_keys=True) + "\n"
        for event_type, (_, version, _) in EVENT_TYPES.items()
    }


def incompatibilities(old: Data, new: Data) -> list[str]:
    """What a reader or writer of `old` would stumble over in `new`; empty where nothing."""
    return list(_faults("", old, new, old.get("$defs", {}), new.get("$defs", {})))


def _faults(place: str, old: Any, new: Any, old_defs: Data, new_defs: Data) -> Iterator[str]:
    old, new = _resolved(old, old_defs), _resolved(new, new_defs)
    where = place or "the event"
    old_fields, new_fields = old.get("properties", {}), new.get("properties", {})
    for name in old_fields.keys() - new_fields.keys():
        yield f"{where}: field {name} is gone"
    for name in sorted(set(new.get("required", [])) - set(old.get("required", []))):
        yield f"{where}: field {name} is required now"
    for name in sorted(old_fields.keys() & new_fields.keys()):
        yield from _faults(f"{place}.{name}" if place else name, old_fields[name], new_fields[name], old_defs, new_defs)
    for value in old.get("enum", []):
        if value not in new.get("enum", []):
            yield f"{where}: {value} is no longer a value"
    if "enum" in new and "enum" not in old:
        yield f"{where}: its values are limited now"
    for key in _MEANING:
        yield from _meaning(where, key, old.get(key), new.get(key), old_defs, new_defs)


def _meaning(where: str, key: str, old: Any, new: Any, old_defs: Data, new_defs: Data) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _faults(f"{where}[]", old, new, old_defs, new_defs)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for one, other in zip(old, new, strict=True):
            if isinstance(one, dict) and isinstance(other, dict):
                yield from _faults(where, one, other, old_defs, new_defs)
            elif one != other:
                yield f"{where}: {key} was {one} and is {other}"
    elif old != new:
        yield f"{where}: {key} was {old} and is {new}"


def _resolved(schema: Any, defs: Data) -> Data:
    while isinstance(schema, dict) and "$ref" in schema:
        schema = defs[schema["$ref"].rsplit("/", 1)[1]]
    return schema if isinstance(schema, dict) else {}
