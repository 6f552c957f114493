"""Challenges: bound to what they authorise, answered once, and five wrong answers are all there are."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from isthmus.domain.dynamic_link import DynamicLink, PayeeLine, Purpose, StepUp
from isthmus.domain.sca import (
    BLOCKED_FOR,
    CODE_LIFE,
    FAILURES_MAX,
    BankProof,
    Challenge,
    ChallengeState,
    CodeProof,
    DeviceProof,
    Guard,
    Invalidation,
    Method,
    Proof,
    ScaChallengeIssued,
    ScaPassed,
    answer,
    expire,
    fold,
    fold_guard,
    invalidate,
)

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ADA = uuid4()
RIGHT, WRONG = CodeProof(True), CodeProof(False)


def issued(method: Method = Method.ONE_TIME_CODE, **other: Any) -> ScaChallengeIssued:
    made = ScaChallengeIssued(uuid4(), ADA, Purpose.PAYMENT, uuid4(), "d" * 64, method, NOW + CODE_LIFE)
    return replace(made, **other)


def link(**other: Any) -> DynamicLink:
    line = PayeeLine("Bob Builder", "IBAN GB29NWBK60161331926819", Decimal("12.34"), "Rent")
    plain = DynamicLink(Purpose.PAYMENT, UUID(int=7), "GBP", UUID(int=9), (line,))
    return replace(plain, **other)


def with_line(**other: Any) -> DynamicLink:
    return link(payees=(replace(link().payees[0], **other),))


# -- the dynamic link ------------------------------------------------------------------------------------------------------


def test_the_digest_is_of_bytes_that_stay_as_they_are() -> None:
    """Pinned: what people answered for yesterday must have the same digest tomorrow."""
    assert link().canonical() == (
        b'["isthmus.dynamic-link.v1","PAYMENT","00000000-0000-0000-0000-000000000007","GBP","12.34",'
        b'"00000000-0000-0000-0000-000000000009",[["Bob Builder","IBAN GB29NWBK60161331926819","12.34","Rent"]]]'
    )
    assert link().is_of(link().digest())
    assert with_line(amount=Decimal("12.3400")).digest() == link().digest(), "the same value has the same text"


def test_the_total_is_exact_however_many_digits_it_has() -> None:
    lines = tuple(
        PayeeLine("Bob", "IBAN X", Decimal(amount)) for amount in ("98765432109876.123456789012345678", "0.1")
    )
    assert link(payees=lines).total == Decimal("98765432109876.223456789012345678")


@pytest.mark.parametrize(
    "other",
    [
        with_line(amount=Decimal("12.35")),
        with_line(amount=Decimal("1234")),
        with_line(name="Bob Bu\u0456lder"),  # a Cyrillic letter
        with_line(name="Bob  Builder"),
        with_line(name="bob builder"),
        with_line(account="IBAN GB94BARC10201530093459"),
        with_line(reference="rent"),
        with_line(name='Bob Builder","IBAN'),
        link(asset="EUR"),
        link(payer_account=UUID(int=10)),
        link(subject_id=UUID(int=8)),
        link(payees=(*link().payees, PayeeLine("Eve", "IBAN X", Decimal("0.01")))),
    ],
)
def test_d1_whatever_is_changed_the_digest_is_another(other: DynamicLink) -> None:
    assert not other.is_of(link().digest())


_texts = st.text(max_size=20)
_lines = st.builds(PayeeLine, _texts, _texts, st.decimals("0.01", "1000000", places=2, allow_nan=False), _texts)


@given(st.lists(_lines, min_size=1, max_size=4), st.lists(_lines, min_size=1, max_size=4))
def test_two_links_have_one_digest_only_if_they_are_the_same(ones: list[PayeeLine], others: list[PayeeLine]) -> None:
    one, other = link(payees=tuple(ones)), link(payees=tuple(others))
    assert (one.digest() == other.digest()) == (ones == others)


def test_a_batch_is_bound_to_its_order_its_payees_and_their_sum() -> None:
    a, b = PayeeLine("A", "1", Decimal(1)), PayeeLine("B", "2", Decimal(2))
    assert link(payees=(a, b)).total == 3
    assert link(payees=(a, b)).digest() != link(payees=(b, a)).digest()
    assert (
        link(payees=(a, b)).digest()
        != link(payees=(replace(a, amount=Decimal(2)), replace(b, amount=Decimal(1)))).digest()
    )


def test_what_a_step_up_is_bound_to_stays_as_it_is_and_is_each_part_of_it() -> None:
    """Pinned, as a payment's: payees and keys that were answered for yesterday are held against it tomorrow."""
    plain = StepUp(Purpose.PAYEE, UUID(int=7), UUID(int=9), ("Bob", "IBAN X"))
    form = (
        b'["isthmus.step-up.v1","PAYEE","00000000-0000-0000-0000-000000000007",'
        b'"00000000-0000-0000-0000-000000000009",["Bob","IBAN X"]]'
    )
    assert plain.digest() == hashlib.sha256(form).hexdigest()
    assert plain.is_of(plain.digest())
    assert not replace(plain, purpose=Purpose.API_KEY).is_of(plain.digest())


