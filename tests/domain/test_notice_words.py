"""What is told, and in which words."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from isthmus.domain import event_codec
from isthmus.domain.notices import KINDS, SAFETY, Facts, NoticeKind, kind_of, wait_after, words
from isthmus.write_models.notice_consumer import TOLD_ABOUT

ALL = Facts(amount="12.34 EUR", payee="Bob", device="Blue phone", bank="Nordlicht", ends="2026-12-01")


def test_every_kind_is_of_an_event_that_there_is_and_has_words() -> None:
    assert set(KINDS.values()) | {NoticeKind.NOTIFICATIONS_SWITCHED_OFF} == set(NoticeKind)
    assert KINDS.keys() <= event_codec.EVENT_TYPES.keys()
    for kind in NoticeKind:
        said = words(kind, ALL)
        assert said is not None
        assert "None" not in "".join(said)
        assert "http" not in "".join(said)


def test_that_a_payment_is_looked_at_is_told_to_nobody() -> None:
    owner = uuid4()
    for silent in ("PaymentParked", "PaymentScreened", "PaymentReleased", "PaymentEvidenceKept"):
        assert kind_of(silent, owner, "operator") is None


@pytest.mark.parametrize(("actor", "is_told"), [("", False), ("/key:1", True), (None, True)])
def test_of_what_somebody_took_back_themselves_they_are_not_told(actor: str | None, is_told: bool) -> None:
    owner = uuid4()
    kind = kind_of("PaymentCancelled", owner, "system" if actor is None else f"person:{owner}{actor}")
    assert (kind is NoticeKind.PAYMENT_CANCELLED) == is_told


def test_what_cannot_be_read_any_more_is_not_told() -> None:
    assert words(NoticeKind.PAYMENT_EXECUTED, Facts(amount="1.00 EUR")) is None
    assert words(NoticeKind.DEVICE_ENROLLED, Facts()) is None
    assert words(NoticeKind.PAYMENT_EXECUTED, ALL) == ("Payment sent", "12.34 EUR to Bob was sent.")


def test_what_is_not_taken_is_sent_later_and_later() -> None:
    waits = [wait_after(tries) for tries in range(1, 40)]
    assert waits[:3] == [timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=20)]
    assert waits[-1] == timedelta(minutes=10)


def test_what_is_about_safety_is_not_about_payments_or_banks() -> None:
    about = {"SCA", "DEVICE", "AUTHENTICATOR", "API", "PAYEE", "LIMIT", "NOTIFICATIONS"}
    assert {kind.partition("_")[0] for kind in SAFETY} == about


@pytest.mark.parametrize(
    "done",
    ["DeviceEnrolled", "DeviceRemoved", "AppEnrolled", "AppRemoved", "ApiKeyConfirmed", "PayeeSaved", "LimitSet"],
)
def test_what_a_step_up_was_for_is_told_and_cannot_be_switched_off(done: str) -> None:
    owner = uuid4()
    assert kind_of(done, owner, f"person:{owner}") in SAFETY
    assert event_codec.EVENT_TYPES[done][2] in {about.partition(b":")[0].decode() for about in TOLD_ABOUT}
