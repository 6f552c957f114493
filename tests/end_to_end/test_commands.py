"""The commands of the CLI against a running `up`, as a person or a script calls them."""

from __future__ import annotations

import json
import subprocess
from uuid import uuid4

import asyncpg
import httpx

from tests.end_to_end.client import Client
from tests.end_to_end.product import Product, isthmus


def test_up_prints_what_one_needs_and_ready_last(product: Product) -> None:
    assert product.up.lines[-1] == f"ready {product.url}"
    text = "\n".join(product.up.lines)
    for needed in (
        "postgresql://",
        "ada@example.com",
        "grace@example.com",
        "olga@example.com",
        "alan@example.com",
        "isthmus-demo",
    ):
        assert needed in text
    assert str(product.running["issuer_url"]) in text
    assert f"sandbox    {product.running['sandbox_url']}" in product.up.lines


def test_the_sandbox_runs_and_may_send_people_back_to_the_api(product: Product) -> None:
    asked = {
        "response_type": "code",
        "client_id": "sandbox-truelayer",
        "redirect_uri": f"{product.base}/bank-links/callback",
        "scope": "accounts",
        "provider_id": "uk-ob-harbour",
    }
    dialog = f"{product.running['sandbox_url']}/truelayer/auth/"
    assert httpx.get(dialog, params=asked).status_code == 303
    assert httpx.get(dialog, params={**asked, "redirect_uri": "https://evil.example/"}).status_code == 400
    assert (product.data_dir / "sandbox" / "book.sqlite").is_file()


async def test_the_databases_url_is_the_superusers(product: Product) -> None:
    connection = await asyncpg.connect(product.database_url)
    try:
        assert await connection.fetchval("select rolsuper from pg_roles where rolname = current_user")
        assert await connection.fetchval("select count(*) from event_store") > 0
    finally:
        await connection.close()


def test_a_second_up_on_the_same_directory_is_refused(product: Product) -> None:
    done = isthmus(product.data_dir, "up", "--data-dir", str(product.data_dir))
    assert done.returncode == 2
    assert "another `isthmus up`" in done.stderr
    assert "ready" not in done.stdout


def test_token_prints_the_access_token_last_for_both_forms_of_the_url(product: Product) -> None:
    for base in (product.base, product.url):
        done = isthmus(product.data_dir, "token", "--user", "ada@example.com", "--url", base)
        assert done.returncode == 0, done.stderr
        token = done.stdout.splitlines()[-1]
        answer = httpx.post(
            product.url, json={"query": "{ viewer { id } }"}, headers={"authorization": f"Bearer {token}"}
        )
        assert answer.json()["data"]["viewer"]["id"]
    wrong = isthmus(
        product.data_dir, "token", "--user", "ada@example.com", "--url", product.base, "--password", "guess"
    )
    assert wrong.returncode == 1
    assert wrong.stdout == ""


async def test_credit_is_idempotent_by_its_reference_and_seen_at_once(product: Product, ada: Client) -> None:
    account = (await ada.open())["account"]["id"]
    reference = str(uuid4())
    arguments = (
        "credit",
        "--user",
        "ada@example.com",
        "--account",
        account,
        "--amount",
        "12.5",
        "--reference",
        reference,
    )
    for _ in range(2):
        done = isthmus(product.data_dir, *arguments)
        assert done.returncode == 0, done.stderr
        assert (await ada.balance(account))["posted"]["amount"] == "12.50"
    other = isthmus(product.data_dir, *arguments[:5], "--amount", "13", "--reference", reference)
    assert other.returncode == 1
    stranger = isthmus(
        product.data_dir, "credit", "--user", "grace@example.com", *arguments[3:7], "--reference", str(uuid4())
    )
    assert stranger.returncode == 1
    for amount in ("0", "-1", "1.001", "1e3", "x"):
        bad = isthmus(product.data_dir, *arguments[:5], "--amount", amount, "--reference", str(uuid4()))
        assert bad.returncode in (1, 2), amount


def test_verify_says_what_it_checked(product: Product) -> None:
    done = isthmus(product.data_dir, "verify", "--json")
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    assert found["sound"] is True
    assert {check["name"] for check in found["checks"]} >= {"balanced_journals", "hash_chains", "balances_are_entries"}


def test_rebuild_swaps_in_equal_read_models_while_serving(product: Product) -> None:
    done = isthmus(product.data_dir, "rebuild", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["position"] > 0
    assert isthmus(product.data_dir, "verify").returncode == 0


def test_schema_check_and_doctor_are_content(product: Product) -> None:
    assert isthmus(product.data_dir, "schema", "--check").returncode == 0
    done = isthmus(product.data_dir, "doctor", "--json")
    assert done.returncode == 0, done.stdout


def test_psql_and_scripts_get_exit_codes(product: Product) -> None:
    assert isthmus(product.data_dir, "no-such-command").returncode == 2
    assert isinstance(isthmus(product.data_dir, "--help"), subprocess.CompletedProcess)
    nowhere = isthmus(product.data_dir.parent / "nowhere", "verify")
    assert nowhere.returncode == 2
    assert "isthmus up" in nowhere.stderr


def test_health_version_and_metrics_are_open_and_tell_no_secret(product: Product) -> None:
    assert httpx.get(f"{product.base}/livez").status_code == 200
    ready = httpx.get(f"{product.base}/readyz")
    assert ready.status_code == 200
    assert ready.json()
    assert "isthmus" in httpx.get(f"{product.base}/metrics").text
    assert httpx.get(f"{product.base}/version").json()
