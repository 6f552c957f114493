"""The playground's files are in the package, and were made from the sources that are here."""

from __future__ import annotations

import hashlib
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

from isthmus.graphql.playground import FILES

ROOT = Path(__file__).parent.parent.parent
WEB = ROOT / "web"


def test_the_built_files_belong_to_the_sources() -> None:
    names = ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts"]
    names += [path.relative_to(WEB).as_posix() for folder in ("public", "src") for path in (WEB / folder).iterdir()]
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(f"{name}\n".encode() + (WEB / name).read_bytes() + b"\n")

    assert (FILES / "sources.sha256").read_text(encoding="ascii").strip() == digest.hexdigest(), "run make playground"


def test_the_page_names_only_files_that_are_there() -> None:
    page = (FILES / "index.html").read_text(encoding="utf-8")
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)

    assert addresses
    assert all((FILES / address.removeprefix("/playground/")).is_file() for address in addresses)
    assert "<script>" not in page
    assert "style=" not in page


def test_every_file_ships_with_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["isthmus"]
    package = ROOT / "isthmus"
    names = [path.relative_to(package).as_posix() for path in FILES.rglob("*") if path.is_file()]

    assert len(names) > 10
    assert [name for name in names if not any(fnmatch(name, pattern) for pattern in patterns)] == []


def test_the_lock_file_names_no_registry() -> None:
    lock = (WEB / "package-lock.json").read_text(encoding="utf-8")

    assert "resolved" not in lock
    assert "omit-lockfile-registry-resolved=true" in (WEB / ".npmrc").read_text(encoding="utf-8")
