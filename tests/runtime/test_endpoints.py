"""Where the parts are: a setting first, then the running `up`, then a sentence that says what to do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from isthmus.runtime.data_directory import DataDirectory
from isthmus.runtime.endpoints import PARTS, Endpoints, resolve, without_password
from isthmus.settings import Settings, SettingsError, load_settings

RUNNING = Endpoints(
    database_url="postgresql://isthmus_app:apppw@127.0.0.1:15001/isthmus",
    admin_url="postgresql://isthmus:adminpw@127.0.0.1:15001/isthmus",
    redis_url="redis://:redispw@127.0.0.1:15002/0",
    kafka_url="127.0.0.1:15003",
    kafka_embedded=True,
    issuer_url="http://127.0.0.1:15004",
    api_url="http://127.0.0.1:15005",
    sandbox_url="http://127.0.0.1:15006",
)


@pytest.fixture
def data(settings: Settings) -> DataDirectory:
    data = DataDirectory(settings.data_dir)
    data.make()
    return data


def _write(data: DataDirectory) -> None:
    data.write_running({"endpoints": asdict(RUNNING)})


def test_a_running_up_is_found_through_its_data_directory(settings: Settings, data: DataDirectory) -> None:
    with data.lock():
        _write(data)
        assert resolve(settings) == RUNNING
        assert (data.path / "running.json").stat().st_mode & 0o077 == 0


def test_where_the_banks_are_real_the_running_sandbox_is_not_found(settings: Settings, data: DataDirectory) -> None:
    with data.lock():
        _write(data)
        real = settings.model_copy(update={"sandbox": settings.sandbox.model_copy(update={"enabled": False})})
        assert resolve(real).sandbox_url == ""


def test_without_any_the_sentence_says_what_to_do(settings: Settings) -> None:
    with pytest.raises(SettingsError, match=r"no `isthmus up` runs on .*: start one, .* or set ISTHMUS_DATABASE__URL"):
        resolve(settings)


def test_what_a_killed_up_left_behind_is_not_believed(settings: Settings, data: DataDirectory) -> None:
    with data.lock():
        _write(data)
    with pytest.raises(SettingsError, match="no `isthmus up` runs"):
        resolve(settings)


def test_only_what_is_needed_must_be_there(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, database={"url": "postgresql://me:pw@db.example/x"})
    with pytest.raises(SettingsError, match=r"set ISTHMUS_REDIS__URL and ISTHMUS_KAFKA__URL and ISTHMUS_ISSUER__URL$"):
        resolve(settings)
    found = resolve(settings, need=PARTS[:1])
    assert (found.database_url, found.admin_url) == ("postgresql://me:pw@db.example/x",) * 2
    assert (found.redis_url, found.issuer_url, found.api_url) == ("", "", "")


def test_a_setting_wins_over_the_running_up(settings: Settings, data: DataDirectory) -> None:
    named = load_settings(
        data_dir=settings.data_dir,
        kafka={"url": "bus:9092"},
        issuer={"url": "https://login.example/realm/"},
        database={"url": "postgresql://me:pw@db.example/x", "admin_url": "postgresql://owner:pw2@db.example/x"},
    )
    with data.lock():
        _write(data)
        found = resolve(named)
    assert (found.kafka_url, found.kafka_embedded, found.issuer_url) == (
        "bus:9092",
        False,
        "https://login.example/realm",
    )
    assert found.admin_url == "postgresql://owner:pw2@db.example/x"
    assert (found.redis_url, found.api_url) == (RUNNING.redis_url, RUNNING.api_url)


def test_passwords_stay_out_of_what_is_printed() -> None:
    assert without_password(RUNNING.admin_url) == "postgresql://isthmus@127.0.0.1:15001/isthmus"
    assert without_password("postgresql://db.example/x") == "postgresql://db.example/x"
    assert not any(secret in repr(RUNNING) for secret in ("apppw", "adminpw", "redispw"))
