"""Issue line 10, through the API: who serves an institution is configuration; providers come, go and fall silent, ids stay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest

from isthmus.domain.banking import ProviderInstitution, ProviderUnavailable
from isthmus.write_models.institutions import refresh
from tests.api import banking
from tests.api.banking import CONTRACT, HARBOUR, accounts, on_loop, start, sync
from tests.api.conftest import Person, Served
from tests.api.test_bank_faults import link_at, shown
from tests.api.test_bank_links import served_by
from tests.sandbox.running import Sandbox


@pytest.fixture(scope="module", autouse=True)
def _institutions(served: Served) -> Iterator[None]:
    banking.know_institutions(served)
    yield
    banking.know_institutions(served)


class Tells:
    """A provider's list of institutions, which a test may change; None where it does not answer."""

    def __init__(self, *names: str) -> None:
        self.told: tuple[str, ...] | None = names

    async def institutions(self, country: str) -> AsyncIterator[ProviderInstitution]:
        if self.told is None:
            raise ProviderUnavailable("it is not there")
        for name in self.told:
            yield ProviderInstitution(f"r {name}", name, (country,), "https://logos.example/x.png", ("ACCOUNTS",))


def refreshed(served: Served, **providers: Any) -> None:
    on_loop(served, refresh(served.banking.pool, providers, ("NO",)))


def found(person: Person, search: str | None = None) -> dict[str, list[str]]:
    edges = person.ask(CONTRACT, {"country": "NO", "search": search}, "Institutions")["institutions"]["edges"]
    return {edge["node"]["id"]: edge["node"]["providers"] for edge in edges}


def test_a_refresh_takes_what_providers_tell_and_keeps_what_the_silent_ones_told(served: Served, ada: Person) -> None:
    plaid, yapily = Tells("Fjord Bank", "Troll Sparebank"), Tells("Fjørd Bank")
    refreshed(served, plaid=plaid, yapily=yapily)
    assert found(ada) == {"fjord-bank-no": ["PLAID", "YAPILY"], "troll-sparebank-no": ["PLAID"]}
    (shown_one,) = [
        edge["node"]
        for edge in ada.ask(CONTRACT, {"country": "NO", "search": "troll"}, "Institutions")["institutions"]["edges"]
    ][:1]
    assert shown_one["logoUrl"] == "https://logos.example/x.png"
    assert (shown_one["countries"], shown_one["capabilities"]) == (["NO"], ["ACCOUNTS"])

    plaid.told = None
    yapily.told = ("Fjord Bank", "Northern Lights")
    refreshed(served, plaid=plaid, yapily=yapily)
    assert found(ada)["fjord-bank-no"] == ["PLAID", "YAPILY"], "who is silent keeps what it told"
    assert found(ada)["northern-lights-no"] == ["YAPILY"]

    plaid.told = ("Troll Sparebank",)
    refreshed(served, plaid=plaid, yapily=yapily)
    assert found(ada)["fjord-bank-no"] == ["YAPILY"], "gone at one of them"

    yapily.told = ()
    refreshed(served, plaid=plaid, yapily=yapily)
    assert [error["code"] for error in start(ada, "fjord-bank-no")["errors"]] == ["INSTITUTION_NOT_FOUND"]
    yapily.told = ("Fjord Bank",)
    refreshed(served, plaid=plaid, yapily=yapily)
    assert found(ada)["fjord-bank-no"] == ["YAPILY"], "the same id when it comes back"
    banking.know_institutions(served)


def test_another_provider_for_a_bank_changes_no_id_and_breaks_no_link(
    served: Served, banks: Sandbox, ada: Person
) -> None:
    old = link_at(served, banks, ada, "truelayer")
    assert sync(served, old) == "done"
    before = accounts(ada)
    institution = before[0]["institution"]["id"]

    new = link_at(served, banks, ada, "yapily")  # what serves it by now

    with served_by(served, "yapily"):
        assert sync(served, old) == "done", "a link stays with the provider that it was made at"
        assert (
            ada.ask(CONTRACT, {"country": "GB", "search": "harbour"}, "Institutions")["institutions"]["edges"][0][
                "node"
            ]["id"]
            == institution
            == HARBOUR
        )
        revoked = ada.ask(CONTRACT, {"input": {"consentId": old, "idempotencyKey": uuid4().hex}}, "RevokeBankConsent")
    assert revoked["revokeBankConsent"]["consent"]["status"] == "REVOKED"
    assert sync(served, new) == "done"
    after = accounts(ada)
    assert {one["id"] for one in after} == {one["id"] for one in before}
    assert {one["provider"] for one in after} == {"YAPILY"}


def test_what_two_providers_tell_of_one_account_is_there_once(served: Served, banks: Sandbox, ada: Person) -> None:
    """The second finds the first one's transactions by day and amount, so that ids and tags stay; none is shown twice."""
    assert sync(served, link_at(served, banks, ada, "truelayer")) == "done"
    before = _ids(ada)
    clean = Person(served)
    assert sync(served, link_at(served, banks, clean, "yapily")) == "done"

    assert sync(served, link_at(served, banks, ada, "yapily")) == "done"

    posted = [one for one in shown(ada) if one[2] == "POSTED"]
    assert posted == [one for one in shown(clean) if one[2] == "POSTED"]
    kept = before & _ids(ada)
    assert len(kept) > 0.8 * len(before), "all but those of one amount and day"


def _ids(person: Person) -> set[str]:
    return {edge["node"]["id"] for one in accounts(person) for edge in one["transactions"]["edges"]}
