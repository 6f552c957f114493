"""What devices know us by: a host and pages of it, or nothing."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from isthmus.runtime.payments import transfer_above
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


def test_nothing_goes_to_another_person_unasked_unless_it_is_said(tmp_path: Path) -> None:
    strict, exempting = {"profile": "STRICT", "exempt": True}, {"profile": "EU", "exempt": True}
    for compliance in ({}, strict, exempting):
        assert transfer_above(load_settings(data_dir=tmp_path, compliance=compliance)) == {}
    said = load_settings(data_dir=tmp_path, sca={"transfer_above": {"EUR": "30"}}, compliance=strict)
    assert transfer_above(said) == {"EUR": Decimal(30)}


def test_a_file_of_exemptions_may_say_it_by_profile_and_the_setting_comes_first(tmp_path: Path) -> None:
    rules = tmp_path / "exemptions.json"
    rules.write_text('{"version": "v2", "profiles": {"EU": {"transfer_above": {"EUR": "30", "GBP": "25"}}}}')
    told = {"profile": "EU", "exemptions": rules}
    sca = {"transfer_above": {"EUR": "10"}}
    both = load_settings(data_dir=tmp_path, sca=sca, compliance=told | {"exempt": True})
    assert transfer_above(both) == {"EUR": Decimal(10), "GBP": Decimal(25)}
    assert transfer_above(load_settings(data_dir=tmp_path, compliance=told)) == {}, "nothing is exempted unless told"


@pytest.mark.parametrize(
    "sca",
    [
        {"transfer_above": {"EUR": "-1"}},
        {"transfer_above": {"EUR": "Infinity"}},
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
