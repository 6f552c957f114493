"""What the payer of a payment is told of its payee, as an event of the payment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from isthmus.domain.lookalikes import PayeeWarning
from isthmus.domain.payee_checks import PayeeMatch
from isthmus.domain.payment_events import PaymentPayeeChecked
from isthmus.domain.personal import PersonalText


@dataclass(frozen=True)
class PayeeCheck:
    result: PayeeMatch
    warnings: tuple[PayeeWarning, ...] = ()


class Checked(Protocol):
    """A wish to pay, with what its payer is told; None where nobody was asked."""

    @property
    def payment_id(self) -> UUID: ...
    @property
    def owner(self) -> UUID: ...
    @property
    def payee_check(self) -> PayeeCheck | None: ...
    @property
    def matched_name(self) -> PersonalText | None: ...
    @property
    def resembles_name(self) -> PersonalText | None: ...
    @property
    def resembles_account(self) -> PersonalText | None: ...


def payee_checked(wish: Checked) -> Sequence[PaymentPayeeChecked]:
    check, texts = wish.payee_check, (wish.matched_name, wish.resembles_name, wish.resembles_account)
    if check is None:
        return []
    matched, name, account = (text.ciphertext() if text is not None else None for text in texts)
    return [PaymentPayeeChecked(wish.payment_id, wish.owner, check.result, matched, check.warnings, name, account)]
