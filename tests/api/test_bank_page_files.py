"""The pages of banks and payments without a browser: what they come with, and that everything they name is in the package."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import httpx
import pytest

from isthmus.graphql.bank_pages import FILES
from tests.api.conftest import Served

ROOT = Path(__file__).parent.parent.parent
CALLBACK = "/bank-links/callback"


def test_the_page_that_banks_send_people_to_lets_no_foreign_script_in_and_is_kept_nowhere(served: Served) -> None:
    page = httpx.get(f"{served.url}{CALLBACK}?code=once&state=s")

    assert page.status_code == 200
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[kind] for kind in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert {policy[kind] for kind in ("frame-ancestors", "base-uri", "form-action")} == {"'none'"}
    assert (page.headers["cache-control"], page.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert "once" not in page.text, "the address is the browser's: the server puts nothing of it in the page"


def test_only_reading_is_answered(served: Served) -> None:
    assert httpx.post(f"{served.url}{CALLBACK}", data={"code": "once"}).status_code == 405


def test_without_a_sandbox_there_is_no_inbox(served: Served) -> None:
    assert httpx.get(f"{served.url}/payments/inbox").status_code == 404


def test_where_no_pages_are_served_there_are_none(production: Served) -> None:
    pages = ("/bank-links", CALLBACK, "/bank-links/files/api.js", "/payments", "/payments/callback", "/payments/inbox")
    for path in pages:
        assert httpx.get(f"{production.url}{path}").status_code == 404


def test_nothing_but_the_pages_own_files_is_served(served: Served) -> None:
    for path in ("../playground/index.html", "%2e%2e/playground/index.html", "..%2f..%2f..%2fapp.py", ""):
        assert httpx.get(f"{served.url}/bank-links/files/{path}").status_code in (404, 405), path


@pytest.mark.parametrize("name", ["index.html", "callback.html", "payments.html"])
def test_pages_hold_no_script_or_style_of_their_own_and_name_only_what_is_there(served: Served, name: str) -> None:
    page = (FILES / name).read_text(encoding="utf-8")
    files = re.findall(r'(?:src|href)="/bank-links/files/([^"]+)"', page)

    assert len(files) == 2
    for file in files:
        answer = httpx.get(f"{served.url}/bank-links/files/{file}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] in ("text/css", "text/javascript")
    assert not re.search(r"<style|style=|\son[a-z]+=|<script(?![^>]*\ssrc=)", page)


def test_what_banks_say_is_text_and_never_markup() -> None:
    for script in FILES.glob("*.js"):
        text = script.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(", text), script.name


def test_every_file_ships_with_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["isthmus"]
    names = [path.relative_to(ROOT / "isthmus").as_posix() for path in FILES.rglob("*") if path.is_file()]

    assert len(names) == 10
    assert [name for name in names if not any(fnmatch(name, pattern) for pattern in patterns)] == []
