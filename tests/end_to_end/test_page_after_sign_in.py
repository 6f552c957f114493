"""Signing in by cookie leads back to the page of ours that was asked for, and never anywhere else."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from tests.end_to_end.product import Product
from tests.end_to_end.test_cookie_sign_in import browser, to_callback


def test_signing_in_leads_to_the_page_that_was_asked_for_and_to_no_other_place(product: Product) -> None:
    client = browser()
    asked = client.get(f"{product.base}/bank-links")
    assert (asked.status_code, asked.headers["location"]) == (303, "/playground/sign-in?page=bank-links")

    def after(page: str | None, forged: str | None = None) -> str:
        back = to_callback(client, product, page)
        if forged is not None:
            client.cookies.set("isthmus_page_after", forged, domain="127.0.0.1")
        return str(client.get(back).headers["location"])

    assert after("bank-links") == "/bank-links"
    assert client.get(f"{product.base}/bank-links").status_code == 200
    assert after(None) == "/playground", "what was asked for before is forgotten"
    assert after("/evil.example") == "/playground"
    assert after("playground", forged="/evil.example/") == "/playground"


def test_the_page_that_asks_devices_is_at_the_name_of_this_machine_and_signed_in_to_there(product: Product) -> None:
    client, name = browser(), product.base.replace("127.0.0.1", "localhost")

    assert client.get(f"{product.base}/payments").headers["location"] == f"{name}/payments"
    asked = client.get(f"{name}/payments")
    begun = client.get(f"{name}{asked.headers['location']}")

    assert asked.headers["location"] == "/playground/sign-in?page=payments"
    assert parse_qs(urlsplit(begun.headers["location"]).query)["redirect_uri"] == [f"{name}/playground/callback"]
    assert client.get(f"{name}/bank-links").headers["location"] == f"{product.base}/bank-links", "cookies know one name"
    inbox = client.get(f"{name}/payments/inbox")
    assert inbox.headers["location"] == f"{product.running['sandbox_url']}/sandbox/inbox"
