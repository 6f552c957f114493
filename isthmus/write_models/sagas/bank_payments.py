"""Carrying on payments that a bank asks its own customer for: asked, looked at until it is known what the customer said, submitted where
the provider waits for that, and looked at until it is over.

As in `payments.py` each run takes one step, and what it did is an event before the next. What is not known stays so until the provider
says: nothing here expires or is taken back by our clock alone while somebody may still authorise it there.
"""

from __future__ import annotations

from datetime import timedelta

import structlog

from isthmus.domain.banking import OutcomeUnknown, ProviderFault, ProviderRefused
from isthmus.domain.identifiers import IdSource
from isthmus.domain.payment_events import UNKNOWN_STATUS, VOID, PaymentState, PaymentSubmissionStarted
from isthmus.domain.payment_news import PaymentNews, ProviderPayment
from isthmus.domain.payments import ExpirePayment, StartSubmission
from isthmus.domain.payments_at_bank import BANK_LIFE
from isthmus.failpoints import failpoint_async
from isthmus.write_models.bank_mirror import system_envelope
from isthmus.write_models.bank_paying import AtBank, BankPaying
from isthmus.write_models.commands import CommandBus
from isthmus.write_models.connection import Pool
from isthmus.write_models.envelope import Done
from isthmus.write_models.payment_rows import dynamic_link
from isthmus.write_models.payments import advance
from isthmus.write_models.sagas.looking import ARRIVES_WITHIN, LOOKS, UNKNOWN_MAX, next_look, rest_of

#: Something may still come of it there.
_OPEN = (ProviderPayment.AWAITING, ProviderPayment.AUTHORISED, ProviderPayment.SUBMITTED, ProviderPayment.UNKNOWN)
_UNDERWAY = (ProviderPayment.SUBMITTED, ProviderPayment.EXECUTED)
#: Of what was submitted: not what became of it. It is asked for again, ever more seldom.
_NOT_SAID = (ProviderPayment.AWAITING, ProviderPayment.AUTHORISED, ProviderPayment.UNKNOWN)
_OVER = tuple(ProviderPayment(state) for state in VOID)

log = structlog.get_logger(__name__)


