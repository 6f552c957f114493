"""What docs/banking.md says of another provider is so: the module, its line in the registry, each method, each word, the settings."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

from isthmus.domain.banking import BankProvider
from isthmus.integrations.banking import gocardless
from isthmus.integrations.banking.registry import PROVIDERS
from isthmus.integrations.banking.statuses import CONSENTS
from isthmus.settings import load_settings

ROOT = Path(__file__).parents[3]
BANKING = ROOT / "isthmus" / "integrations" / "banking"
PAGE = (ROOT / "docs" / "banking.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Another provider")[2].partition("\n## ")[0]


def test_the_line_that_is_shown_is_the_registrys() -> None:
    (line,) = re.findall(r"```python\n(.*?)\n```", SECTION, re.DOTALL)

    registry = (BANKING / "registry.py").read_text(encoding="utf-8").splitlines()
    assert registry.count(line) == 1
    assert [one for one in registry if "gocardless" in one.lower()] == [
        "from isthmus.integrations.banking import gocardless",
        line,
    ], "and an import"
    assert PROVIDERS["gocardless"] is gocardless.made


def test_every_method_of_the_port_is_told_and_no_other() -> None:
    told = re.findall(r"^\| `(\w+)` \|", SECTION, re.MULTILINE)

    port = {name for name, one in inspect.getmembers(BankProvider, inspect.isfunction) if not name.startswith("_")}
    assert set(told) == port - {"renew"}, "which is begin"
    assert len(told) == len(set(told))
    for word in CONSENTS["gocardless"]:
        assert re.search(rf"\b{word}\b", SECTION), word


def test_the_files_that_are_named_are_there() -> None:
    for name in re.findall(r"`(?:integrations/banking/)?(\w+\.py)`", SECTION):
        assert (BANKING / name).exists(), name


def test_the_settings_that_are_shown_are_enough() -> None:
    (shown,) = re.findall(r"```\n(ISTHMUS.*?)\n```", SECTION, re.DOTALL)
    told = dict(re.findall(r"ISTHMUS_BANKING__(\w+)='(.*)'", shown))

    banking = load_settings(banking={name.lower(): json.loads(value) for name, value in told.items()}).banking

    assert banking.providers[0] == "gocardless"
    assert banking.credentials["gocardless"].id
