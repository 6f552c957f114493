"""What a person and their client do to link a bank at the sandbox, through the API and the bank's own pages."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

from isthmus.graphql.ids import consent_key
from isthmus.write_models.institutions import refresh
from tests.api.conftest import Person, Served
from tests.sandbox.running import REDIRECT, Sandbox

CONTRACT = (Path(__file__).parent.parent / "contract" / "02-open-banking.graphql").read_text(encoding="utf-8")
#: Institution -> provider, as the settings' order has it: what TrueLayer speaks for it does, unless a test says otherwise.
HARBOUR, NORDLICHT, PRAIRIE = "harbour-bank-gb", "nordlicht-bank-de", "first-prairie-us"


def on_loop(served: Served, work: Any) -> Any:
    assert served.loop is not None
    return asyncio.run_coroutine_threadsafe(work, served.loop).result(60)


def know_institutions(served: Served) -> None:
    mirror = served.banking.mirror
    on_loop(served, refresh(mirror._pool, served.banking.providers, ("GB", "DE", "US")))


def start(person: Person, institution: str = HARBOUR, redirect_uri: str = REDIRECT, key: str | None = None) -> Any:
    wish = {"institutionId": institution, "redirectUri": redirect_uri, "idempotencyKey": key or uuid4().hex}
    return person.ask(CONTRACT, {"input": wish}, "StartBankLink")["startBankLink"]


def came_back(
    sandbox: Sandbox, authorization: dict[str, Any], username: str = "jo", answer: str = "approve"
) -> dict[str, str]:
    """What the address holds that the person is sent back to, after they signed in at the bank."""
    page = sandbox.http.get(authorization["url"], follow_redirects=True)
    back = sandbox.approve(str(page.url), username, answer=answer).headers["location"]
    assert back.startswith(REDIRECT), back
    return {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}


def credential_of(told: dict[str, str]) -> dict[str, str]:
    if "one-time-token" in told:
        return {"code": told["one-time-token"], "state": told["application-user-id"]}
    if "ref" in told:
        return {"code": told["ref"], "state": told["ref"]}
    return {"code": told["code"], "state": told["state"]}


def complete(person: Person, consent_id: str, credential: dict[str, Any]) -> Any:
    wish = {"consentId": consent_id, "credential": credential}
    return person.ask(CONTRACT, {"input": wish}, "CompleteBankLink")["completeBankLink"]


def linked(served: Served, sandbox: Sandbox, person: Person, institution: str = HARBOUR, username: str = "jo") -> str:
    """The id of a consent that is authorised, and read once."""
    begun = start(person, institution)
    assert begun["errors"] == [], begun
    done = complete(person, begun["consent"]["id"], credential_of(came_back(sandbox, begun["authorization"], username)))
    assert done["errors"] == [], done
    assert done["consent"]["status"] == "AUTHORISED"
    assert sync(served, begun["consent"]["id"]) == "done"
    consent: str = begun["consent"]["id"]
    return consent


def sync(served: Served, consent_id: str, *, attended: bool = True) -> str:
    outcome: str = on_loop(served, served.banking.sync.run(consent_key(consent_id), attended=attended))
    return outcome


def accounts(person: Person) -> list[dict[str, Any]]:
    edges = person.ask(CONTRACT, {}, "BankAccounts")["viewer"]["accounts"]["edges"]
    return [edge["node"] for edge in edges]


def key_of(consent_id: str) -> UUID:
    return consent_key(consent_id)
