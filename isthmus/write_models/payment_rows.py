"""A payment as the write side needs it to carry it on: its row, with its challenge, and its personal texts opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from isthmus.domain.dynamic_link import DynamicLink, PayeeLine, Purpose
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.paying import PaymentOrder
from isthmus.domain.payment_events import PaymentState, Source
from isthmus.domain.personal import PersonalTexts
from isthmus.domain.sca import ChallengeState
from isthmus.write_models.connection import Connection

_COLUMNS = """
select p.id, p.owner, p.source, p.from_account_id, p.provider, p.asset, p.amount, p.payee_name, p.payee_account, p.reference, p.state,
    p.provider_reference, p.parked, p.challenge_id, p.batch_id, c.state as challenge_state, c.expires_at, p.made_at, c.asked_at
from payments p left join sca_challenges c on c.id = p.challenge_id"""


@dataclass(frozen=True)
class PaymentRow:
    """Amount and payee as the row has them now. Texts are None once their person's key is destroyed; what is said of a challenge is None
    where there is none."""

    payment_id: UUID
    owner: UUID
    source: Source
    from_account_id: UUID
    provider: str
    asset: str
    amount: Decimal
    payee_name: str | None = field(repr=False)
    payee_account: str | None = field(repr=False)
    reference: str | None = field(repr=False)
    state: PaymentState
    provider_reference: str | None
    parked: str | None
    challenge_id: UUID
    batch_id: UUID | None
    challenge_state: ChallengeState | None
    expires_at: datetime | None
    made_at: datetime
    #: Since when the bank is known to ask its customer.
    asked_at: datetime | None = None

    @property
    def order(self) -> PaymentOrder | None:
        """What would be sent; None where nobody can tell any more to whom."""
        if self.payee_name is None or self.payee_account is None:
            return None
        account = PayeeAccount.of_text(self.payee_account)
        return PaymentOrder(self.payment_id, self.amount, self.asset, self.payee_name, account, self.reference or "")


def dynamic_link(order: PaymentOrder, payer_account: UUID) -> DynamicLink:
    return DynamicLink(Purpose.PAYMENT, order.payment_id, order.asset, payer_account, (_line(order),))


async def digest_of(connection: Connection, texts: PersonalTexts, row: PaymentRow, order: PaymentOrder) -> str:
    """Of what is about to be sent, made of it and of nothing else; of a batch, of everything in it as it is now."""
    if row.batch_id is None:
        return dynamic_link(order, row.from_account_id).digest()
    lines = await batch_of(connection, texts, row.batch_id)
    orders = [order if line.payment_id == row.payment_id else line.order for line in lines]
    known = [one for one in orders if one is not None]
    same = {(line.from_account_id, line.asset) for line in lines} == {(row.from_account_id, row.asset)}
    return batch_link(row.batch_id, known, row.from_account_id).digest() if same else ""


def batch_link(batch_id: UUID, orders: Sequence[PaymentOrder], payer_account: UUID) -> DynamicLink:
    """In the order of the lines."""
    return DynamicLink(Purpose.BATCH, batch_id, orders[0].asset, payer_account, tuple(map(_line, orders)))


def _line(order: PaymentOrder) -> PayeeLine:
    return PayeeLine(order.payee_name, order.payee_account.text(), order.amount, order.reference)


async def batch_of(connection: Connection, texts: PersonalTexts, batch_id: UUID) -> list[PaymentRow]:
    """Its payments, in the order of the lines."""
    rows = await connection.fetch(f"{_COLUMNS} where p.batch_id = $1 order by p.batch_line", batch_id)
    return [await _opened(connection, texts, row) for row in rows]


async def find_payment(connection: Connection, texts: PersonalTexts, payment_id: UUID) -> PaymentRow | None:
    return await _one(connection, texts, "p.id = $1", payment_id)


async def _one(connection: Connection, texts: PersonalTexts, where: str, key: UUID) -> PaymentRow | None:
    row = await connection.fetchrow(f"{_COLUMNS} where {where}", key)
    return None if row is None else await _opened(connection, texts, row)


async def _opened(connection: Connection, texts: PersonalTexts, row: asyncpg.Record) -> PaymentRow:
    sealed = [row["payee_name"], row["payee_account"], *([row["reference"]] if row["reference"] else [])]
    name, account, *reference = await texts.open_many(connection, sealed)
    return PaymentRow(
        row["id"],
        row["owner"],
        Source(row["source"]),
        row["from_account_id"],
        row["provider"],
        row["asset"],
        row["amount"],
        name,
        account,
        reference[0] if reference else None,
        PaymentState(row["state"]),
        row["provider_reference"],
        row["parked"],
        row["challenge_id"],
        row["batch_id"],
        ChallengeState(row["challenge_state"]) if row["challenge_state"] is not None else None,
        row["expires_at"],
        row["made_at"],
        row["asked_at"],
    )