class BankPaymentSaga:
    def __init__(self, pool: Pool, commands: CommandBus, paying: BankPaying, ids: IdSource) -> None:
        self._pool = pool
        self._commands = commands
        self._paying = paying
        self._ids = ids

    @property
    def settling(self) -> list[str]:
        """Who tells that money has arrived."""
        return [name for name, provider in self._paying.providers.items() if provider.settles]

    async def advance(self, at: AtBank, told: str | None = None) -> str:
        """One step. Returns its outcome's name. `told`: as `PaymentSaga.advance` has it."""
        if told is not None and at.payment.unnamed and await self._recognised(at, told):
            await self._again(at, LOOKS[0])
            return "looked"
        state, parked = at.payment.state, at.payment.parked
        if state is PaymentState.AUTHORISED and parked in (None, UNKNOWN_STATUS):
            return await self._submit(at)
        if state is PaymentState.AWAITING_SCA and parked not in (None, UNKNOWN_STATUS) and not self._late(at):
            return "over"  # an operator's word carries it on; what is not judged in time expires, and nobody is asked
        try:
            if state is PaymentState.AWAITING_SCA:
                return await self._await(at)
            return await self._look(at)
        except ProviderRefused as refusal:
            log.warning("a provider will not tell of a payment", payment=str(at.payment.payment_id), why=str(refusal))
            if state not in VOID:
                await self._paying.record(at, PaymentNews(ProviderPayment.UNKNOWN, "REFUSED"))
            if self._goes_on(at):
                await self._again(at, max(self._next(at), LOOKS[-1]))
            return "unavailable"
        except ProviderFault as fault:
            log.warning("a payment cannot be carried on now", payment=str(at.payment.payment_id), why=str(fault))
            if self._goes_on(at):
                await self._again(at, max(self._next(at), rest_of(fault)))
            return "unavailable"

    async def _recognised(self, at: AtBank, told: str) -> bool:
        """A payment of which nothing was known: the provider told what it calls one by, and says itself whether that is it."""
        try:
            return await self._paying.recognise(at, told)
        except ProviderFault as fault:
            log.warning(
                "what a webhook told of cannot be looked up", payment=str(at.payment.payment_id), why=str(fault)
            )
            return False

    async def _await(self, at: AtBank) -> str:
        """Until the bank's customer has answered, or it is too late for that."""
        late = self._late(at)
        if not at.payment.asked:
            if late:
                return await self._expire(at)
            asked = await self._paying.ask(at)
            await self._again(at, LOOKS[1])
            return asked
        news = await (self._paying.look(at) if not late else self._taken_back(at))
        if late and (news.state in _OVER or (news.state is ProviderPayment.AWAITING and self._shut(at))):
            return await self._expire(at)
        await self._again(at, self._next(at))
        return "looked"

    async def _taken_back(self, at: AtBank) -> PaymentNews:
        """Nobody is to authorise it any more; unless they just did."""
        news = await self._paying.cancel(at)
        if news.state not in (ProviderPayment.AWAITING, ProviderPayment.CANCELLED):
            await self._paying.record(at, news)
        return news

    async def _expire(self, at: AtBank) -> str:
        done = await self._run(at, ExpirePayment(at.row.payment_id, at.row.challenge_id))
        if done.events:
            return "expired"
        await self._again(at, LOOKS[0])  # not by the database's clock
        return "waiting"

    async def _submit(self, at: AtBank) -> str:
        row, order = at.row, at.row.order
        digest = dynamic_link(order, row.from_account_id).digest() if order is not None else ""
        done = await self._run(at, StartSubmission(row.payment_id, row.challenge_id, digest))
        begun = [one.event for one in done.events if isinstance(one.event, PaymentSubmissionStarted)]
        if order is None or not begun:
            return await self._given_up(at)
        attempt = begun[0].attempt
        await failpoint_async("bank_payments.submitting")
        try:
            news = await self._paying.submit(at, order)
        except ProviderRefused as refusal:
            if attempt > 1 and attempt < UNKNOWN_MAX:
                # An attempt before it may be on its way still: long after the last of them a refusal is one.
                return await self._unknown(at, attempt, refusal)
            code = refusal.code or "REFUSED"
            await self._paying.record(at, PaymentNews(ProviderPayment.REJECTED, code, code=code))
            return "refused"
        except ProviderFault as fault:
            return await self._unknown(at, attempt, fault)
        await failpoint_async("bank_payments.submitted")
        await self._paying.record(at, news)
        if news.state in _NOT_SAID:
            return await self._unknown(at, attempt, OutcomeUnknown(f"submitted, it is {news.state}"))
        await self._again(at, LOOKS[0])
        return "sent"

    async def _given_up(self, at: AtBank) -> str:
        """What was changed since is not submitted, and the person's consent to it is not left at the provider."""
        now = await self._paying.find(at.payment.payment_id)
        if now is not None and now.payment.state in VOID:
            try:
                await self._paying.cancel(now)
            except ProviderFault as fault:
                log.warning("a payment could not be taken back at the bank", why=str(fault))
        return "over"

    async def _unknown(self, at: AtBank, attempts: int, fault: ProviderFault) -> str:
        """It is asked again under the same key, later and later, until it is known; after many times an operator is told, too."""
        log.warning("what became of a payment is not known", payment=str(at.payment.payment_id), why=str(fault))
        if attempts >= UNKNOWN_MAX:
            await self._paying.record(at, PaymentNews(ProviderPayment.UNKNOWN, "UNREACHABLE"))
        wait = max(LOOKS[min(attempts, len(LOOKS) - 1)], rest_of(fault))
        await self._again(at, max(wait, self._next(at)) if attempts >= UNKNOWN_MAX else wait)
        return "unknown"

    async def _look(self, at: AtBank) -> str:
        """Of what is over for us, too, until it is over there: that money moved all the same nobody may overlook. And of what is settled,
        where somebody has reason to: what a provider takes back an operator is told."""
        payment = at.payment
        if not payment.asked:
            return "over"
        if payment.state in VOID:
            news = await self._paying.cancel(at)
            await self._paying.record(at, news)
        else:
            news = await self._paying.look(at)
        if self._owed(at) and not self._young(at) and news.state in _UNDERWAY:
            # It left its payer, or may have, and nobody was credited for it.
            await self._paying.record(at, PaymentNews(ProviderPayment.UNKNOWN, "NO_LAST_WORD"))
        if self._goes_on(at, news):
            await self._again(at, self._next(at))
        return "looked"

    def _owed(self, at: AtBank) -> bool:
        """Of what is brought here, and has neither arrived nor been found not to."""
        payment = at.payment
        under_way = payment.state in (PaymentState.SUBMITTED, PaymentState.EXECUTED)
        return payment.initiated.credits is not None and under_way and payment.found is None

    def _young(self, at: AtBank) -> bool:
        """What a provider tells of the money's arrival, or of what is over here and not there, is asked for no longer; of what is owed to
        somebody it is."""
        return at.now - at.row.made_at < ARRIVES_WITHIN

    def _goes_on(self, at: AtBank, news: PaymentNews | None = None) -> bool:
        """Whether there is more to come of it. `news`: what the provider said just now, if anything."""
        state, young = at.payment.state, self._young(at)
        if state in VOID:
            return young and (news is None or news.state in _OPEN)
        if state is PaymentState.EXECUTED:
            provider = self._paying.providers.get(at.payment.initiated.provider)
            # At an account of ours it is always told.
            ours = at.payment.initiated.credits is not None
            return self._owed(at) or (young and provider is not None and (provider.settles or ours))
        return state is not PaymentState.SETTLED

    def _shut(self, at: AtBank) -> bool:
        """What is not taken back there can be opened for so long after the bank was asked, however late that was."""
        asked_at = at.row.asked_at
        return asked_at is None or asked_at + BANK_LIFE <= at.now

    def _late(self, at: AtBank) -> bool:
        assert at.row.expires_at is not None, "there is a challenge where a bank is to ask"
        return at.row.expires_at <= at.now

    def _next(self, at: AtBank) -> timedelta:
        return next_look(at.row.made_at, at.now)

    async def _again(self, at: AtBank, after: timedelta) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await advance(connection, at.payment.payment_id, after)

    async def _run(self, at: AtBank, wish: object) -> Done:
        payment_id = at.payment.payment_id
        which = f"{type(wish).__name__} {payment_id} {self._ids()}"
        outcome = await self._commands.run(wish, system_envelope(wish, which, f"payment-{payment_id}"))
        return outcome if isinstance(outcome, Done) else Done((), outcome.position)
