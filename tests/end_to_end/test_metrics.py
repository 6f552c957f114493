"""What the running processes tell is what docs/metrics.md says that they tell."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from isthmus.cli.metrics_page import known
from isthmus.runtime.data_directory import DataDirectory
from tests.end_to_end.product import Product


@pytest.mark.parametrize("process", ["serve", "work"])
def test_a_process_tells_what_the_page_lists(product: Product, process: str) -> None:
    work = f"http://127.0.0.1:{DataDirectory(product.data_dir).port('work')}"
    page = httpx.get(f"{product.base if process == 'serve' else work}/metrics", timeout=10).text
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
