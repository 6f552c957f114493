"""The providers: a line each. One without credentials is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from isthmus.domain.banking import BankProvider
from isthmus.domain.clock import Clock
from isthmus.domain.webhooks import WebhookSender
from isthmus.integrations.banking import gocardless
from isthmus.integrations.banking.calls import Calls, Manners
from isthmus.integrations.banking.json_http import JsonHttp, refusal_of
from isthmus.integrations.banking.outside import Doors, Outside
from isthmus.integrations.banking.plaid import Plaid
from isthmus.integrations.banking.truelayer import TrueLayer
from isthmus.integrations.banking.webhooks import PlaidWebhooks, TrueLayerWebhooks, YapilyWebhooks
from isthmus.integrations.banking.yapily import Yapily
from isthmus.settings import SettingsError
from isthmus.settings.banking import BankingSettings


class _KeySet(msgspec.Struct):
    keys: list[dict[str, str]]


Make = Callable[[Outside], BankProvider | None]


def _plaid(out: Outside) -> BankProvider | None:
    told = out.told
    if told.plaid_client_id is None or told.plaid_secret is None:
        return None
    webhook = f"{told.webhook_url.rstrip('/')}/plaid" if told.webhook_url else None
    secret = told.plaid_secret.get_secret_value()
    return Plaid(
        told.plaid_url,
        told.plaid_client_id,
        secret,
        out.calls,
        client_name="Isthmus",
        webhook=webhook,
        tls=out.tls,
    )


def _truelayer(out: Outside) -> BankProvider | None:
    told = out.told
    if told.truelayer_client_id is None or told.truelayer_secret is None:
        return None
    secret = told.truelayer_secret.get_secret_value()
    return TrueLayer(
        told.truelayer_auth_url,
        told.truelayer_data_url,
        told.truelayer_client_id,
        secret,
        out.http,
        out.calls,
        out.clock,
    )


def _yapily(out: Outside) -> BankProvider | None:
    told = out.told
    if told.yapily_application is None or told.yapily_secret is None:
        return None
    secret = told.yapily_secret.get_secret_value()
    return Yapily(told.yapily_url, told.yapily_application, secret, out.http, out.calls, out.clock)


def senders_of(
    told: BankingSettings, providers: Mapping[str, BankProvider], doors: Doors, clock: Clock
) -> dict[str, WebhookSender]:
    """Who sends webhooks, of the providers that are there."""
    senders: dict[str, WebhookSender] = {}
    plaid = providers.get("plaid")
    if isinstance(plaid, Plaid):
        senders["plaid"] = PlaidWebhooks(plaid.webhook_key, clock)
    if "truelayer" in providers:
        calls = Calls("truelayer_keys", Manners(deadline_s=told.deadline_s, attempts=1))
        keys = JsonHttp(
            doors.of("truelayer_keys")[0],
            calls,
            told.truelayer_jku,
            lambda status, _: refusal_of("TrueLayer", status, ""),
        )

        async def fetch() -> Sequence[Mapping[str, str]]:
            return (await keys.ask("jwks", "GET", "", _KeySet, safe=True)).keys

        senders["truelayer"] = TrueLayerWebhooks(told.truelayer_jku, fetch, clock)
    if "yapily" in providers and told.yapily_webhook_secrets is not None:
        secrets = told.yapily_webhook_secrets.get_secret_value().split(",")
        senders["yapily"] = YapilyWebhooks([secret.strip() for secret in secrets])
    return senders


PROVIDERS: Mapping[str, Make] = {
    "plaid": _plaid,
    "truelayer": _truelayer,
    "yapily": _yapily,
    "gocardless": gocardless.made,
}


def providers_of(told: BankingSettings, doors: Doors, clock: Clock) -> dict[str, BankProvider]:
    """Those that are named and have credentials, in the order of the setting. Raises SettingsError."""
    made: dict[str, BankProvider] = {}
    for name in told.providers:
        if name not in PROVIDERS:
            raise SettingsError(f"ISTHMUS_BANKING__PROVIDERS: there is no {name}, only {', '.join(PROVIDERS)}")
        http, tls = doors.of(name)
        provider = PROVIDERS[name](Outside(told, http, Calls(name, Manners(deadline_s=told.deadline_s)), clock, tls))
        if provider is not None:
            made[name] = provider
    return made
