"""Links to which two things happen at once, or one of them twice: nothing is lost by it, and what holds now is what stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest

from isthmus.domain import consent_policy
from isthmus.domain.banking import Credential, ProviderAccount, ProviderUnavailable, RedirectTo, Removed, SyncPage
from isthmus.domain.consent_events import Consent, ConsentStatus
from isthmus.domain.consent_policy import Jurisdiction
from isthmus.domain.institutions import Routing
from isthmus.domain.secrets import ProviderTokens
from isthmus.write_models import bank_store
from isthmus.write_models.bank_upkeep import BankUpkeep
from isthmus.write_models.envelope import Envelope, Refused, Unavailable
from isthmus.write_models.link_wishes import Linked
from tests.conftest import Database
from tests.sandbox.running import REDIRECT, Sandbox, sandbox_running
from tests.write_models.bank_rig import HARBOUR, Rig, bank_rig, envelope


@pytest.fixture(scope="module")
def banks() -> Iterator[Sandbox]:
    with sandbox_running(history_days=1) as running:
        yield running


@pytest.fixture
def rig(banks: Sandbox, machine_database: Database, tmp_path: Path) -> Iterator[Rig]:
    with bank_rig(banks, machine_database, tmp_path) as made:
        yield made
        well_again(made)


def well_again(rig: Rig) -> None:
    assert rig.banks.http.delete(f"{rig.banks.url}/sandbox/misbehaviour").status_code == 200


def customer_with(rig: Rig, *amounts: int) -> tuple[UUID, str, str]:
    """(a person, who they are at the bank, an account in which so much moved)"""
    person, username = uuid4(), rig.customer()
    account = rig.account(username)
    for n, amount in enumerate(amounts):
        rig.banks.tell("movements", account=account, amount=amount, name=f"Shop {n}")
    return person, username, account


def read(rig: Rig, ask: Any) -> Any:
    async def work() -> Any:
        async with rig.side.pool.acquire() as connection:
            return await ask(connection)

    return rig.run(work())


def consent_of(rig: Rig, consent_id: UUID) -> Consent:
    found: Consent = read(rig, lambda connection: bank_store.find_consent(connection, consent_id))
    return found


def tokens_of(rig: Rig, consent_id: UUID) -> ProviderTokens | None:
    found: ProviderTokens | None = read(rig, lambda connection: rig.side.tokens.get(connection, consent_id))
    return found


def upkeep(rig: Rig) -> BankUpkeep:
    parts = rig.banking
    return BankUpkeep(parts.pool, rig.side.commands, parts.providers, parts.mirror, rig.clock)


def renewed(rig: Rig, person: UUID, consent: UUID, key: str) -> Any:
    wish = Envelope(f"person:{person}", person, "RenewBankConsent", key, {}, "test")
    return rig.run(rig.banking.links.renew(person, consent, REDIRECT, wish))


def back_from(rig: Rig, begun: Linked, username: str) -> tuple[Credential, str]:
    shown = begun.authorization
    assert isinstance(shown, RedirectTo)
    page = rig.banks.http.get(shown.url, follow_redirects=True)
    back = rig.banks.approve(str(page.url), username).headers["location"]
    told = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
    if "one-time-token" in told:
        return Credential(code=told["one-time-token"]), told["application-user-id"]
    return Credential(code=told["code"]), told["state"]


def completed(rig: Rig, person: UUID, consent: UUID, brought: tuple[Credential, str]) -> Any:
    key = f"{brought}"[:200]
    wish = Envelope(f"person:{person}", person, "CompleteBankLink", key, {}, "test")
    return rig.banking.links.complete(person, consent, *brought, wish)


def begun_at_yapily(rig: Rig, person: UUID) -> Linked:
    rig.banking.links._routing = Routing(("yapily",), {})
    begun = rig.run(rig.banking.links.start(person, HARBOUR, REDIRECT, envelope(person, "StartBankLink")))
    assert isinstance(begun, Linked)
    return begun


def everyone_signs_in_to_renew() -> Any:
    policies = consent_policy._BY_JURISDICTION
    return mock.patch.dict(policies, {Jurisdiction.UK: policies[Jurisdiction.EU]})


@pytest.mark.parametrize("provider", ["yapily", "truelayer"])
def test_a_renewal_during_a_reading_stands_although_it_ends_what_the_reading_goes_by(rig: Rig, provider: str) -> None:
    """Both providers take back the old permission once there is a new one: what they say of the old one says nothing of the link."""
    person, username, _ = customer_with(rig, -100)
    rig.account(username, "Another")  # so that there is a page after the first
    consent = rig.link(provider, person, username)
    assert rig.sync(consent) == "done"
    with everyone_signs_in_to_renew():
        brought = back_from(rig, renewed(rig, person, consent, "k"), username)

    async def meanwhile() -> None:
        rig.providers[provider].between = None
        assert isinstance(await completed(rig, person, consent, brought), Linked)

    rig.providers[provider].between = lambda _: meanwhile()
    assert rig.sync(consent) == "overtaken"

    assert consent_of(rig, consent).status is ConsentStatus.AUTHORISED
    assert rig.sync(consent) == "done"


def test_tokens_that_a_renewal_brought_are_not_replaced_by_older_ones_made_fresh(rig: Rig) -> None:
    person, username, _ = customer_with(rig)
    consent = rig.link("truelayer", person, username)
    old = tokens_of(rig, consent)
    assert old is not None
    renewal = ProviderTokens("new", "new", old.expires_at)
    provider = mock.AsyncMock()

    async def while_asked(_: ProviderTokens) -> ProviderTokens:
        async with rig.side.pool.acquire() as connection:
            await rig.side.tokens.put(connection, consent, person, renewal)
        return replace(old, access="older")

    provider.refresh.side_effect = while_asked
    got = rig.run(rig.banking.sync._tokens.fresh(consent_of(rig, consent), provider, old))

    assert got == tokens_of(rig, consent) == renewal


def test_a_renewal_that_is_begun_and_left_takes_no_webhook_away(rig: Rig) -> None:
    person, username, _ = customer_with(rig)
    consent = rig.link("plaid", person, username)
    tokens = tokens_of(rig, consent)
    assert tokens is not None
    assert tokens.reference is not None

    renewed(rig, person, consent, "k")

    assert rig.run(rig.banking.webhooks._consent_of("plaid", tokens.reference)) == consent


def test_a_renewal_that_found_its_provider_away_is_begun_when_it_is_sent_again(rig: Rig) -> None:
    """Not the one before, whose state is not taken any more."""
    person, username, _ = customer_with(rig)
    consent = begun_at_yapily(rig, person).consent_id
    rig.banks.tell("misbehaviour", route="POST /yapily/account-auth-requests", kind="error_before", times=100)
    with pytest.raises(Unavailable):
        renewed(rig, person, consent, "k")
    well_again(rig)

    brought = back_from(rig, renewed(rig, person, consent, "k"), username)

    assert isinstance(rig.run(completed(rig, person, consent, brought)), Linked)


def test_the_same_renewal_again_after_its_end_begins_no_other(rig: Rig) -> None:
    person, username, _ = customer_with(rig)
    consent = rig.link("truelayer", person, username)
    brought = back_from(rig, renewed(rig, person, consent, "k"), username)
    assert isinstance(rig.run(completed(rig, person, consent, brought)), Linked)

    again = renewed(rig, person, consent, "k")

    assert (again.authorization, again.outcome.replayed) == (None, True)
    assert consent_of(rig, consent).state_digest is None, "nothing is under way"


def test_what_came_back_before_the_link_was_begun_anew_does_not_end_the_new_one(rig: Rig) -> None:
    """Its exchange found the provider away; the person begins anew, and their client sends the old return once more."""
    person, username, _ = customer_with(rig)
    begun = begun_at_yapily(rig, person)
    old = back_from(rig, begun, username)
    rig.banks.tell("misbehaviour", route="POST /yapily/consent-one-time-token", kind="error_before", times=100)
    with pytest.raises(Unavailable):
        rig.run(completed(rig, person, begun.consent_id, old))
    well_again(rig)
    anew = renewed(rig, person, begun.consent_id, "k")

    assert isinstance(rig.run(completed(rig, person, begun.consent_id, old)), Refused)

    brought = back_from(rig, anew, username)
    assert isinstance(rig.run(completed(rig, person, begun.consent_id, brought)), Linked)


def test_a_provider_that_is_set_up_no_more_stops_nobody_else(rig: Rig) -> None:
    person, username, _ = customer_with(rig)
    revoked, other = rig.link("yapily", person, username), rig.link("yapily", person, username)
    rig.banks.tell("misbehaviour", route="DELETE /yapily/*", kind="error_before", times=100)
    rig.run(rig.banking.links.revoke(person, revoked, envelope(person, "Revoke")))
    provider = rig.banking.providers.pop("yapily")  # type: ignore[attr-defined]
    try:
        assert rig.run(upkeep(rig).end_links()) == 0, "it is tried again, for a day"
        assert not rig.run(rig.banking.links.balances.freshen(other, None))
        assert rig.sync(other) == "over"
        with pytest.raises(Unavailable):
            renewed(rig, person, other, "k")
        assert rig.run(rig.banking.mirror.end(revoked, rig.banking.providers, patient=False))
        assert tokens_of(rig, revoked) is None
    finally:
        rig.banking.providers["yapily"] = provider


def test_tokens_that_come_while_a_provider_is_told_of_the_end_are_told_of_too(rig: Rig) -> None:
    person, username, _ = customer_with(rig)
    consent = rig.link("yapily", person, username)
    later = ProviderTokens("later", reference="later")
    told: list[ProviderTokens] = []

    class Slow:
        async def refresh(self, tokens: ProviderTokens) -> ProviderTokens:
            return tokens

        async def revoke(self, tokens: ProviderTokens) -> None:
            if not told:
                async with rig.side.pool.acquire() as connection:
                    await rig.side.tokens.put(connection, consent, person, later)
            told.append(tokens)

    with mock.patch.dict(rig.banking.providers, {"yapily": Slow()}):
        rig.run(rig.banking.links.revoke(person, consent, envelope(person, "Revoke")))
        rig.run(upkeep(rig).end_links())

    assert told[-1] == later
    assert tokens_of(rig, consent) is None


def test_tokens_made_fresh_to_tell_of_the_end_are_kept_where_the_provider_does_not_listen(rig: Rig) -> None:
    person, username, _ = customer_with(rig)
    consent = rig.link("truelayer", person, username)
    provider = mock.AsyncMock()
    provider.refresh.side_effect = [ProviderTokens("fresh", "rotated"), ProviderTokens("fresh", "rotated")]
    provider.revoke.side_effect = [ProviderUnavailable("away"), None]

    with mock.patch.dict(rig.banking.providers, {"truelayer": provider}):
        rig.run(rig.banking.links.revoke(person, consent, envelope(person, "Revoke")))
        rig.run(upkeep(rig).end_links())

    assert provider.refresh.await_args.args[0].refresh == "rotated", "the one before is not taken any more"


class PerItem:
    """As it is at Plaid itself: accounts and transactions go by other names under each Item."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    async def accounts(self, tokens: ProviderTokens) -> Sequence[ProviderAccount]:
        return _named(await self._provider.accounts(tokens), tokens)

    async def sync(self, tokens: ProviderTokens, cursor: str | None) -> SyncPage:
        page, item = await self._provider.sync(tokens, cursor), tokens.access[-4:]
        changed = tuple(
            replace(one, account=one.account + item, reference=f"{one.reference}{item}", posts=None)
            for one in page.changed
        )
        removed = tuple(Removed(one.account + item, one.reference + item) for one in page.removed)
        told: SyncPage = replace(page, accounts=_named(page.accounts, tokens), changed=changed, removed=removed)
        return told


