"""Delivering a one-time code, with what it is for: a person who is to authorise a payment sees its amount and its payee (RTS Art. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import assert_never
from uuid import UUID

import structlog
from prometheus_client import Counter

from isthmus.domain import api_keys, sca_apps
from isthmus.domain.clock import Clock
from isthmus.domain.compliance import Limits
from isthmus.domain.dynamic_link import DynamicLink, Purpose, StepUp
from isthmus.domain.funding import funding_reference
from isthmus.domain.money import Asset, add, printed
from isthmus.domain.notifications import Message, Notifier, Undeliverable
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.personal import PersonalTexts
from isthmus.domain.personal_limits import raise_link
from isthmus.domain.sca import ChallengeState, Method
from isthmus.write_models.challenge_rows import ChallengeRow, find_challenge
from isthmus.write_models.connection import Connection, Pool
from isthmus.write_models.event_store import load_stream
from isthmus.write_models.one_time_codes import OneTimeCodes
from isthmus.write_models.payment_rows import PaymentRow, batch_link, batch_of, dynamic_link, find_payment
from isthmus.write_models.payments import DELIVER_CODE
from isthmus.write_models.personal_limits import RaiseRow, find_raise
from isthmus.write_models.sca_devices import find_device
from isthmus.write_models.shared_time import shared_now
from isthmus.write_models.timers import enqueue

_delivered = Counter(
    "isthmus_sca_codes_total",
    "One-time codes by outcome: delivered, late (not needed any more), again (tried again), failed.",
    ["outcome"],
)

_ALONE = "It is for this alone. Never tell it to anyone. If it was not you, do nothing, and call us."
_AGAIN = timedelta(seconds=3)
#: What carries a message takes no more than a few thousand bytes of it: of many payees so many letters are named, with what they are paid.
_PAYEES_MAX = 1_000

log = structlog.get_logger(__name__)


class CodeDelivery:
    """`assets`: what each asset's amounts look like."""

    def __init__(
        self,
        pool: Pool,
        texts: PersonalTexts,
        codes: OneTimeCodes,
        notifier: Notifier,
        assets: dict[str, Asset],
        clock: Clock,
    ) -> None:
        self._pool = pool
        self._texts = texts
        self._codes = codes
        self._notifier = notifier
        self._assets = assets
        self._clock = clock

    async def deliver(self, challenge_id: UUID) -> str:
        """Returns the outcome's name. Again is safe: it is delivered once. Where it may be delivered later it is tried until it is of no
        use any more."""
        async with self._pool.acquire() as connection:
            row = await find_challenge(connection, challenge_id)
            now = await shared_now(connection, self._clock)
            told = await self._told(connection, row) if row is not None and _wanted(row, now) else None
        if told is None or row is None:
            _delivered.labels("late").inc()
            return "late"
        try:
            await self._notifier.send(Message(row.owner, challenge_id, *told))
        except Undeliverable as fault:
            outcome = "again" if fault.again else "failed"
            _delivered.labels(outcome).inc()
            log.warning("a one-time code is not delivered", why=str(fault), again=fault.again)
            if fault.again:
                async with self._pool.acquire() as connection, connection.transaction():
                    after = max(_AGAIN, timedelta(seconds=fault.after_s))
                    await enqueue(connection, DELIVER_CODE, str(challenge_id).encode(), after)
            return outcome
        _delivered.labels("delivered").inc()
        return "delivered"

    async def _told(self, connection: Connection, row: ChallengeRow) -> tuple[str, str] | None:
        """Title and text; None where nobody can tell any more what it is for."""
        code = self._codes.code(row.challenge_id, row.digest)
        match row.purpose:
            case Purpose.PAYMENT:
                payment = await find_payment(connection, self._texts, row.subject_id)
                if payment is None or payment.order is None:
                    return None  # of a person whose key is destroyed nobody can tell whom they pay
                if not _bound(dynamic_link(payment.order, payment.from_account_id), row):
                    return None
                return "Authorise a payment", self._payment(payment, code)
            case Purpose.BATCH:
                return await self._batch(connection, row, code)
            case Purpose.DEVICE:
                device = await find_device(connection, row.subject_id)
                name = (await self._texts.open_many(connection, [device.name]))[0] if device is not None else None
                if name is None or not _bound(StepUp(Purpose.DEVICE, row.subject_id, row.owner, (name,)), row):
                    return None
                return "Add a device", _device(name, code)
            case Purpose.PAYEE:
                return await self._payee(connection, row, code)
            case Purpose.AUTHENTICATOR:
                app = sca_apps.fold(await load_stream(connection, row.subject_id))
                bound = app is not None and _bound(sca_apps.link_of(app.requested), row)
                return ("Add an authenticator app", _app(code)) if bound else None
            case Purpose.API_KEY:
                key = api_keys.fold(await load_stream(connection, row.subject_id))
                name = (await self._texts.open_many(connection, [str(key.made.name)]))[0] if key is not None else None
                if key is None or name is None or not _bound(api_keys.link_of(key.made), row):
                    return None
                return "Make an API key", _api_key(name, key.made.scopes, code)
            case Purpose.LIMIT:
                asked = await find_raise(connection, row.subject_id, row.challenge_id)
                if asked is None or not _bound(_raised(asked, row), row):
                    return None
                return "Raise your limit", self._limit(asked, code)
            case _:
                assert_never(row.purpose)

    async def _batch(self, connection: Connection, row: ChallengeRow, code: str) -> tuple[str, str] | None:
        lines = await batch_of(connection, self._texts, row.subject_id)
        orders = [line.order for line in lines if line.order is not None]
        if not orders:
            return None
        if not _bound(batch_link(row.subject_id, orders, lines[0].from_account_id), row):
            return None
        total = _sum(lines)
        payees = self._payees(lines)
        told = (
            f"Pay {self._printed(total, lines[0].asset)} in all to {len(lines)} payees ({payees}): your code is {code}."
        )
        return "Authorise payments", f"{told} It is for these payments alone. Never tell it to anyone."

    def _payees(self, lines: list[PaymentRow]) -> str:
        """In the batch's order, where there is room for all. Otherwise those come first who are paid most, and of the others there is how
        much they are paid in all; the app shows each."""
        asset = lines[0].asset
        named = [f"{line.payee_name} {self._printed(line.amount, asset)}" for line in lines]
        if len("; ".join(named)) <= _PAYEES_MAX:
            return "; ".join(named)
        most = sorted(range(len(lines)), key=lambda n: lines[n].amount, reverse=True)
        shown: list[str] = []
        while most and len("; ".join([*shown, named[most[0]]])) <= _PAYEES_MAX:
            shown.append(named[most.pop(0)])
        rest = self._printed(_sum([lines[n] for n in most]), asset)
        return "; ".join([*shown, f"and {len(most)} more, {rest} in all, whom the app shows"])

    async def _payee(self, connection: Connection, row: ChallengeRow, code: str) -> tuple[str, str] | None:
        sealed = await connection.fetchrow("select name, account from payees where id = $1", row.subject_id)
        if sealed is None:
            return None
        name, account = await self._texts.open_many(connection, [sealed["name"], sealed["account"]])
        if name is None or account is None:
            return None
        if not _bound(StepUp(Purpose.PAYEE, row.subject_id, row.owner, (name, account)), row):
            return None
        return "Save a payee", _saved(name, account, code)

    def _printed(self, amount: Decimal, asset: str) -> str:
        known = self._assets.get(asset)
        return f"{printed(amount, known.scale) if known else amount} {asset}"

    def _limit(self, asked: RaiseRow, code: str) -> str:
        at_once, day = self._printed(asked.per_payment, asked.asset), self._printed(asked.per_day, asked.asset)
        return f"Be able to pay {at_once} at once and {day} a day: your code is {code}. {_ALONE}"

    def _payment(self, row: PaymentRow, code: str) -> str:
        amount = self._printed(row.amount, row.asset)
        return (
            f"Pay {amount} to {row.payee_name} ({_number(row.payee_account or '')}): your code is {code}. "
            "It is for this payment alone. Never tell it to anyone."
        )


