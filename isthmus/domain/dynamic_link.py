"""What a challenge authorises, as bytes that have one form: PSD2 dynamic linking.

RTS 2018/389 Art. 5(1): the code is specific to amount and payee, and any change of either makes it void; 5(3)(b): for a batch it binds
the total and every payee. So whatever is sent to a bank is written in this form once more at that moment and must have the digest that
the person answered for.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import orjson

from isthmus.domain.money import add, text_of

_FORM, _STEP_UP = "isthmus.dynamic-link.v1", "isthmus.step-up.v1"


class Purpose(StrEnum):
    """What a challenge is for; it is of use for nothing else."""

    PAYMENT = "PAYMENT"
    BATCH = "BATCH"
    DEVICE = "DEVICE"
    AUTHENTICATOR = "AUTHENTICATOR"
    API_KEY = "API_KEY"
    LIMIT = "LIMIT"
    PAYEE = "PAYEE"


@dataclass(frozen=True)
class PayeeLine:
    """`account`: the payee's account in its one form (`payees.py`). Texts are compared as they are: a letter that only looks the same is
    another one."""

    name: str = field(repr=False)
    account: str = field(repr=False)
    amount: Decimal
    reference: str = field(repr=False, default="")


@dataclass(frozen=True)
class DynamicLink:
    """`subject_id`: the payment, or the batch. `payer_account`: the account that it leaves, ours or a bank's, by our id."""

    purpose: Purpose
    subject_id: UUID
    asset: str
    payer_account: UUID
    payees: tuple[PayeeLine, ...]

    @property
    def total(self) -> Decimal:
        total = Decimal(0)
        for line in self.payees:
            total = add(total, line.amount)  # exact: the digest is of every digit
        return total

    def canonical(self) -> bytes:
        """JSON of lists and texts only, so that no field runs into its neighbour. Amounts are plain digits."""
        return orjson.dumps(
            [
                _FORM,
                self.purpose,
                str(self.subject_id),
                self.asset,
                text_of(self.total),
                str(self.payer_account),
                [[line.name, line.account, text_of(line.amount), line.reference] for line in self.payees],
            ]
        )

    def digest(self) -> str:
        """SHA-256 in hexadecimal."""
        return hashlib.sha256(self.canonical()).hexdigest()

    def is_of(self, digest: str) -> bool:
        return hmac.compare_digest(self.digest(), digest)


@dataclass(frozen=True)
class StepUp:
    """What else than a payment is authorised: `what`, in the words of its purpose, by whom."""

    purpose: Purpose
    subject_id: UUID
    owner: UUID
    what: tuple[str, ...] = field(repr=False)

    def digest(self) -> str:
        """As a payment's: no form of one is a form of the other, nor of another purpose's."""
        form = orjson.dumps([_STEP_UP, self.purpose, str(self.subject_id), str(self.owner), list(self.what)])
        return hashlib.sha256(form).hexdigest()

    def is_of(self, digest: str) -> bool:
        return hmac.compare_digest(self.digest(), digest)
