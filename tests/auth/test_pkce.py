"""RFC 7636, with the numbers of its appendix B."""

from __future__ import annotations

import pytest

from isthmus.auth import pkce

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_appendix_b() -> None:
    assert pkce.challenge_of(VERIFIER) == CHALLENGE
    assert pkce.verify(VERIFIER, CHALLENGE)


def test_new_verifiers_are_new_and_well_formed() -> None:
    drawn = {pkce.new_verifier() for _ in range(1_000)}
    assert len(drawn) == 1_000
    assert all(pkce.is_verifier(verifier) and pkce.verify(verifier, pkce.challenge_of(verifier)) for verifier in drawn)


@pytest.mark.parametrize("verifier", ["a" * 43, "a" * 128, "-._~" * 11])
def test_the_lengths_and_characters_that_are_allowed(verifier: str) -> None:
    assert pkce.verify(verifier, pkce.challenge_of(verifier))


@pytest.mark.parametrize(
    "verifier",
    [
        "",
        "a" * 42,
        "a" * 129,
        "a" * 42 + "+",
        "a" * 42 + "/",
        "a" * 42 + "=",
        "a" * 43 + "\n",
        "a" * 42 + "é",
        "a" * 42 + "\0",
    ],
)
def test_what_is_no_verifier(verifier: str) -> None:
    assert not pkce.verify(verifier, CHALLENGE)
    with pytest.raises(ValueError, match="43 to 128"):
        pkce.challenge_of(verifier)


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        VERIFIER,  # `plain`
        CHALLENGE[:-1],
        CHALLENGE + "=",
        CHALLENGE + "\n",
        CHALLENGE.lower(),
        CHALLENGE[:-1] + "N",
        CHALLENGE[:-1] + "é",
    ],
)
def test_what_is_not_its_challenge(challenge: str) -> None:
    assert not pkce.verify(VERIFIER, challenge)