def _wanted(row: ChallengeRow, now: datetime) -> bool:
    """Only payments' challenges are ever written down as expired: what is over by the clock is of no use either."""
    open_still = row.state is ChallengeState.PENDING and row.expires_at > now
    return open_still and row.method is Method.ONE_TIME_CODE


def _sum(lines: Sequence[PaymentRow]) -> Decimal:
    total = Decimal(0)
    for line in lines:
        total = add(total, line.amount)
    return total


def _bound(link: DynamicLink | StepUp, row: ChallengeRow) -> bool:
    """Whether the code would authorise just what its message says. Where somebody changed what is told of it no code is sent: whoever
    changes it back once it was answered for would have had something else authorised."""
    if link.is_of(row.digest):
        return True
    log.error("what a one-time code is for was changed", challenge=str(row.challenge_id), purpose=row.purpose)
    return False


def _raised(asked: RaiseRow, row: ChallengeRow) -> StepUp:
    return raise_link(row.subject_id, row.owner, Limits(asked.per_payment, asked.per_day), asked.asset)


def _number(text: str) -> str:
    account = PayeeAccount.of_text(text)
    if account.own is not None:
        return funding_reference(account.own)
    return account.iban or f"{account.sort_code} {account.number}"


def _saved(name: str, account: str, code: str) -> str:
    return f"Save the payee {name} ({_number(account)}), who may then be paid with fewer questions: your code is {code}. {_ALONE}"


def _device(name: str, code: str) -> str:
    return f"Add the device “{name}”, which may then authorise payments: your code is {code}. {_ALONE}"


def _app(code: str) -> str:
    return f"Add an authenticator app, whose codes may then authorise payments: your code is {code}. {_ALONE}"


def _api_key(name: str, scopes: Sequence[str], code: str) -> str:
    may = "see and change what is yours" if "write" in scopes else "see what is yours"
    return f"Make the API key “{name}”, with which a program may {may}: your code is {code}. {_ALONE}"
