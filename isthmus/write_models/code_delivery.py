"""Delivering a one-time code, with what it is for: a person who is to authorise a payment sees its amount and its payee (RTS Art. 5)."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import structlog
from prometheus_client import Counter

from isthmus.domain.money import Asset, printed
from isthmus.domain.notifications import Message, Notifier, Undeliverable
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.personal import PersonalTexts
from isthmus.domain.sca import ChallengeState, Method
from isthmus.write_models.connection import Pool
from isthmus.write_models.one_time_codes import OneTimeCodes
from isthmus.write_models.payment_rows import PaymentRow, find_payment_of_challenge
from isthmus.write_models.payments import DELIVER_CODE
from isthmus.write_models.timers import enqueue

_delivered = Counter(
    "isthmus_sca_codes_total",
    "One-time codes by outcome: delivered, late (not needed any more), again (tried again), failed.",
    ["outcome"],
)

_AGAIN = timedelta(seconds=3)

log = structlog.get_logger(__name__)


class CodeDelivery:
    """`assets`: what each asset's amounts look like."""

    def __init__(
        self, pool: Pool, texts: PersonalTexts, codes: OneTimeCodes, notifier: Notifier, assets: dict[str, Asset]
    ) -> None:
        self._pool = pool
        self._texts = texts
        self._codes = codes
        self._notifier = notifier
        self._assets = assets

    async def deliver(self, challenge_id: UUID) -> str:
        """Returns the outcome's name. Again is safe: it is delivered once. Where it may be delivered later it is tried until it is of no
        use any more."""
        async with self._pool.acquire() as connection:
            row = await find_payment_of_challenge(connection, self._texts, challenge_id)
        if row is None or not _wanted(row):
            _delivered.labels("late").inc()
            return "late"
        try:
            await self._notifier.send(Message(row.owner, challenge_id, "Authorise a payment", self._text(row)))
        except Undeliverable as fault:
            outcome = "again" if fault.again else "failed"
            _delivered.labels(outcome).inc()
            log.warning("a one-time code is not delivered", why=str(fault), again=fault.again)
            if fault.again:
                async with self._pool.acquire() as connection, connection.transaction():
                    await enqueue(connection, DELIVER_CODE, str(challenge_id).encode(), _AGAIN)
            return outcome
        _delivered.labels("delivered").inc()
        return "delivered"

    def _text(self, row: PaymentRow) -> str:
        asset = self._assets.get(row.asset)
        amount = printed(row.amount, asset.scale) if asset else str(row.amount)
        account = PayeeAccount.of_text(row.payee_account or "")
        number = account.iban or f"{account.sort_code} {account.number}"
        code = self._codes.code(row.challenge_id, row.digest)
        return (
            f"Pay {amount} {row.asset} to {row.payee_name} ({number}): your code is {code}. "
            "It is for this payment alone. Never tell it to anyone."
        )


def _wanted(row: PaymentRow) -> bool:
    """Someone can still answer with it, and be told for what: of a person whose key is destroyed nobody can tell whom they pay."""
    waiting = row.challenge_state is ChallengeState.PENDING and row.method is Method.ONE_TIME_CODE
    return waiting and row.order is not None
