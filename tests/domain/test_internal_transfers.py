"""What goes from one person to another without a challenge, and what does not."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from isthmus.domain.internal_transfers import TransferInternally, transfer
from isthmus.domain.ledger import JournalPosted
from isthmus.domain.refusals import Refusal, RefusalCode, ScaRequired
from tests.domain.builders import ADA, GRACE, TEXT, book, some_id, state

_CENTS = st.integers(1, 200).map(lambda cents: Decimal(cents).scaleb(-2))
BOOK = book(state("hers", "100"), state("savings"), state("graces", owner=GRACE))


def wish(to: str, amount: Decimal, unasked: Decimal, payer: str = "hers") -> TransferInternally:
    return TransferInternally(some_id("j"), ADA, some_id(payer), some_id(to), amount, "EUR", TEXT, unasked)


@given(_CENTS, st.one_of(st.just(Decimal(0)), _CENTS))
def test_to_another_person_goes_unasked_what_is_not_above_the_threshold_and_nothing_else(
    amount: Decimal, unasked: Decimal
) -> None:
    decided = transfer(BOOK, wish("graces", amount, unasked))

    if amount > unasked:
        assert isinstance(decided, ScaRequired)
        assert decided.threshold is not None
        assert (decided.threshold.amount, decided.threshold.asset, decided.sticks) == (unasked, "EUR", False)
        assert "initiatePayment" in decided.message
    else:
        assert not isinstance(decided, Refusal)
        assert [type(event) for event in decided] == [JournalPosted]


@given(_CENTS)
def test_between_ones_own_accounts_nobody_is_ever_asked(amount: Decimal) -> None:
    assert not isinstance(transfer(BOOK, wish("savings", amount, Decimal(0))), Refusal)


def test_who_may_not_pay_at_all_is_told_that_and_not_how_much() -> None:
    def code(to: str, payer: str = "hers") -> RefusalCode | None:
        decided = transfer(BOOK, wish(to, Decimal(1), Decimal(0), payer))
        return decided.code if isinstance(decided, Refusal) else None

    assert code("nobodys") is RefusalCode.RECIPIENT_NOT_FOUND
    assert code("hers", "graces") is RefusalCode.ACCOUNT_NOT_FOUND
    assert code("graces") is RefusalCode.SCA_REQUIRED