def _named(accounts: Sequence[ProviderAccount], tokens: ProviderTokens) -> tuple[ProviderAccount, ...]:
    item = tokens.access[-4:]
    return tuple(replace(one, reference=one.reference + item, lasting_reference=None) for one in accounts)


@pytest.mark.parametrize("gone", ["the older", "the newer"])
@pytest.mark.parametrize(("first", "second"), [("plaid", "plaid"), ("truelayer", "plaid"), ("plaid", "yapily")])
def test_an_account_that_is_linked_twice_is_one_and_stays_whole_without_one_of_the_links(
    rig: Rig, first: str, second: str, gone: str
) -> None:
    rig.banking.providers["plaid"] = PerItem(rig.providers["plaid"])
    person, username, account = customer_with(rig, -100, -101, -102)
    older = rig.link(first, person, username)
    assert rig.sync(older) == "done"
    newer = rig.link(second, person, username)
    assert (rig.sync(newer), rig.sync(older)) == ("done", "done")
    rig.banks.tell("movements", account=account, amount=-777, name="New")
    assert (rig.sync(older), rig.sync(newer), rig.sync(older)) == ("done", "done", "done")
    assert amounts(rig, person) == [-777, -102, -101, -100]

    deleted, left = (older, newer) if gone == "the older" else (newer, older)
    rig.run(rig.banking.links.delete(person, deleted, envelope(person, "DeleteBankLink")))
    rig.banks.tell("movements", account=account, amount=-888, name="Newer")
    assert rig.sync(left) == "done"

    assert amounts(rig, person) == [-888, -777, -102, -101, -100]


