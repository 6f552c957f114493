"""`isthmus metrics`: every metric, from the code that tells it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from prometheus_client.metrics import MetricWrapperBase

#: What each kind of process begins with; everything that it imports, at once or later, may tell metrics.
_PROCESSES = {"serve": "isthmus.app", "work": "isthmus.runtime.work"}
_HEAD = """<!-- Made by `isthmus metrics`; a test compares it. -->
# Metrics

`/metrics` of `serve` and of `work`, in Prometheus's text form, beside the usual `process_*` and `python_*`. Labels are bounded: they come
from the schema, from registered documents and from lists of ours, never from what a client writes.

| metric | type | labels | told by | what it says |
| --- | --- | --- | --- | --- |
"""


class Metric(NamedTuple):
    name: str
    type: str
    labels: tuple[str, ...]
    processes: tuple[str, ...]
    help: str


def metrics(
    check: Annotated[
        Path | None, typer.Option(help="Compare this file with the list; exit 1 where they differ.")
    ] = None,
) -> None:
    """List every metric with its labels and the processes that tell it, as Markdown.

    Example: isthmus metrics > docs/metrics.md
    """
    if check is None:
        typer.echo(page(), nl=False)
    elif not check.exists() or check.read_text(encoding="utf-8") != page():
        typer.echo(f"{check} is not what the code says; run: isthmus metrics > {check}", err=True)
        raise typer.Exit(1)


def page() -> str:
    lines = [
        f"| `{one.name}` | {one.type} | {', '.join(f'`{label}`' for label in one.labels)} | {', '.join(one.processes)} | {one.help} |"
        for one in known()
    ]
    return _HEAD + "\n".join(lines) + "\n"


@cache
def known() -> tuple[Metric, ...]:
    """All of them, by name."""
    reached = {process: _reached_from(root) for process, root in _PROCESSES.items()}
    found: dict[str, Metric] = {}
    for module in sorted(set().union(*reached.values())):
        for one in vars(import_module(module)).values():
            if isinstance(one, MetricWrapperBase) and one._name.startswith("isthmus_"):
                name = f"{one._name}_total" if one._type == "counter" else one._name
                # A module that counts with another's metric has it, too: whoever has either tells it.
                before = found[name].processes if name in found else ()
                told = tuple(process for process in _PROCESSES if module in reached[process] or process in before)
                found[name] = Metric(name, str(one._type), tuple(one._labelnames), told, one._documentation)
    return tuple(sorted(found.values()))


def _reached_from(root: str) -> set[str]:
    """Modules of ours that importing `root`, and running what it imports later, brings in."""
    reached: set[str] = set()
    waiting = [root]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting.extend(_imports_of(module))
    return reached


@cache
def _imports_of(module: str) -> tuple[str, ...]:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    return tuple(name for node in ast.walk(tree) for name in _names(node) if _is_ours(name))


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _is_ours(name: str) -> bool:
    if name.split(".")[0] != "isthmus":
        return False
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # a name in a module, not a module
        return False