# -- answers ---------------------------------------------------------------------------------------------------------------


def test_so_many_wrong_answers_so_long_a_block_and_so_long_a_code_are_the_rules() -> None:
    assert FAILURES_MAX == 5
    assert timedelta(days=1) == BLOCKED_FOR
    assert timedelta(minutes=5) == CODE_LIFE


def test_a_right_answer_passes_once_and_clears_the_count() -> None:
    challenge = fold([issued()])
    assert challenge is not None
    found = answer(challenge, Guard(failures=3), RIGHT, NOW)
    assert found.passed
    after = fold([challenge.issued, *found.events])
    assert after is not None
    assert after.state is ChallengeState.PASSED
    assert fold_guard(found.events, NOW) == Guard()
    again = answer(after, Guard(), RIGHT, NOW)
    assert (again.passed, again.events) == (False, ()), "a code is accepted once"


def test_an_answer_of_another_kind_is_a_wrong_one() -> None:
    wrong: list[tuple[Method, Proof]] = [
        (Method.ONE_TIME_CODE, DeviceProof(uuid4(), True)),
        (Method.DEVICE, RIGHT),
        (Method.DEVICE, DeviceProof(uuid4(), False)),
        (Method.ONE_TIME_CODE, BankProof(True)),
        (Method.REDIRECT, DeviceProof(uuid4(), True)),
    ]
    for method, proof in wrong:
        challenge = fold([issued(method)])
        assert challenge is not None
        found = answer(challenge, Guard(), proof, NOW)
        assert not found.passed
        assert fold_guard(found.events, NOW).failures == 1


def test_what_the_bank_has_not_answered_yet_counts_for_nothing_and_its_no_ends_it() -> None:
    for method in (Method.REDIRECT, Method.DECOUPLED):
        challenge = fold([issued(method)])
        assert challenge is not None
        assert answer(challenge, Guard(), BankProof(None), NOW).events == ()
        refused = answer(challenge, Guard(), BankProof(False), NOW)
        after = fold([challenge.issued, *refused.events])
        assert after is not None
        assert after.state is ChallengeState.FAILED
        assert answer(challenge, Guard(), BankProof(True), NOW).passed


def test_d5_what_is_over_is_over_whether_or_not_that_is_written() -> None:
    challenge = fold([issued()])
    assert challenge is not None
    late = NOW + CODE_LIFE
    assert answer(challenge, Guard(), RIGHT, late).events == ()
    assert not answer(challenge, Guard(), RIGHT, late).passed
    assert expire(challenge, late - timedelta(microseconds=1)) == []
    assert len(expire(challenge, late)) == 1


