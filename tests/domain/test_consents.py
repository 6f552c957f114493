"""Consents: every word of every provider leads somewhere, nothing that is over comes back, and the end is an instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.domain import consent_events, consents
from isthmus.domain.banking import ConsentNews, ProviderConsent
from isthmus.domain.consent_events import (
    FINAL,
    Consent,
    ConsentExpired,
    ConsentExpiryNear,
    ConsentRequested,
    ConsentStatus,
    ConsentStatusParked,
)
from isthmus.domain.consent_policy import Jurisdiction, jurisdiction_of, policy_of
from isthmus.domain.consents import (
    AuthoriseConsent,
    BeginAuthorisation,
    DeleteLink,
    RecordConsentNews,
    ReturnFromBank,
    RevokeConsent,
)
from isthmus.domain.refusals import Refusal

ID, ADA, EVE = UUID(int=1), UUID(int=2), UUID(int=3)
NOW = datetime(2026, 11, 1, tzinfo=UTC)
REQUESTED = ConsentRequested(ID, ADA, "harbour-bank-gb", "yapily", Jurisdiction.UK, ("ACCOUNTS",))


def after(consent: Consent, decided: object) -> Consent:
    assert not isinstance(decided, Refusal), decided
    for event in decided:  # type: ignore[attr-defined]
        consent = consent_events.evolve(consent, event)
    return consent


def authorised(at: datetime = NOW, ends: datetime | None = None) -> Consent:
    consent = consent_events.fold([REQUESTED])
    assert consent is not None
    return after(consent, consents.authorise(consent, AuthoriseConsent(ID, at, ends)))


@pytest.mark.parametrize(
    ("provider", "country", "days"),
    [
        ("yapily", "GB", 90),
        ("yapily", "DE", 180),
        ("gocardless", "DE", 90),
        ("gocardless", "GB", 90),
        ("plaid", "XX", 90),
    ],
)
def test_the_law_gives_an_end_and_the_provider_may_only_shorten_it(provider: str, country: str, days: int) -> None:
    policy = policy_of(provider, jurisdiction_of(country))

    assert policy.ends_at(NOW, None) == NOW + timedelta(days=days)
    assert policy.ends_at(NOW, NOW + timedelta(days=5)) == NOW + timedelta(days=5)
    assert policy.ends_at(NOW, NOW + timedelta(days=500)) == NOW + timedelta(days=days)


def test_where_no_law_names_an_end_there_is_none() -> None:
    assert policy_of("plaid", jurisdiction_of("US")).ends_at(NOW, None) is None


def test_access_is_over_at_its_end_whether_or_not_that_is_written() -> None:
    consent = authorised(ends=NOW + timedelta(days=1))

    assert consent.readable(NOW + timedelta(hours=23))
    assert not consent.readable(NOW + timedelta(days=1))


def test_a_person_is_warned_once_a_week_before_and_again_for_another_end() -> None:
    consent = authorised(ends=NOW + timedelta(days=30))

    assert consents.mind_end(consent, NOW + timedelta(days=22)) == []
    near = consents.mind_end(consent, NOW + timedelta(days=23))
    assert near == [ConsentExpiryNear(ID, ADA, NOW + timedelta(days=30))]
    warned = after(consent, near)
    assert consents.mind_end(warned, NOW + timedelta(days=25)) == []
    assert consents.mind_end(warned, NOW + timedelta(days=30)) == [ConsentExpired(ID, ADA)]
    prolonged = after(warned, consents.authorise(warned, AuthoriseConsent(ID, NOW + timedelta(days=25), None)))
    assert consents.mind_end(prolonged, NOW + timedelta(days=109)) != []


def test_what_comes_back_is_taken_once() -> None:
    consent = consent_events.fold([REQUESTED])
    assert consent is not None
    begun = after(consent, consents.begin_authorisation(consent, BeginAuthorisation(ID, ADA, "state")))
    wish = ReturnFromBank(ID, ADA, "state", "code")

    assert isinstance(consents.return_from_bank(begun, ReturnFromBank(ID, EVE, "state", "code")), Refusal)
    assert isinstance(consents.return_from_bank(begun, ReturnFromBank(ID, ADA, "other", "code")), Refusal)
    returned = after(begun, consents.return_from_bank(begun, wish))
    assert consents.return_from_bank(returned, wish) == [], "the same return again"
    assert isinstance(consents.return_from_bank(returned, ReturnFromBank(ID, ADA, "state", "another")), Refusal)


def test_a_word_that_nobody_knows_is_parked_and_changes_nothing() -> None:
    consent = authorised()
    news = ConsentNews(ProviderConsent.UNKNOWN, "SOMETHING <script> NEW\x00" + "x" * 500)

    decided = consents.record_news(consent, RecordConsentNews(ID, news), NOW)

    assert isinstance(decided, list)
    (parked,) = decided
    assert isinstance(parked, ConsentStatusParked)
    assert len(parked.told) <= 64
    assert parked.told.isascii()
    assert "<" not in parked.told
    assert after(consent, decided).status is ConsentStatus.AUTHORISED


NEWS = st.builds(
    ConsentNews,
    st.sampled_from(ProviderConsent),
    st.text(max_size=80),
    st.none() | st.integers(-400, 400).map(lambda days: NOW + timedelta(days=days)),
)
STEPS = st.lists(
    st.one_of(
        NEWS.map(lambda news: ("news", news)),
        st.sampled_from([("revoke", None), ("delete", None), ("authorise", None), ("mind", None), ("begin", None)]),
        st.integers(1, 200).map(lambda days: ("time", days)),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_is_told_in_whatever_order_nothing_that_is_over_comes_back(steps: list[tuple[str, object]]) -> None:
    consent, now, over = consent_events.fold([REQUESTED]), NOW, False
    assert consent is not None
    for what, more in steps:
        decided: object = []
        match what:
            case "news":
                assert isinstance(more, ConsentNews)
                decided = consents.record_news(consent, RecordConsentNews(ID, more), now)
            case "revoke":
                decided = consents.revoke(consent, RevokeConsent(ID, ADA))
            case "delete":
                decided = consents.delete_link(consent, DeleteLink(ID, ADA))
            case "authorise":
                decided = consents.authorise(consent, AuthoriseConsent(ID, now, None))
            case "mind":
                decided = consents.mind_end(consent, now)
            case "begin":
                decided = consents.begin_authorisation(consent, BeginAuthorisation(ID, ADA, "s"))
            case _:
                assert isinstance(more, int)
                now += timedelta(days=more)
        if not isinstance(decided, Refusal):
            consent = after(consent, decided)
        over = over or consent.status in FINAL
        assert over == (consent.status in FINAL)
        assert not (over and consent.readable(now))
        if consent.expires_at is not None and consent.expires_at <= now:
            assert not consent.readable(now)
