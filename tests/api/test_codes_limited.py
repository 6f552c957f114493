"""Whoever was sent as many codes as may be is sent none, whatever for, and is told until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from isthmus.domain.code_allowance import CodeLimits
from tests.api.conftest import Person, Served
from tests.api.test_devices import enrol
from tests.api.test_payments import balance, funded, initiate
from tests.api.test_step_ups import change
from tests.attacks.operations import CALLS
from tests.authenticator import Authenticator

_ASKING = (
    "initiatePayment",
    "initiateBatchPayment",
    "beginDeviceEnrolment",
    "beginAuthenticatorApp",
    "addPayee",
    "createApiKey",
)
_SENT = """mutation($input: InitiatePaymentInput!) { done: initiatePayment(input: $input) { payment { id }
    errors { __typename code path ... on TooManyCodes { resetsAt } } } }"""


def test_every_purpose_that_sends_a_code_counts_and_is_refused(
    served: Served, ada: Person, grace: Person, olga: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, theirs = funded(ada, olga), funded(grace, olga)
    change(ada, "10", "20")
    committer = served.app.state.running.services.payments._commands._committer
    monkeypatch.setattr(committer, "code_limits", CodeLimits(len(_ASKING) + 1, 1_000))

    def asked(name: str) -> Any:
        call = CALLS[f"Mutation.{name}"]
        return ada.ask(call.document, call.filled(None, None, account))[name]["errors"]

    assert [asked(name) for name in _ASKING] == [[]] * len(_ASKING)
    assert change(ada, "11", "20")["errors"] == [], "a limit is raised"

    assert {asked(name)[0]["code"] for name in _ASKING} == {"TOO_MANY_CODES"}
    assert change(ada, "12", "20")["errors"][0]["code"] == "TOO_MANY_CODES"
    assert change(ada, "9", "20")["errors"] == [], "to be lowered it sends nothing"
    assert balance(ada, account) == ("100.00", "98.00"), "what is refused reserves nothing"
    assert initiate(grace, theirs)["errors"] == [], "it is a person's own"

    wish = CALLS["Mutation.initiatePayment"].filled(None, None, account)
    (no,) = ada.ask(_SENT, wish)["done"]["errors"]
    assert (no["__typename"], no["path"]) == ("TooManyCodes", [])
    assert datetime.fromisoformat(no["resetsAt"]) - datetime.now(UTC) < timedelta(minutes=10)


def test_a_device_is_asked_however_many_codes_were_sent(
    served: Served, ada: Person, olga: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = funded(ada, olga)
    enrol(served, ada, Authenticator())
    monkeypatch.setattr(
        served.app.state.running.services.payments._commands._committer, "code_limits", CodeLimits(1, 1)
    )

    assert initiate(ada, account, "1.00")["payment"]["challenge"]["__typename"] == "DeviceChallenge"
    assert initiate(ada, account, "1.00", method="ONE_TIME_CODE")["errors"][0]["code"] == "TOO_MANY_CODES"
