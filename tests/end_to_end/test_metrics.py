"""What the running processes tell is what docs/metrics.md says that they tell."""

from __future__ import annotations

import json

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from isthmus.cli.metrics_page import known
from tests.end_to_end.product import Product


@pytest.mark.parametrize("process", ["serve", "work"])
def test_a_process_tells_what_the_page_lists(product: Product, process: str) -> None:
    page = httpx.get(f"{product.base if process == 'serve' else work(product)}/metrics", timeout=10).text
    families = {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in text_string_to_metric_families(page)
        if family.name.startswith("isthmus_") and not family.name.endswith("_created")
    }
    listed = {one.name: one for one in known() if process in one.processes}

    assert families.keys() == listed.keys()
    for name, family in families.items():
        assert (family.type, family.documentation) == (listed[name].type, listed[name].help)
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == set(listed[name].labels)


def work(product: Product) -> str:
    """Where `work` says that it tells its health."""
    lines = (product.data_dir / "logs" / "work.log").read_text().splitlines()
    told = [json.loads(line)["url"] for line in lines if '"health is told"' in line]
    return str(told[-1]).removesuffix("/readyz")
