"""The doctor: its report is data, and nothing running is no illness."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import asyncpg
import pytest

from isthmus.cli.doctor import Finding, within_deadline
from isthmus.runtime.servers import EmbeddedServers
from tests.cli.conftest import RunIsthmus
from tests.conftest import Database


def _report(text: str) -> dict[str, dict[str, str]]:
    report = json.loads(text)
    assert set(report) == {"status", "checks"}
    for check in report["checks"]:
        assert set(check) == {"check", "status", "found", "remedy"}
        assert check["status"] in {"ok", "warning", "problem"}
        assert (check["status"] == "ok") == (check["remedy"] == ""), check
    return {check["check"]: check for check in report["checks"]}


def test_where_nothing_runs_it_warns_and_says_what_to_do(isthmus: RunIsthmus) -> None:
    done = isthmus("doctor", "--json")
    checks = _report(done.stdout)

    assert done.returncode == 0, done.stdout
    assert {"Python", "PostgreSQL binary", "Valkey binary", "Kafka broker binary", "disk", "settings"} <= set(checks)
    assert checks["up"]["status"] == "warning"
    assert "isthmus up" in checks["up"]["remedy"]


def test_a_line_per_check_for_people(isthmus: RunIsthmus) -> None:
    lines = isthmus("doctor").stdout.splitlines()

    assert all(line.split()[0] in {"ok", "warning", "problem"} for line in lines)


def test_a_wrong_setting_is_a_problem(isthmus: RunIsthmus) -> None:
    done = isthmus("doctor", "--json", ISTHMUS_API__PORT="eighty")

    assert done.returncode == 1
    assert "ISTHMUS_API__PORT" in _report(done.stdout)["settings"]["found"]


def test_a_data_directory_that_cannot_be_one_is_a_problem(isthmus: RunIsthmus, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    done = isthmus("doctor", "--json", ISTHMUS_DATA_DIR=str(file))

    assert done.returncode == 1
    assert _report(done.stdout)["data directory"]["status"] == "problem"


def test_servers_that_do_not_answer_are_problems_and_their_passwords_stay_secret(isthmus: RunIsthmus) -> None:
    done = isthmus(
        "doctor",
        "--json",
        ISTHMUS_DATABASE__URL="postgresql://isthmus:hunter2@127.0.0.1:1/isthmus",
        ISTHMUS_REDIS__URL="redis://:hunter2@127.0.0.1:1/0",
        ISTHMUS_KAFKA__URL="127.0.0.1:1",
        ISTHMUS_ISSUER__URL="http://127.0.0.1:1",
    )
    checks = _report(done.stdout)

    assert done.returncode == 1
    assert {checks[name]["status"] for name in ("database", "Redis protocol", "Kafka protocol", "sign-in")} == {
        "problem"
    }
    assert "hunter2" not in done.stdout + done.stderr


async def test_a_check_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.cli.doctor.DEADLINE_S", 0.05)

    async def hang() -> Finding:
        await asyncio.sleep(60)
        raise AssertionError("unreachable")

    finding = await within_deadline("server", hang, "start it")

    assert (finding.status, finding.remedy) == ("problem", "start it")


async def test_servers_that_run_are_looked_at_closely(
    isthmus: RunIsthmus, servers: EmbeddedServers, database: Database, admin: asyncpg.Connection
) -> None:
    def report() -> dict[str, dict[str, str]]:
        return _report(
            isthmus(
                "doctor",
                "--json",
                ISTHMUS_DATABASE__URL=database.url,
                ISTHMUS_REDIS__URL=servers.redis_url,
                ISTHMUS_KAFKA__URL=servers.kafka_url,
            ).stdout
        )

    healthy = report()
    newest = await admin.fetchval("select version_num from alembic_version")
    await admin.execute("alter event trigger isthmus_refuse_unguarded disable")
    await admin.execute("alter event trigger isthmus_refuse_drop disable")
    await admin.execute("drop trigger append_only on event_store")
    await admin.execute("update alembic_version set version_num = '0000'")
    behind = report()
    await admin.execute("update alembic_version set version_num = $1", newest)
    unguarded = report()

    sound = ("database", "migrations", "append-only guards", "partitions", "Redis protocol", "Kafka protocol")
    assert {name: healthy[name]["status"] for name in sound} == dict.fromkeys(sound, "ok"), healthy
    assert behind["migrations"]["remedy"] == "`isthmus migrate`"
    assert unguarded["append-only guards"]["status"] == "problem"
    assert "event_store append_only" in unguarded["append-only guards"]["found"]
