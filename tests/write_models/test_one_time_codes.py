"""One-time codes: six digits that follow from the key, the challenge and what it is bound to, and from nothing less (RTS Art. 4, 5)."""

from __future__ import annotations

from uuid import UUID

from isthmus.write_models.one_time_codes import OneTimeCodes

CODES, ONE, DIGEST = OneTimeCodes(b"k" * 32), UUID(int=1), "ab" * 32


def test_a_code_is_of_one_challenge_and_of_what_that_is_bound_to() -> None:
    mine = CODES.code(ONE, DIGEST)
    others = [CODES.code(UUID(int=2), DIGEST), CODES.code(ONE, "ac" * 32), OneTimeCodes(b"l" * 32).code(ONE, DIGEST)]

    assert CODES.code(ONE, DIGEST) == mine, "whoever delivers it makes it anew"
    assert CODES.holds(ONE, DIGEST, mine)
    assert mine not in others
    for wrong in (*others, "", mine[:-1], mine + "0", f" {mine}"):
        assert not CODES.holds(ONE, DIGEST, wrong)


def test_every_code_has_six_digits_and_none_comes_more_often_than_another() -> None:
    found = [CODES.code(UUID(int=n), DIGEST) for n in range(1_000)]

    assert all(len(one) == 6 and one.isdigit() for one in found)
    assert {one[0] for one in found} == set("0123456789"), "zeros in front, too"
    assert len(set(found)) > 990
