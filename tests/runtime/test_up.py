"""`isthmus up` where it must not start: one sentence on standard error, exit code 2, and nothing left behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from isthmus.runtime.data_directory import DataDirectory
from isthmus.runtime.plan import make_plan
from isthmus.settings import load_settings
from tests import forked


def _up(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return forked.isthmus(("up", "--data-dir", str(path), *options), os.environ)


def test_a_second_up_on_the_same_data_directory_is_refused(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    data.make()
    with data.lock():
        refused = _up(tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"isthmus: another `isthmus up` (process {os.getpid()}) runs on {tmp_path}: "
        "stop it first, or name another --data-dir\n"
    )


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = _up(tmp_path, "--port", str(port))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"isthmus: --port (ISTHMUS_API__PORT): {port} is taken; name another, or 0 for a free one\n"
    )
    assert not DataDirectory(tmp_path).in_use()
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize(("given", "mode"), [(None, "development"), ("production", "production")])
def test_up_runs_in_development_mode_unless_told(
    given: str | None, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given is not None:
        monkeypatch.setenv("ISTHMUS_API__MODE", given)
    data = DataDirectory(tmp_path)
    data.make()
    with data.lock():
        plan = make_plan(load_settings(data_dir=tmp_path), data)

    assert {app.environment["ISTHMUS_API__MODE"] for app in plan.apps} == {mode}


@pytest.mark.parametrize(
    ("given", "rp_id", "pages"),
    [
        ({}, "localhost", ["127.0.0.1", "localhost"]),
        ({"ISTHMUS_API__MODE": "production"}, None, ["127.0.0.1"]),
        ({"ISTHMUS_API__HOST": "::1"}, None, ["::1"]),
        ({"ISTHMUS_PLAYGROUND__URL": "https://bank.example"}, None, ["bank.example"]),
        (
            {"ISTHMUS_SCA__RP_ID": "bank.example", "ISTHMUS_SCA__ORIGINS": '["https://bank.example"]'},
            "bank.example",
            ["127.0.0.1"],
        ),
    ],
    ids=["nothing", "production", "IPv6", "another address", "another name"],
)
def test_devices_know_this_machine_as_localhost_where_nothing_else_is_set(
    given: dict[str, str], rp_id: str | None, pages: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    data = DataDirectory(tmp_path)
    data.make()
    with data.lock():
        plan = make_plan(load_settings(data_dir=tmp_path), data)

    assert {app.environment.get("ISTHMUS_SCA__RP_ID") for app in plan.apps} == {rp_id}
    assert [urlsplit(url).hostname for url in plan.page_urls] == pages
    if "localhost" in pages:
        told = plan.apps[0].environment["ISTHMUS_SCA__ORIGINS"]
        assert json.loads(told) == [plan.endpoints.api_url.replace("127.0.0.1", "localhost")] == [plan.page_urls[-1]]


@pytest.mark.parametrize("given", [None, '["https://app.example/linked"]'])
def test_the_sandbox_keeps_its_port_and_sends_people_back_to_the_api_unless_told(
    given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given is not None:
        monkeypatch.setenv("ISTHMUS_SANDBOX__REDIRECT_URIS", given)
    data = DataDirectory(tmp_path)
    data.make()
    with data.lock():
        plan, again = (make_plan(load_settings(data_dir=tmp_path), data) for _ in range(2))

    assert plan.sandbox is not None
    told = json.loads(plan.sandbox.environment["ISTHMUS_SANDBOX__REDIRECT_URIS"])
    by_name = plan.endpoints.api_url.replace("127.0.0.1", "localhost")
    ours = [f"{plan.endpoints.api_url}/bank-links/callback", "isthmus-demo://bank-link", f"{by_name}/payments/callback"]
    assert told == (ours if given is None else json.loads(given))
    assert plan.sandbox.environment["ISTHMUS_SANDBOX__WEBHOOK_URL"] == f"{plan.endpoints.api_url}/webhooks"
    assert plan.endpoints.sandbox_url == again.endpoints.sandbox_url == f"http://127.0.0.1:{data.port('sandbox')}"


def test_with_real_banks_there_is_no_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_SANDBOX__ENABLED", "false")
    data = DataDirectory(tmp_path)
    data.make()
    with data.lock():
        plan = make_plan(load_settings(data_dir=tmp_path), data)

    assert (plan.sandbox, plan.endpoints.sandbox_url) == (None, "")
