"""Benchmarks: what the product does beside its baseline, in one run, and whether what it wrote is right (docs/benchmarks.md).

A bench is a module with `run(options, data_dir) -> Report`; `data_dir` is an empty folder that is removed afterwards. The module is
imported when its bench is asked for.
"""

from __future__ import annotations

BENCHES = ("ledger", "api", "live", "webhooks", "sync", "overhead")