def test_an_account_whose_newer_link_is_revoked_comes_by_the_older_again_and_no_movement_twice(rig: Rig) -> None:
    rig.banking.providers["plaid"] = PerItem(rig.providers["plaid"])
    person, username, account = customer_with(rig, -100)
    older = rig.link("plaid", person, username)
    assert rig.sync(older) == "done"
    newer = rig.link("plaid", person, username)
    assert (rig.sync(newer), rig.sync(older)) == ("done", "done")
    rig.banks.tell("movements", account=account, amount=-777, name="New")
    assert rig.sync(newer) == "done"

    rig.run(rig.banking.links.revoke(person, newer, envelope(person, "Revoke")))
    assert (rig.sync(older), rig.sync(older)) == ("overtaken", "done")

    assert amounts(rig, person) == [-777, -100]


def amounts(rig: Rig, person: UUID) -> list[int]:
    """In cents, of all that is shown in the person's one account."""
    query = "select id from bank_accounts where owner = $1 and linked"
    (account,) = rig.run(rig.side.pool.fetch(query, person))
    return sorted(int(row.amount * 100) for row in rig.shown(person, account["id"]))


def test_an_outage_of_hours_leaves_a_reading_for_when_it_is_over(rig: Rig) -> None:
    """The law counts readings without the customer, also those that fail: they come at longer and longer intervals."""
    person, username, _ = customer_with(rig)
    consent = rig.link("yapily", person, username)
    rig.banks.tell("misbehaviour", route="GET /yapily/*", kind="error_before", times=10_000)
    begun, outcomes = rig.now(), list[str]()
    while "done" not in outcomes:
        assert rig.clock.now() - begun < timedelta(hours=10), outcomes
        if rig.clock.now() - begun > timedelta(hours=3):
            well_again(rig)
        if due(rig, consent):
            outcomes.append(rig.run(rig.banking.sync.run(consent)))
        rig.clock.set(rig.clock.now() + timedelta(minutes=15))

    assert outcomes == ["unavailable", "unavailable", "unavailable", "done"]


