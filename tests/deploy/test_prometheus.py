"""Rules, alerts, dashboard and runbook hang together, and with the metrics that the processes tell."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from isthmus.cli.metrics_page import known, page
from isthmus.graphql.errors import ErrorCode
from tests.not_run import tool

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "isthmus.json"
TESTS = ("alerts_test.yaml", "slow_burn_test.yaml")
WINDOWS = {"5m", "30m", "1h", "2h", "6h", "1d", "3d"}


def rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules("alerts.yaml")}
RECORDED = {rule["record"] for rule in rules("slo.yaml")}


def test_the_rules_are_right_and_the_alerts_ring_when_they_should() -> None:
    promtool = tool("promtool")
    for arguments in (
        ["check", "rules", "slo.yaml", "alerts.yaml"],
        ["test", "rules", *TESTS],
        ["check", "config", "prometheus.yaml"],
    ):
        # It makes and drops so many values that collecting them is a fifth of its work.
        environment = {**os.environ, "GOGC": "400"}
        done = subprocess.run(
            [promtool, *arguments], cwd=PROMETHEUS, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_with_a_token_is_right_and_the_token_is_a_file_of_its_own(tmp_path: Path) -> None:
    promtool = tool("promtool")
    folder = shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    (folder / "metrics_token").write_text("a token of sixteen signs")
    done = subprocess.run(
        [promtool, "check", "config", "prometheus_with_token.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = yaml.safe_load((PROMETHEUS / "prometheus_with_token.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    assert {job["authorization"]["credentials_file"] for job in jobs} == {"metrics_token"}
    plain = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    assert [job["job_name"] for job in jobs] == [job["job_name"] for job in plain]


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_test_in_which_it_rings_and_one_in_which_it_does_not(alert: str) -> None:
    tests = [
        test for name in TESTS for test in yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))["tests"]
    ]
    asked = [one for test in tests for one in test["alert_rule_test"] if one["alertname"] == alert]

    assert [one for one in asked if one["exp_alerts"]], "rings"
    assert [one for one in asked if not one["exp_alerts"]], "does not ring"


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_chapter_that_says_what_to_do(alert: str) -> None:
    file, _, anchor = ALERTS[alert]["annotations"]["runbook_url"].partition("#")
    chapters = re.split(r"^## ", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE)
    (chapter,) = [one for one in chapters if one.split("\n")[0].lower() == anchor]

    assert anchor == alert.lower()
    assert ALERTS[alert]["labels"]["severity"] in ("page", "ticket")
    for part in ("**Means**", "**See**", "**Do**", "**Escalate**"):
        assert part in chapter, part


def test_the_runbook_has_no_chapter_of_an_alert_that_is_gone() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")

    assert set(re.findall(r"^## (\S+)$", text, flags=re.MULTILINE)) == ALERTS.keys()


def test_whatever_rules_dashboard_and_runbook_ask_for_is_told_by_a_process() -> None:
    told = {name for one in known() for name in _series(one.name, one.type)}

    for where, text in _texts():
        asked = set(re.findall(r"\bisthmus_[a-z_]+\b", text))
        assert asked <= told, (where, asked - told)
        recorded = set(re.findall(r"\bisthmus:[a-z_:0-9]+", text))
        assert recorded <= RECORDED, (where, recorded - RECORDED)


def test_labels_in_selectors_are_those_of_the_metric() -> None:
    labels = {series: set(one.labels) for one in known() for series in _series(one.name, one.type)}

    for where, text in _texts():
        for name, selector in re.findall(r"\b(isthmus_[a-z_]+)\{([^}]*)\}", text):
            used = set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", selector)) - {"le", "instance"}
            assert used <= labels[name], (where, name)


def test_the_codes_that_burn_a_budget_exist() -> None:
    text = (PROMETHEUS / "slo.yaml").read_text(encoding="utf-8")
    (codes,) = set(re.findall(r'operation_duration_seconds_count\{outcome=~"([A-Z_|]+)"', text))

    assert set(codes.split("|")) <= {code.value for code in ErrorCode}


def test_every_service_level_is_recorded_over_every_window_that_alerts_need() -> None:
    for level in ("api_errors", "slow_mutations", "failed_commands"):
        assert {f"isthmus:{level}:ratio_rate{window}" for window in WINDOWS} <= RECORDED


def test_a_gauge_that_must_be_zero_is_watched_for_silence_too() -> None:
    assert ALERTS["IsthmusLedgerViolated"]["expr"].strip() == "max by (invariant) (isthmus_ledger_violations) > 0"
    assert ALERTS["IsthmusLedgerUnwatched"]["expr"].strip() == "absent(isthmus_ledger_violations)"


def test_the_page_of_metrics_is_in_sync() -> None:
    written = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")

    assert written == page(), "make it anew: isthmus metrics > docs/metrics.md"


def test_a_metric_that_several_modules_count_with_is_listed_once() -> None:
    names = [one.name for one in known()]

    assert "isthmus_notifications_total" in names, "two modules have it"
    assert len(names) == len(set(names))


def test_metrics_are_named_by_the_rules() -> None:
    """Base units, and no id as a label. https://prometheus.io/docs/practices/naming/"""
    for one in known():
        assert not re.search(r"_(ms|millis|minutes|kb|mib)(_|$)", one.name)
        assert not {label for label in one.labels if label.endswith("id") or label in ("user", "account", "email")}


def _series(name: str, kind: str) -> set[str]:
    if kind == "histogram":
        return {name, f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    return {name}


def _texts() -> Iterator[tuple[str, str]]:
    for rule in (*rules("slo.yaml"), *ALERTS.values()):
        yield rule.get("record") or rule["alert"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    yield "runbook", re.sub(r"isthmus_app", "", runbook)
