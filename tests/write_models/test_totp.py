"""Codes of authenticator apps, by the vectors of RFC 6238 and against what is a step or more away."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from isthmus.write_models.totp import code_at, new_secret, otpauth_uri, step_at, step_of

SECRET = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("second", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_the_codes_are_those_of_rfc_6238(second: int, code: str) -> None:
    now = datetime.fromtimestamp(second, UTC)

    assert code_at(SECRET, step_at(now)) == code
    assert step_of(SECRET, code, now) == step_at(now)


@pytest.mark.parametrize(("steps", "fits"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_a_step_away(steps: int, fits: bool) -> None:
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    code = code_at(SECRET, step_at(now + timedelta(seconds=30 * steps)))

    assert step_of(SECRET, code, now) == (step_at(now) + steps if fits else None)


@pytest.mark.parametrize("given", ["", "0", "28708", "2870820", "２８７０８２", "abcdef"])
def test_what_is_no_code_is_none(given: str) -> None:
    assert step_of(SECRET, given, datetime.fromtimestamp(59, UTC)) is None


def test_the_address_that_an_app_reads_has_the_secret_and_says_whose_it_is() -> None:
    secret = new_secret()
    told = urlsplit(otpauth_uri(secret, "Bank & Co", "ada:x"))

    assert (told.scheme, told.netloc, told.path) == ("otpauth", "totp", "/Bank%20%26%20Co:ada%3Ax")
    assert parse_qs(told.query)["secret"] == [secret]
    assert len(base64.b32decode(secret)) == 20
    assert new_secret() != secret
