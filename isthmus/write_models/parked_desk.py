"""Where operators look into payments that are parked: the provider is asked now, and what is decided is put together into commands.

The provider is asked before each word of an operator's, so that none goes against what it definitely says. What it tells in between, by
whatever other way, is another event of the payment, and whichever comes first is decided on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import structlog

from isthmus.domain.bank_payments import BankPayments
from isthmus.domain.banking import ProviderFault, ProviderRefused, ProviderUnavailable
from isthmus.domain.identifiers import IdSource
from isthmus.domain.parked_payments import ConfirmDecision, LookIntoPayment, ProposeDecision, missing, parked_fault
from isthmus.domain.payees import same_account
from isthmus.domain.paying import Payouts
from isthmus.domain.payment_decisions import Finding
from isthmus.domain.payment_events import Payment, Source
from isthmus.domain.payment_events import fold as fold_payment
from isthmus.domain.payment_news import PaymentNews, RecordPaymentNews
from isthmus.domain.personal import PersonalText, PersonalTexts
from isthmus.domain.refusals import InvalidInput, Refusal
from isthmus.failpoints import failpoint_async
from isthmus.write_models.bank_balances import LOOK_S
from isthmus.write_models.bank_mirror import system_envelope
from isthmus.write_models.bank_paying import BankPaying
from isthmus.write_models.commands import CommandBus, Envelope, Outcome, Refused, Unavailable
from isthmus.write_models.connection import Pool
from isthmus.write_models.event_store import load_stream
from isthmus.write_models.payment_rows import PaymentRow, find_payment

_REFERENCE = ("input", "providerReference")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class FindingWish:
    """`amount` zero where nothing moved. `provider_reference`: as the operator knows it."""

    finding: Finding
    amount: Decimal
    asset: str | None
    provider_reference: str | None
    reason: PersonalText


@dataclass(frozen=True)
class _Seen:
    row: PaymentRow
    payment: Payment


class ParkedDesk:
    """`payouts`: who pays from the platform's money, by name; `banks`: what pays from people's own."""

    def __init__(
        self,
        pool: Pool,
        commands: CommandBus,
        texts: PersonalTexts,
        payouts: Mapping[str, Payouts],
        banks: BankPaying,
        ids: IdSource,
    ) -> None:
        self._pool = pool
        self._commands = commands
        self._texts = texts
        self._payouts = payouts
        self._banks = banks
        self._ids = ids

    async def look_again(
        self, operator: UUID, payment_id: UUID, reference: str | None, envelope: Envelope
    ) -> tuple[Outcome, PaymentNews | None]:
        """What the provider says now is recorded as ever; the payment is parked no more where that is in order. What nobody has a name for
        at the provider is asked for under its key, by `work`. Raises Unavailable: the provider does not answer."""
        seen = await self._find(payment_id)
        if seen is None:
            return Refused(missing(), 0), None
        news, other, parked = None, None, parked_fault(seen.payment, operator) is None
        if parked:
            told = await self._told(seen, reference, must=True)
            if isinstance(told, Refusal):
                return Refused(told, 0), None
            news = told
        if news is not None:
            await self._record(seen, news)
            mine = seen.row.payee_account
            if news.payee_account is not None and mine is not None:
                other = not same_account(news.payee_account, mine)
        await failpoint_async("parked.recorded")
        wish = LookIntoPayment(payment_id, operator, parked, news, other)
        return await self._commands.run(wish, envelope), news

    async def propose(self, operator: UUID, payment_id: UUID, wish: FindingWish, envelope: Envelope) -> Outcome:
        seen = await self._find(payment_id)
        if seen is None:
            return Refused(missing(), 0)
        news = await self._now(seen, operator, wish.provider_reference)
        if isinstance(news, Refusal):
            return Refused(news, 0)
        asked = ProposeDecision(
            payment_id,
            self._ids(),
            operator,
            wish.finding,
            wish.amount,
            wish.asset,
            wish.provider_reference,
            wish.reason,
            news,
        )
        return await self._commands.run(asked, envelope)

    async def confirm(self, operator: UUID, payment_id: UUID, proposal_id: UUID, envelope: Envelope) -> Outcome:
        seen = await self._find(payment_id)
        if seen is None:
            return Refused(missing(), 0)
        proposed, mine = seen.payment.proposed, seen.payment.initiated
        told = proposed.provider_reference if proposed is not None else None
        news = await self._now(seen, operator, told)
        if isinstance(news, Refusal):
            return Refused(news, 0)
        wish = ConfirmDecision(
            payment_id,
            seen.row.challenge_id,
            proposal_id,
            operator,
            news,
            self._ids(),
            mine.source,
            mine.from_account_id,
            mine.provider,
            mine.asset,
            mine.credits,
            seen.payment.provider_reference or told or "",
        )
        return await self._commands.run(wish, envelope)

    async def _find(self, payment_id: UUID) -> _Seen | None:
        async with self._pool.acquire() as connection:
            row = await find_payment(connection, self._texts, payment_id)
            payment = fold_payment(await load_stream(connection, payment_id)) if row is not None else None
        return _Seen(row, payment) if row is not None and payment is not None else None

    async def _now(self, seen: _Seen, operator: UUID, reference: str | None) -> PaymentNews | Refusal | None:
        """Of what is not theirs to decide nobody is asked: the command says no, or what it said before."""
        if parked_fault(seen.payment, operator) is not None:
            return None
        return await self._told(seen, reference, must=False)

    async def _told(self, seen: _Seen, reference: str | None, *, must: bool) -> PaymentNews | Refusal | None:
        """None where it has no name at the provider, or the provider will not tell of it, or (unless it `must`) does not answer."""
        known = seen.payment.provider_reference
        name = known or reference
        if not name:
            return None
        try:
            async with asyncio.timeout(LOOK_S):
                news = await self._ask(seen, name)
        except ProviderRefused as refusal:
            log.warning("a provider will not tell of a payment", payment=str(seen.row.payment_id), why=str(refusal))
            return None if known else InvalidInput("The provider tells of no payment by that name.", _REFERENCE)
        except (TimeoutError, ProviderFault) as fault:
            if must:
                raise Unavailable(str(fault)) from None
            log.warning("a parked payment cannot be looked up", payment=str(seen.row.payment_id), why=str(fault))
            return None
        if not known and news.our_payment != seen.row.payment_id:
            return InvalidInput("The provider does not say that this is the payment.", _REFERENCE)
        return news

    async def _ask(self, seen: _Seen, name: str) -> PaymentNews:
        mine = seen.payment.initiated
        provider: Payouts | BankPayments | None = self._banks.providers.get(mine.provider)
        if mine.source is Source.OWN:
            provider = self._payouts.get(mine.provider)
        if provider is None:
            raise ProviderUnavailable(f"{mine.provider} is not set up here any more")
        return await provider.look_up(name)

    async def _record(self, seen: _Seen, news: PaymentNews) -> None:
        if seen.payment.initiated.source is Source.BANK:
            if (at := await self._banks.find(seen.row.payment_id)) is not None:
                await self._banks.record(at, news)
            return
        wish = RecordPaymentNews(seen.row.payment_id, news, self._ids())
        which = f"RecordPaymentNews {seen.row.payment_id} {self._ids()}"
        await self._commands.run(wish, system_envelope(wish, which, f"payment-{seen.row.payment_id}"))