def test_what_was_answered_for_may_still_be_made_void_and_what_is_over_not() -> None:
    start = issued()
    passed = fold([start, ScaPassed(start.challenge_id, ADA, "x")])
    assert passed is not None
    (void,) = invalidate(passed, Invalidation.CHANGED)
    after = fold([start, ScaPassed(start.challenge_id, ADA, "x"), void])
    assert after is not None
    assert after.state is ChallengeState.INVALIDATED
    assert invalidate(after, Invalidation.CANCELLED) == []


class Guesses(RuleBasedStateMachine):
    """One person, challenges that come and go, guesses in any order: never more than five wrong ones in a row, nor any after."""

    @initialize()
    def begin(self) -> None:
        self.now = NOW
        self.challenges: list[Challenge] = []
        self.events: list[Any] = []
        self.wrong_in_a_row = 0
        self.looked_at_while_blocked = 0
        self.passed: dict[UUID, int] = {}

    @rule(method=st.sampled_from([Method.ONE_TIME_CODE, Method.DEVICE]))
    def issue(self, method: Method) -> None:
        made = fold([issued(method, expires_at=self.now + CODE_LIFE)])
        assert made is not None
        self.challenges.append(made)

    @rule(minutes=st.sampled_from([1, 6, 24 * 60 + 1]))
    def wait(self, minutes: int) -> None:
        before = self.guard
        self.now += timedelta(minutes=minutes)
        if before.blocked_until is not None and not self.guard.blocked(self.now):
            self.wrong_in_a_row = 0

    @rule(which=st.integers(0, 50), right=st.booleans())
    def guess(self, which: int, right: bool) -> None:
        if not self.challenges:
            return
        place = which % len(self.challenges)
        challenge = self.challenges[place]
        if challenge.issued.method is Method.DEVICE:
            proof: Proof = DeviceProof(uuid4(), right)
        else:
            proof = RIGHT if right else WRONG
        blocked = self.guard.blocked(self.now)
        found = answer(challenge, self.guard, proof, self.now)
        self.events += found.events
        for event in found.events:
            if isinstance(event, ScaPassed):
                self.passed[event.challenge_id] = self.passed.get(event.challenge_id, 0) + 1
        after = fold(
            [
                challenge.issued,
                *[
                    e
                    for e in self.events
                    if getattr(e, "challenge_id", None) == challenge.challenge_id and not hasattr(e, "guard_id")
                ],
            ]
        )
        assert after is not None
        self.challenges[place] = after
        if found.passed:
            self.wrong_in_a_row = 0
        elif found.events:
            self.wrong_in_a_row += 1
        if blocked:
            assert found.events == ()

    @property
    def guard(self) -> Guard:
        return fold_guard(self.events, self.now)

    @invariant()
    def at_most_five(self) -> None:
        assert self.wrong_in_a_row <= FAILURES_MAX
        assert self.guard.failures == self.wrong_in_a_row
        assert self.guard.blocked(self.now) == (self.wrong_in_a_row == FAILURES_MAX)
        assert all(times == 1 for times in self.passed.values())


TestGuesses = Guesses.TestCase


def test_a_block_ends_by_itself_and_the_count_with_it() -> None:
    challenge, events = fold([issued()]), list[Any]()
    assert challenge is not None
    for n in range(FAILURES_MAX):
        guard = fold_guard(events, NOW)
        assert guard.left == FAILURES_MAX - n
        events += answer(challenge, guard, WRONG, NOW).events
    assert fold_guard(events, NOW).blocked(NOW)
    later = NOW + BLOCKED_FOR
    assert fold_guard(events, later) == Guard()

    for n in range(1, FAILURES_MAX + 1):
        events += answer(
            replace(challenge, issued=issued(expires_at=later + CODE_LIFE)), Guard(n - 1), WRONG, later
        ).events
        assert fold_guard(events, later).failures == n, "what is wrong after it is counted as before it"
    assert fold_guard(events, later).blocked(later)
