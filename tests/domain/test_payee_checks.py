"""What may be told of the holder of an account, and what a saved payee's challenge is good for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from isthmus.domain import saved_payees, sca
from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.payee_checks import PayeeAnswer, PayeeMatch, advice, tellable
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.refusals import Refusal, ScaBlockedRefusal
from isthmus.domain.saved_payees import AddPayee, PayeeRemoved, PayeeSaved, RemovePayee
from isthmus.domain.sca_answers import AnswerScaChallenge
from isthmus.domain.sca_answers import answer as answered

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ADA, PAYEE, CHALLENGE = UUID(int=1), UUID(int=2), UUID(int=3)
DIGEST = saved_payees.payee_digest(PAYEE, ADA, "Grace Hopper", "IBAN X")


def text(plain: str) -> PersonalText:
    return PersonalText(plain, Sealed(f"sealed:v1:{ADA}:{plain}"))


WISH = AddPayee(
    PAYEE,
    CHALLENGE,
    ADA,
    text("n"),
    text("a"),
    "f",
    DIGEST,
    sca.Method.ONE_TIME_CODE,
    NOW + sca.CODE_LIFE,
)


def begun() -> tuple[saved_payees.SavedPayee, sca.Challenge]:
    events = saved_payees.add(sca.Guard(), WISH, NOW)
    assert not isinstance(events, Refusal)
    payee, challenge = saved_payees.fold(events), sca.fold(events)
    assert payee is not None
    assert challenge is not None
    return payee, challenge


@pytest.mark.parametrize(
    ("match", "holder", "told"),
    [
        (PayeeMatch.CLOSE_MATCH, "John Smith", "John Smith"),
        (PayeeMatch.CLOSE_MATCH, "Margaret Thatcher", None),
        (PayeeMatch.NO_MATCH, "John Smith", None),
        (PayeeMatch.MATCH, "John Smith", None),
        (PayeeMatch.UNAVAILABLE, "John Smith", None),
    ],
)
def test_a_holders_name_is_told_with_a_close_match_alone_and_where_it_is_close(
    match: PayeeMatch, holder: str, told: str | None
) -> None:
    assert tellable(PayeeAnswer(match, holder), "J Smith") == PayeeAnswer(match, told)


def test_whatever_is_no_match_comes_with_words_for_people() -> None:
    assert [match for match in PayeeMatch if advice(match) is None] == [PayeeMatch.MATCH]


@pytest.mark.parametrize("right", [True, False])
def test_a_payee_is_saved_by_a_right_answer_and_by_none_after_it_was_removed(right: bool) -> None:
    payee, challenge = begun()
    wish = AnswerScaChallenge(CHALLENGE, PAYEE, ADA, DIGEST, sca.CodeProof(right))

    done = answered({}, challenge, sca.Guard(), payee, None, wish, NOW)
    assert not isinstance(done, Refusal)
    assert [event for event in done if isinstance(event, PayeeSaved)] == ([PayeeSaved(PAYEE, ADA)] if right else [])

    removed = replace(payee, removed=True)
    assert isinstance(answered({}, challenge, sca.Guard(), removed, None, wish, NOW), Refusal)
    assert isinstance(answered({}, challenge, sca.Guard(), None, None, wish, NOW), Refusal)


def test_a_challenge_for_another_payee_or_purpose_saves_nobody() -> None:
    payee, challenge = begun()
    other = saved_payees.payee_digest(PAYEE, ADA, "Grace Hoppеr", "IBAN X")
    assert other != DIGEST, "a letter that only looks the same"
    changed = replace(challenge, issued=replace(challenge.issued, digest=other))
    device = replace(challenge, issued=replace(challenge.issued, purpose=Purpose.DEVICE))

    for one in (changed, device):
        wish = AnswerScaChallenge(CHALLENGE, PAYEE, ADA, one.issued.digest, sca.CodeProof(holds=True))
        assert isinstance(answered({}, one, sca.Guard(), payee, None, wish, NOW), Refusal)


def test_who_is_blocked_saves_nobody_and_who_removes_needs_no_challenge() -> None:
    blocked = sca.Guard(blocked_until=NOW + timedelta(hours=1))
    payee, _ = begun()

    no = saved_payees.add(blocked, WISH, NOW)
    assert isinstance(no, ScaBlockedRefusal)
    assert no.resets_at == blocked.blocked_until
    assert saved_payees.remove(payee, RemovePayee(PAYEE, ADA)) == [PayeeRemoved(PAYEE, ADA)]
    assert saved_payees.remove(replace(payee, removed=True), RemovePayee(PAYEE, ADA)) == []
    assert isinstance(saved_payees.remove(payee, RemovePayee(PAYEE, UUID(int=9))), Refusal)
