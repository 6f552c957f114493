"""How the product is wired to the sandbox where it stands for the banks: as settings, since the product knows no other way to them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from isthmus.runtime.data_directory import DataDirectory
from isthmus.runtime.device_wiring import device_origin
from isthmus.runtime.endpoints import Endpoints
from isthmus.settings import Settings

#: A client without a web page, as the examples and the tour use one, is sent back here from a bank.
_DEMO_CLIENT_REDIRECT = "isthmus-demo://bank-link"
#: Our accounts at the sandbox's TrueLayer, which payments leave.
_MERCHANT_ACCOUNTS = {"GBP": "sandbox-merchant-gbp", "EUR": "sandbox-merchant-eur"}
#: A bank of the sandbox at each provider, so that all three can be seen; all of them speak for all banks there.
_DEMO_ROUTES = ("harbour-bank-gb=truelayer", "nordlicht-bank-de=yapily", "first-prairie-us=plaid")

#: Of the sandbox; it is asked for once it is named in ISTHMUS_BANKING__PROVIDERS.
_GOCARDLESS = {"id": "sandbox-gocardless", "secret": "sandbox-gocardless-secret"}
#: What the sandbox's TrueLayer calls our signing key.
TRUELAYER_KEY_ID = "isthmus-sandbox"


def wired_to_the_sandbox(settings: Settings, data: DataDirectory, endpoints: Endpoints) -> dict[str, str]:
    """Environment of `serve` and `work`: banks, the key that signs payments, people's telephones."""
    return _banks(settings, endpoints) | _keys(settings, data) | _telephones(settings, endpoints)


def _banks(settings: Settings, endpoints: Endpoints) -> dict[str, str]:
    """The sandbox's banks as settings, where it runs and nothing else is set: the product knows no other way to them."""
    told, url, given = settings.banking, endpoints.sandbox_url, {}
    if not told.redirect_uris:
        given["REDIRECT_URIS"] = json.dumps(_redirect_uris(settings, endpoints))
        given["PAYMENT_RETURN_URI"] = told.payment_return_uri or _back_to_payments(settings, endpoints)
    if url and _nobody_is_told(settings):
        given |= {
            "PLAID_URL": f"{url}/plaid",
            "PLAID_CLIENT_ID": "sandbox-client",
            "PLAID_SECRET": "sandbox-secret",
            "TRUELAYER_AUTH_URL": f"{url}/truelayer/auth",
            "TRUELAYER_DATA_URL": f"{url}/truelayer/api",
            "TRUELAYER_CLIENT_ID": "sandbox-truelayer",
            "TRUELAYER_SECRET": "sandbox-truelayer-secret",
            "TRUELAYER_JKU": f"{url}/truelayer/.well-known/jwks",
            "YAPILY_URL": f"{url}/yapily",
            "YAPILY_APPLICATION": "sandbox-yapily",
            "YAPILY_SECRET": "sandbox-yapily-secret",
            "YAPILY_WEBHOOK_SECRETS": "sandbox-yapily-webhook-secret",
            "CREDENTIALS": json.dumps({"gocardless": _GOCARDLESS | {"url": f"{url}/gocardless"}}),
            "TRUELAYER_MERCHANT_ACCOUNTS": json.dumps(_MERCHANT_ACCOUNTS),
            "WEBHOOK_URL": f"{endpoints.api_url}/webhooks",
        }
        if not told.routes:
            given["ROUTES"] = json.dumps(_DEMO_ROUTES)
    return {f"ISTHMUS_BANKING__{name}": value for name, value in given.items()}


def _nobody_is_told(settings: Settings) -> bool:
    """Whether no provider is set, so that all of them are the sandbox's."""
    told = settings.banking
    return not (told.plaid_client_id or told.truelayer_client_id or told.yapily_application or told.credentials)


def signing_key(settings: Settings, data: DataDirectory) -> Path | None:
    if settings.sandbox.enabled and _nobody_is_told(settings) and "truelayer" not in settings.secrets.certificates:
        return data.path / "secrets" / "truelayer-signing.sealed"
    return None


def _keys(settings: Settings, data: DataDirectory) -> dict[str, str]:
    file = signing_key(settings, data)
    if file is None:
        return {}
    others = {name: one.model_dump(mode="json") for name, one in settings.secrets.certificates.items()}
    return {
        "ISTHMUS_SECRETS__CERTIFICATES": json.dumps(others | {"truelayer": {"signing_key": str(file)}}),
        "ISTHMUS_BANKING__TRUELAYER_SIGNING_KEY_ID": TRUELAYER_KEY_ID,
    }


def _telephones(settings: Settings, endpoints: Endpoints) -> dict[str, str]:
    """People's telephones are the sandbox's inbox, where nothing else is set."""
    if not endpoints.sandbox_url or settings.notifications.onesignal_app_id is not None:
        return {}
    given = {
        "URL": f"{endpoints.sandbox_url}/onesignal",
        "APP_ID": "sandbox-onesignal",
        "API_KEY": "sandbox-onesignal-key",
    }
    return {f"ISTHMUS_NOTIFICATIONS__ONESIGNAL_{name}": value for name, value in given.items()}


def _redirect_uris(settings: Settings, endpoints: Endpoints) -> list[str]:
    payments = _back_to_payments(settings, endpoints)
    return [f"{endpoints.api_url}/bank-links/callback", _DEMO_CLIENT_REDIRECT, payments]


def _back_to_payments(settings: Settings, endpoints: Endpoints) -> str:
    """To the page at the name that it was left by, so that it knows who comes back."""
    return f"{device_origin(settings, endpoints) or endpoints.api_url}/payments/callback"


def sandbox_environment(settings: Settings, data: DataDirectory, endpoints: Endpoints) -> dict[str, str]:
    """Of the sandbox itself."""
    environment = {**os.environ, "ISTHMUS_DATA_DIR": str(data.path)}
    if "redirect_uris" not in settings.sandbox.model_fields_set:
        environment["ISTHMUS_SANDBOX__REDIRECT_URIS"] = json.dumps(_redirect_uris(settings, endpoints))
    if settings.sandbox.webhook_url is None:
        environment["ISTHMUS_SANDBOX__WEBHOOK_URL"] = f"{endpoints.api_url}/webhooks"
    return environment
