"""What may be lent to a program, for how long, and to how many."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.auth.api_keys import digest_of, key_id_of, new_key, shown_prefix
from isthmus.domain.api_keys import (
    LIFE_MAX,
    LIVE_MAX,
    ApiKeyEvent,
    ApiKeyMade,
    ApiKeyRevoked,
    Decision,
    KeyScope,
    MakeApiKey,
    RevokeApiKey,
    expiry_fault,
    fold,
    make,
    name_fault,
    revoke,
    scopes_fault,
)
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.refusals import ApiKeyNotFound, InvalidInput, Refusal, TooManyApiKeys
from isthmus.domain.sca import Guard, Method
from isthmus.domain.step_up import Asked

NOW = datetime(2026, 11, 25, tzinfo=UTC)
OWNER = uuid4()
ASKED = Asked(uuid4(), Method.ONE_TIME_CODE, NOW + timedelta(minutes=5))


def wish(key_id: UUID, *scopes: KeyScope) -> MakeApiKey:
    name = PersonalText("", Sealed(f"sealed:v1:{OWNER}:AAAA"))
    ends = NOW + timedelta(days=1)
    return MakeApiKey(key_id, OWNER, name, scopes or (KeyScope.READ,), "00" * 32, ends, ASKED)


def decided(live: Collection[UUID], wish: MakeApiKey) -> Decision:
    return make(live, Guard(), wish, NOW)


def made(key_id: UUID) -> ApiKeyMade:
    (event,) = accepted(decided((), wish(key_id)))[:1]
    assert isinstance(event, ApiKeyMade)
    return event


def accepted(decision: Decision) -> Any:
    assert not isinstance(decision, Refusal), decision
    return decision


def test_scopes_are_kept_once_and_in_order() -> None:
    (event, _) = accepted(decided((), wish(uuid4(), KeyScope.WRITE, KeyScope.READ, KeyScope.WRITE)))

    assert isinstance(event, ApiKeyMade)
    assert event.scopes == (KeyScope.READ, KeyScope.WRITE)


@pytest.mark.parametrize(("live", "refused"), [(LIVE_MAX - 1, False), (LIVE_MAX, True)])
def test_a_person_has_so_many_keys_and_no_more(live: int, refused: bool) -> None:
    decision = decided({uuid4() for _ in range(live)}, wish(uuid4()))

    assert isinstance(decision, TooManyApiKeys) is refused


@given(scopes=st.sets(st.sampled_from(KeyScope)), may=st.sets(st.sampled_from(KeyScope)))
def test_nobody_lends_what_they_do_not_have(scopes: set[KeyScope], may: set[KeyScope]) -> None:
    assert (scopes_fault(scopes, may) is None) is (bool(scopes) and scopes <= may)


@pytest.mark.parametrize(
    ("life", "refused"),
    [
        (timedelta(0), True),
        (timedelta(microseconds=1), False),
        (LIFE_MAX, False),
        (LIFE_MAX + timedelta(microseconds=1), True),
    ],
)
def test_a_key_ends_in_the_future_and_within_a_year(life: timedelta, refused: bool) -> None:
    assert isinstance(expiry_fault(NOW + life, NOW), InvalidInput) is refused


@pytest.mark.parametrize(("name", "refused"), [("", True), ("  ", True), ("x" * 100, False), ("x" * 101, True)])
def test_a_key_has_a_name(name: str, refused: bool) -> None:
    assert isinstance(name_fault(name), InvalidInput) is refused


@given(owner=st.uuids(), revoked=st.booleans(), exists=st.booleans())
def test_another_persons_key_is_as_missing(owner: UUID, revoked: bool, exists: bool) -> None:
    key_id = uuid4()
    events: list[ApiKeyEvent] = [made(key_id)] if exists else []
    events += [ApiKeyRevoked(key_id, OWNER)] if exists and revoked else []

    assert revoke(fold(events), RevokeApiKey(key_id, owner)) == revoke(None, RevokeApiKey(key_id, owner))
    assert isinstance(revoke(fold(events), RevokeApiKey(key_id, owner)), ApiKeyNotFound)


def test_revoking_twice_is_the_same_wish() -> None:
    event = made(uuid4())
    (revoked,) = accepted(revoke(fold([event]), RevokeApiKey(event.api_key_id, OWNER)))

    assert accepted(revoke(fold([event, revoked]), RevokeApiKey(event.api_key_id, OWNER))) == []


@given(st.uuids())
def test_a_key_tells_its_id_and_nothing_else_does(key_id: UUID) -> None:
    key = new_key(key_id)

    assert key_id_of(key) == key_id
    assert key.startswith(f"{shown_prefix(key_id)}_")
    assert new_key(key_id) != key
    assert digest_of(new_key(key_id)) != digest_of(key)


@given(place=st.integers(min_value=0), sign=st.characters())
def test_a_key_with_a_wrong_sign_is_none(place: int, sign: str) -> None:
    key = new_key(uuid4())
    at = place % len(key)
    wrong = key[:at] + sign + key[at + 1 :]

    assert wrong == key or key_id_of(wrong) is None


@pytest.mark.parametrize("text", ["", "isk_", "isk_" + "z" * 22 + "_" + "0" * 49, "ISK_x"])
def test_what_is_no_key_is_none(text: str) -> None:
    assert key_id_of(text) is None
    assert key_id_of(new_key(uuid4()) + "\n") is None
