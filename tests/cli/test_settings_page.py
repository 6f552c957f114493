"""Settings: one page that cannot go stale, and wrong values that say which and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isthmus.cli.settings_page import every_setting, page
from isthmus.settings import setting_paths, variable_name
from tests.cli.conftest import RunIsthmus

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_in_sync() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "make it anew: isthmus settings > docs/settings.md"


def test_every_setting_is_on_the_page_and_described() -> None:
    listed = every_setting()

    assert [setting.variable for setting in listed] == [variable_name(path) for path in setting_paths()]
    assert [setting.variable for setting in listed if not setting.description] == []


def test_check_tells_a_stale_page_and_how_to_make_it_anew(isthmus: RunIsthmus, tmp_path: Path) -> None:
    stale = tmp_path / "settings.md"
    stale.write_text(page().replace("16", "17"), encoding="utf-8")

    done = isthmus("settings", "--check", str(stale))

    assert done.returncode == 1
    assert f"isthmus settings > {stale}" in done.stderr
    assert isthmus("settings", "--check", str(PAGE)).returncode == 0


def test_json_lists_every_setting(isthmus: RunIsthmus) -> None:
    listed = json.loads(isthmus("settings", "--json").stdout)

    assert {"group", "variable", "type", "default", "description"} == set(listed[0])
    assert "ISTHMUS_DATABASE__URL" in [setting["variable"] for setting in listed]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ISTHMUS_API__PORT", "eighty"),
        ("ISTHMUS_API__PORT", "70000"),
        ("ISTHMUS_LOG__LEVEL", "LOUD"),
        ("ISTHMUS_ISSUER__URL", "ftp://issuer"),
        ("ISTHMUS_DATABASE__URL", "mysql://root:hunter2@localhost/x"),
        ("ISTHMUS_DATABASE__POOL_SIZ", "10"),  # no such setting
        ("ISTHMUS_DATABSE__URL", "postgresql://elsewhere/x"),  # silently ignored, this would start the embedded server
        ("ISTHMUS_API__ALLOWED_ORIGINS", "https://not.a.list"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_a_sentence_that_names_it(
    isthmus: RunIsthmus, variable: str, value: str
) -> None:
    done = isthmus("verify", **{variable: value})

    assert done.returncode == 2
    assert done.stdout == ""
    assert variable in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "hunter2" not in done.stderr
