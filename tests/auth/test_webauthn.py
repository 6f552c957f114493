"""WebAuthn: row D6 by name, at the verifier itself; what strangers send is a No and never an error."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.auth.webauthn import WebAuthn
from isthmus.domain.authenticators import Credential
from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.sca_devices import signing_challenge
from tests.authenticator import ORIGIN, PRESENT, RP_ID, VERIFIED, Authenticator, b64

ADA = uuid4()
CHALLENGE = signing_challenge(Purpose.PAYMENT, "ab" * 32, uuid4())
SIDE = WebAuthn(RP_ID, "Bank", [ORIGIN])
OPTIONS = SIDE.request_options(CHALLENGE, [])


def enrolled(device: Authenticator) -> Credential:
    honest = replace(device, origin=ORIGIN, rp_id=RP_ID, flags=PRESENT | VERIFIED, within=None)
    made = SIDE.registered(honest.create(SIDE.creation_options(CHALLENGE, ADA, "ada", [])), CHALLENGE)
    assert made is not None
    return made


def test_a_device_is_asked_with_what_the_standard_has_and_user_verification_is_required() -> None:
    asked = json.loads(SIDE.request_options(CHALLENGE, [b64(b"x" * 32)]))
    made = json.loads(SIDE.creation_options(CHALLENGE, ADA, "ada", [b64(b"x" * 32)]))

    assert (asked["challenge"], asked["rpId"], asked["userVerification"]) == (b64(CHALLENGE), RP_ID, "required")
    assert [one["id"] for one in asked["allowCredentials"]] == [b64(b"x" * 32)]
    assert (made["rp"]["id"], made["attestation"]) == (RP_ID, "none")
    assert made["authenticatorSelection"]["userVerification"] == "required"
    assert [one["id"] for one in made["excludeCredentials"]] == [b64(b"x" * 32)]
    assert base64.urlsafe_b64decode(made["user"]["id"] + "==") == ADA.bytes


@pytest.mark.parametrize("counter", [0, 7])
def test_what_a_device_signs_is_accepted_with_its_counter(counter: int) -> None:
    device = Authenticator(counter=counter, step=int(counter > 0))
    key = enrolled(device)

    assert SIDE.signed(device.get(OPTIONS), CHALLENGE, key, ADA) == (8 if counter else 0)


WRONG: dict[str, dict[str, Any]] = {
    "origin": {"origin": "https://app.bank.example.evil"},
    "origin without TLS": {"origin": "http://app.bank.example"},
    "rpId": {"rp_id": "evil.example"},
    "UV=0": {"flags": PRESENT},
    "nobody there": {"flags": VERIFIED},
    "counter back": {"counter": 4},
    "counter stays": {"counter": 8},
    "another person's handle": {"user_handle": b64(uuid4().bytes)},
    "within another's page": {"within": "https://evil.example"},
}


@pytest.mark.parametrize("how", WRONG)
def test_d6_a_wrong_answer_of_the_right_device_is_refused(how: str) -> None:
    device = Authenticator(counter=9)
    key = enrolled(device)
    assert SIDE.signed(replace(device).get(OPTIONS), CHALLENGE, key, ADA) == 10, "it would be right"

    assert SIDE.signed(replace(device, **WRONG[how]).get(OPTIONS), CHALLENGE, key, ADA) is None


def test_d6_another_challenge_another_key_and_another_kind_are_refused() -> None:
    device = Authenticator()
    key = enrolled(device)
    right = device.get(OPTIONS)

    for other in (
        signing_challenge(Purpose.PAYMENT, "ab" * 32, uuid4()),
        signing_challenge(Purpose.DEVICE, "ab" * 32, uuid4()),
        bytes(32),
    ):
        assert SIDE.signed(right, other, key, ADA) is None
    assert SIDE.signed(replace(device, key=Authenticator().key).get(OPTIONS), CHALLENGE, key, ADA) is None
    assert SIDE.signed(right, CHALLENGE, replace(key, credential_id=b64(b"y" * 32)), ADA) is None
    assert SIDE.signed(device.create(OPTIONS), CHALLENGE, key, ADA) is None, "an enrolment is no answer"
    assert SIDE.registered(right, CHALLENGE) is None, "an answer is no enrolment"
    assert SIDE.signed(right, CHALLENGE, key, ADA) is not None


def test_a_challenge_is_bound_to_purpose_digest_and_id() -> None:
    mine = uuid4()
    one = signing_challenge(Purpose.PAYMENT, "ab" * 32, mine)

    assert one == signing_challenge(Purpose.PAYMENT, "ab" * 32, mine)
    others = {
        signing_challenge(Purpose.DEVICE, "ab" * 32, mine),
        signing_challenge(Purpose.PAYMENT, "ac" * 32, mine),
        signing_challenge(Purpose.PAYMENT, "ab" * 32, uuid4()),
    }
    assert len(others | {one}) == 4


@pytest.mark.parametrize("how", ["origin", "rpId", "UV=0", "nobody there", "within another's page"])
def test_d6_a_wrong_enrolment_is_refused(how: str) -> None:
    options = SIDE.creation_options(CHALLENGE, ADA, "ada", [])
    assert SIDE.registered(Authenticator().create(options), CHALLENGE) is not None
    assert SIDE.registered(Authenticator(**WRONG[how]).create(options), CHALLENGE) is None
    assert SIDE.registered(Authenticator().create(options), bytes(32)) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_what_strangers_send_is_a_no_and_never_an_error(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(_HONEST))
    answer = json.loads(text)
    inside = answer["response"]
    place = data.draw(st.sampled_from([(answer, name) for name in answer] + [(inside, name) for name in inside]))
    target, name = place
    if isinstance(target[name], str) and data.draw(st.booleans()):
        raw = bytearray(base64.urlsafe_b64decode(target[name] + "=="))
        at = data.draw(st.integers(0, len(raw) - 1)) if raw else 0
        raw[at : at + 1] = data.draw(st.binary(max_size=3).filter(lambda some: some != bytes(raw[at : at + 1])))
        target[name] = b64(bytes(raw))
    else:
        target[name] = data.draw(_JSON.filter(lambda drawn: drawn != target[name]))
    for given_text in (json.dumps(answer), json.dumps(data.draw(_JSON)), data.draw(st.text(max_size=20))):
        SIDE.credential_id(given_text)
        SIDE.registered(given_text, CHALLENGE)
        if name != "type":  # the library leaves unsaid what it does not need
            assert SIDE.signed(given_text, CHALLENGE, _KEY, ADA) is None


_DEVICE = Authenticator(step=0)
_KEY = enrolled(_DEVICE)
#: Made once: a signature is another one each time, and generation must be the same in every run.
_HONEST = [_DEVICE.create(OPTIONS), _DEVICE.get(OPTIONS)]
