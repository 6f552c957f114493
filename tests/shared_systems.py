"""In which process a test runs, and when, where `make test` runs two beside each other.

Modules that share a system of several processes run in one of them, one after the other, first: the system is started once, and ends
with the last of them. Of the other tests those begin first that are given more time, so that neither process works alone at the end.
(xdist's own groups go by a part of pytest that is no more.)
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_ROOT = Path(__file__).parents[1]
#: What a test of these folders asks for when it uses the system that its folder shares.
_ASKS = re.compile(
    r"^(async )?def test_\w+\([^)]*\b(product: Product|system: System|(ada|alan|grace|olga): Client)", re.MULTILINE
)
_FOLDERS = ("tests/end_to_end", "tests/faults")


@cache
def _shares(module: str) -> str | None:
    """The folder whose system the module uses."""
    folder = module.rpartition("/")[0]
    return folder if folder in _FOLDERS and _ASKS.search((_ROOT / module).read_text(encoding="utf-8")) else None


class _Scheduling(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return _shares(nodeid.partition("::")[0]) or nodeid


class SharedSystems:
    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        return _Scheduling(config, log)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        if hasattr(config, "workerinput"):
            usual_s = float(config.getini("timeout"))
            items.sort(key=lambda item: -max(usual_s, _given_s(item)))


def _given_s(item: pytest.Item) -> float:
    """Those that share a system keep their order: some read what the demo data is, before others change it."""
    mark = None if _shares(item.nodeid.partition("::")[0]) else item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark is not None and mark.args else 0.0
