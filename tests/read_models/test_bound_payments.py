"""D1: what is shown with a challenge is held against what that is bound to, line by line, as a table has it now."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from isthmus.domain.dynamic_link import DynamicLink, PayeeLine, Purpose
from isthmus.read_models.bound_payments import as_bound
from isthmus.read_models.payments import PaymentRow
from isthmus.read_models.sca import ChallengeRow

ACCOUNT, BATCH = uuid4(), uuid4()
LINK = DynamicLink(
    Purpose.BATCH,
    BATCH,
    "EUR",
    ACCOUNT,
    (PayeeLine("Bob", "IBAN X", Decimal(10), "Rent"), PayeeLine("Grace", "IBAN Y", Decimal(20))),
)


def row(name: str, account: str, amount: int, reference: str | None) -> PaymentRow:
    told: dict[str, Any] = dict.fromkeys(field.name for field in fields(PaymentRow))
    told |= {"payment_id": uuid4(), "batch_id": BATCH, "from_account_id": ACCOUNT, "asset": "EUR"}
    told |= {"payee_name": name, "payee_account": account, "amount": Decimal(amount), "reference": reference}
    return PaymentRow(**told)


ROWS = (row("Bob", "IBAN X", 10, "Rent"), row("Grace", "IBAN Y", 20, None))


async def read(sealed: list[str]) -> list[str | None]:
    return list(sealed)


async def shown(rows: tuple[PaymentRow, ...], state: str = "PENDING") -> tuple[str, int]:
    """(the challenge's state, how many are shown)."""
    told: dict[str, Any] = dict.fromkeys(field.name for field in fields(ChallengeRow))
    challenge = ChallengeRow(**told | {"challenge_id": uuid4(), "digest": LINK.digest(), "state": state})
    found, visible = await as_bound(challenge, rows, read)
    return found.state, len(visible)


@pytest.mark.parametrize(
    "other",
    [
        {"amount": Decimal(21)},
        {"payee_account": "IBAN Z"},
        {"asset": "GBP"},
        {"from_account_id": UUID(int=7)},
    ],
)
async def test_d1_a_line_that_is_not_what_was_bound_shows_none_and_is_not_to_be_answered(other: dict[str, Any]) -> None:
    assert await shown(ROWS) == ("PENDING", 2)

    changed = (ROWS[0], replace(ROWS[1], **other))

    assert await shown(changed) == ("INVALIDATED", 0)
    assert await shown(changed, "PASSED") == ("PASSED", 0), "what it came to it came to"
    assert await shown((ROWS[1], ROWS[0])) == await shown(ROWS[:1]) == await shown(()) == ("INVALIDATED", 0)
