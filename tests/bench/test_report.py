"""What scripts read from a bench: one object, with the names that were promised, and figures that were measured."""

from __future__ import annotations

import json

from isthmus.bench.report import Report, percentile, table


def test_a_percentile_is_a_value_that_was_measured() -> None:
    samples = [float(n) for n in range(100, 0, -1)]

    assert (percentile(samples, 50), percentile(samples, 99), percentile(samples, 100)) == (50.0, 99.0, 100.0)
    assert percentile([7.0], 1) == 7.0


def test_the_json_of_a_bench_is_one_line_with_its_verdict_and_ratios() -> None:
    report = Report("ledger")
    report.add("spread_256", 4_000, "commands/s")
    report.add("naive_256", 500, "commands/s")
    report.ratio("spread_vs_naive", "spread_256", "naive_256")

    assert "\n" not in report.as_json()
    assert json.loads(report.as_json()) == {
        "bench": "ledger",
        "verified": True,
        "ratios": {"spread_vs_naive": 8.0},
        "results": [
            {"name": "spread_256", "value": 4_000, "unit": "commands/s"},
            {"name": "naive_256", "value": 500, "unit": "commands/s"},
        ],
    }


def test_a_violation_is_a_failed_run_however_fast() -> None:
    report = Report("ledger", violations=["product: one_order: position 3 follows 1"])

    assert json.loads(report.as_json())["verified"] is False
    assert "position 3 follows 1" in report.as_text()


def test_a_table_lines_its_figures_up() -> None:
    assert table(("", "per second"), [("spread", "4,000"), ("hot", "50")]).splitlines() == [
        "        per second",
        "spread       4,000",
        "hot             50",
    ]