def due(rig: Rig, consent: UUID) -> bool:
    """Whether the schedule has this link read now."""
    with mock.patch.object(rig.banking.mirror, "want_sync", mock.AsyncMock()) as wanted:
        rig.run(upkeep(rig).want_syncs(timedelta(hours=6)))
    return any(call.args[0] == consent for call in wanted.await_args_list)


def test_readings_that_the_law_does_not_allow_now_are_no_reason_to_look_every_moment(rig: Rig) -> None:
    person, username, _ = customer_with(rig)
    consent = rig.link("yapily", person, username)
    for _ in range(4):
        assert rig.run(rig.banking.sync.run(consent)) == "done"
    rig.clock.set(rig.clock.now() + timedelta(hours=7))
    assert due(rig, consent)
    assert rig.run(rig.banking.sync.run(consent)) == "quota"

    assert not due(rig, consent)


def test_no_page_is_asked_for_after_the_consents_end(rig: Rig) -> None:
    person, username, _ = customer_with(rig)
    rig.account(username, "Another")
    consent = rig.link("truelayer", person, username)
    ends = consent_of(rig, consent).expires_at
    assert ends is not None
    rig.providers["truelayer"].between = lambda _: rig.clock.set(ends)

    assert rig.sync(consent) == "overtaken"

    assert rig.providers["truelayer"].pages == 1


def test_an_item_that_is_gone_is_revoked_and_not_to_be_renewed(rig: Rig) -> None:
    """No webhook said so: the schedule finds it."""
    person, username, _ = customer_with(rig)
    consent = rig.link("plaid", person, username)
    tokens = tokens_of(rig, consent)
    assert tokens is not None
    rig.run(rig.providers["plaid"].revoke(tokens))

    assert rig.sync(consent) == "access_ended"

    assert consent_of(rig, consent).status is ConsentStatus.REVOKED
