"""What the handlers of payments put together for the domain: what was counted, whose limits hold, and what the log has already."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from isthmus.domain.ledger import JournalPosted
from isthmus.domain.parked_payments import ConfirmDecision
from isthmus.domain.payment_news import ProviderPayment
from isthmus.domain.payments_at_bank import RecordBankNews
from isthmus.domain.personal_limits import LimitSet, limit_id_of
from isthmus.domain.refusals import LimitExceeded
from isthmus.write_models.handlers import HANDLERS
from isthmus.write_models.handling import Loaded
from isthmus.write_models.spending import Spent
from tests.domain import parked_world as parked
from tests.domain import test_top_ups as top_ups
from tests.domain.test_payment_batches import ADA, NOW, World

P = ProviderPayment


def journals(decided: Any) -> list[UUID]:
    return [event.journal_id for event in decided if isinstance(event, JournalPosted)]


@pytest.mark.parametrize(
    ("own", "used", "line"),
    [(None, "0", None), (Decimal(25), "0", 1), (None, "950", 1), (None, "960", 1), (None, "990", 0)],
)
def test_a_batch_is_within_the_persons_own_limit_and_what_they_paid_today(
    own: Decimal | None, used: str, line: int | None
) -> None:
    world, limit_id = World("20", "40"), limit_id_of(ADA, "GBP")
    wish = world.wish()
    handler = HANDLERS[type(wish)]
    needs = handler.needs(wish)
    assert limit_id in needs.streams
    assert needs.spenders == {ADA}
    limits = [LimitSet(limit_id, ADA, "GBP", own, Decimal(1_000))] if own is not None else []
    spent = Spent({(ADA, "GBP"): Decimal(used)})

    decided = handler.decide(Loaded({}, NOW, book=world.book, streams={limit_id: [*limits]}, spent=spent), wish)

    if line is None:
        assert not isinstance(decided, LimitExceeded)
    else:
        assert isinstance(decided, LimitExceeded)
        assert decided.path == ("input", "payments", str(line), "amount")


@pytest.mark.parametrize("known", ["streams", "posted"], ids=["in the log", "by a command before it"])
def test_what_was_brought_here_is_credited_once_whoever_booked_it(known: str) -> None:
    world = top_ups.World()
    world.initiate()
    wish = world.hearing(P.SETTLED)
    streams = {top_ups.PAYMENT: world.events, top_ups.CHALLENGE: world.events}
    handler, first = HANDLERS[RecordBankNews], Loaded({}, NOW, book=world.book, streams=dict(streams))
    assert wish.credit_id in handler.needs(wish).streams
    assert journals(handler.decide(first, wish)) == [wish.credit_id]

    again = Loaded({}, NOW, book=world.book, streams=dict(streams))
    getattr(again, known)[wish.credit_id] = world.events

    assert journals(handler.decide(again, wish)) == []


@pytest.mark.parametrize("known", ["streams", "posted"], ids=["in the log", "by a command before it"])
def test_what_operators_find_to_have_arrived_is_not_booked_under_a_name_that_is_booked(known: str) -> None:
    world = parked.submitted(parked.Rail.TOP_UP)
    world.hear(P.SETTLED)
    world.hear(P.FAILED)
    assert world.decide(parked.NOT_EXECUTED) is None
    world.hear(P.UNKNOWN, None)
    assert world.propose(parked.EXECUTED, "30") is None
    wish = world.confirming()
    streams = {parked.PAYMENT: world.events, parked.CHALLENGE: world.events}
    handler, first = HANDLERS[ConfirmDecision], Loaded({}, NOW, book=world.book, streams=dict(streams))
    assert wish.credit_id in handler.needs(wish).streams
    assert journals(handler.decide(first, wish)) == [wish.credit_id]

    again = Loaded({}, NOW, book=world.book, streams=dict(streams))
    getattr(again, known)[wish.credit_id] = world.events

    assert journals(handler.decide(again, wish)) == [wish.journal_id]
