"""What devices know us by: a host and pages of it, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isthmus.settings import SettingsError, load_settings

PAGE = "https://app.bank.example"


@pytest.mark.parametrize(
    "sca",
    [
        {},
        {"rp_id": "bank.example", "origins": (PAGE, "https://bank.example", "https://a.bank.example:8443")},
        {"rp_id": "localhost", "origins": ("http://localhost:3000",)},
    ],
)
def test_pages_of_one_host_are_taken(tmp_path: Path, sca: dict[str, Any]) -> None:
    assert load_settings(data_dir=tmp_path, sca=sca).sca.rp_id == sca.get("rp_id")


@pytest.mark.parametrize(
    "sca",
    [
        {"rp_id": "bank.example"},
        {"origins": (PAGE,)},
        {"rp_id": "bank.example", "origins": ("http://app.bank.example",)},
        {"rp_id": "bank.example", "origins": (f"{PAGE}/",)},
        {"rp_id": "bank.example", "origins": ("https://evilbank.example",)},
        {"rp_id": "bank.example", "origins": (PAGE, "https://bank.example.evil")},
        {"rp_id": "bank.example", "origins": ("https://me@app.bank.example/x",)},
    ],
)
def test_other_pages_stop_the_start(tmp_path: Path, sca: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="ISTHMUS_SCA"):
        load_settings(data_dir=tmp_path, sca=sca)
