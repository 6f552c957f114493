"""Carrying a payment on: from what the person answered for to what the bank did, through whatever happens in between.

Each run looks where the payment stands and takes one step; what it did is an event before the next run. A submission is written down
before the bank is asked. Whoever finds one begun and nothing known of it asks under the same idempotency key, which names the same
payment at the provider: it is done once, however often it is asked for. Nothing is held while a bank is waited for, and two runs at
the same time do each other no harm: the streams' versions let one of them be first.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from prometheus_client import Counter

from isthmus.domain.banking import NeverAsked, ProviderFault, ProviderRefused, ProviderUnavailable
from isthmus.domain.clock import Clock
from isthmus.domain.identifiers import IdSource
from isthmus.domain.paying import Payouts
from isthmus.domain.payment_events import VOID, Payment, PaymentState, PaymentSubmissionStarted, Source
from isthmus.domain.payment_events import fold as fold_payment
from isthmus.domain.payment_news import PaymentNews, ProviderPayment, RecordPaymentNews
from isthmus.domain.payments import ExpirePayment, StartSubmission
from isthmus.domain.personal import PersonalTexts
from isthmus.domain.sca import ChallengeState
from isthmus.failpoints import failpoint_async
from isthmus.write_models.bank_mirror import system_envelope
from isthmus.write_models.bank_paying import AtBank
from isthmus.write_models.commands import CommandBus, Done, Envelope
from isthmus.write_models.connection import Pool
from isthmus.write_models.event_store import first_at, load_stream
from isthmus.write_models.payment_rows import PaymentRow, digest_of, find_payment
from isthmus.write_models.payments import ADVANCE_PAYMENT, AT_EXPIRY, advance, advance_at_expiry
from isthmus.write_models.sagas.bank_payments import BankPaymentSaga
from isthmus.write_models.sagas.looking import ARRIVES_WITHIN, LOOKS, UNKNOWN_MAX, next_look, rest_of
from isthmus.write_models.sagas.runner import RUNNER
from isthmus.write_models.shared_time import shared_now

#: States in which something is still to come, without or with a look at the bank.
_MOVING = (PaymentState.AWAITING_SCA, PaymentState.AUTHORISED, PaymentState.SUBMITTED)
#: In no order: those that wait for an account to be free would keep all others out.
_SWEEP = 200
#: For so long from the first time that it was sent the same key surely names the same payment (TrueLayer's lasts for thirty days): after
#: that nothing is sent again. When that was is read in the log, which nobody changes.
_KEY_LASTS = timedelta(days=7)
_STRAY = f"""
select p.id from payments p where (p.parked is null or p.state = 'SUBMITTED'
        or (p.parked = 'UNKNOWN_STATUS' and (p.source = 'BANK' or not exists (select from event_store e where e.aggregate_id = p.id
            and e.type = 'PaymentSubmissionStarted' and e.committed_at <= coalesce($4, now()) - interval '7 days'))))
    and (p.state = any($1) or
        (p.state = 'EXECUTED' and p.source = 'BANK' and (p.provider = any($3) or p.credits_account_id is not null)
            and (p.made_at > coalesce($4, now()) - interval '7 days' or (p.credits_account_id is not null and p.moved is null))))
    and case when p.state = 'AWAITING_SCA' then {RUNNER.unlooked(ADVANCE_PAYMENT, "p.id")}
        else {RUNNER.unlooked(ADVANCE_PAYMENT, "p.id", besides=AT_EXPIRY)} end
order by random() limit $2"""
#: Over here, and maybe not at the bank. Nobody looks at those any more that are over there, too: only a look that failed tells them apart.
_WATCHED = """
exists (select from payments p where p.id = q.subject and p.state = any($1) and p.source = 'BANK'
    and p.made_at > coalesce($2, now()) - interval '7 days')"""

_steps = Counter(
    "isthmus_payment_steps_total",
    "Steps of payments by outcome: expired, asked, sent, unknown, unavailable, refused, looked, waiting, over.",
    ["outcome"],
)

log = structlog.get_logger(__name__)


class PaymentSaga:
    def __init__(
        self,
        pool: Pool,
        commands: CommandBus,
        texts: PersonalTexts,
        payouts: Mapping[str, Payouts],
        clock: Clock,
        ids: IdSource,
        banks: BankPaymentSaga | None = None,
    ) -> None:
        self._pool = pool
        self._commands = commands
        self._texts = texts
        self._payouts = payouts
        self._clock = clock
        self._ids = ids
        self._banks = banks

    async def advance(self, payment_id: UUID, told: str | None = None) -> str:
        """One step. Returns its outcome's name. Again and again is safe. `told`: what a webhook calls the payment by, where that is not
        known yet: what became of it is asked for by that."""
        async with self._pool.acquire() as connection:
            row = await find_payment(connection, self._texts, payment_id)
            payment = fold_payment(await load_stream(connection, payment_id)) if row else None
            now = await shared_now(connection, self._clock)
        if row is None or payment is None:
            return "over"
        if payment.initiated.source is Source.BANK:
            at = AtBank(row, payment, now)
            outcome = await self._banks.advance(at, told) if self._banks is not None else "over"
            _steps.labels(outcome).inc()
            return outcome
        match row.state:
            case PaymentState.AWAITING_SCA:
                outcome = await self._expire(row, now)
            case _ if told is not None and payment.unnamed:
                outcome = await self._recognise(row, payment, told)
            case PaymentState.AUTHORISED:
                outcome = await self._submit(row, payment, now)
            case _:
                outcome = await self._look(row, payment, now)
        _steps.labels(outcome).inc()
        return outcome

    async def sweep(self) -> int:
        """Have those looked at that nobody is about to look at: a job that failed stays so, and is not tried again by itself."""
        async with self._pool.acquire() as connection, connection.transaction():
            settling = self._banks.settling if self._banks is not None else []
            rows = await connection.fetch(_STRAY, list(_MOVING), _SWEEP, settling, self._clock.stamp())
            for row in rows:
                await advance(connection, row["id"])
            again = await RUNNER.again(connection, ADVANCE_PAYMENT, _WATCHED, sorted(VOID), self._clock.stamp())
        return len(rows) + again

    async def _expire(self, row: PaymentRow, now: datetime) -> str:
        if row.expires_at is None or row.challenge_state is ChallengeState.PASSED:
            return "over"  # answered for, and an operator is to judge it: their word carries it on
        wish = ExpirePayment(row.payment_id, row.challenge_id)
        done = await self._commands.run(wish, self._envelope(row, wish))
        if isinstance(done, Done) and done.events:
            return "expired"
        async with self._pool.acquire() as connection, connection.transaction():
            await advance_at_expiry(connection, row.payment_id, max(row.expires_at - now, LOOKS[0]))
        return "waiting"

    async def _submit(self, row: PaymentRow, payment: Payment, now: datetime) -> str:
        attempts, order = payment.attempts, row.order
        digest = ""
        async with self._pool.acquire() as connection:
            first = await first_at(connection, row.payment_id, PaymentSubmissionStarted)
            if order is not None:
                digest = await digest_of(connection, self._texts, row, order)
        if first is not None and now - first > _KEY_LASTS:
            await self._record(row, PaymentNews(ProviderPayment.UNKNOWN, "UNREACHABLE"))
            return "over"
        wish = StartSubmission(row.payment_id, row.challenge_id, digest)
        done = await self._commands.run(wish, self._envelope(row, wish))
        begun = isinstance(done, Done) and any(isinstance(one.event, PaymentSubmissionStarted) for one in done.events)
        if not begun or order is None:
            return "over"
        await failpoint_async("payment_saga.begun")
        try:
            news = await self._payer(payment).send(order)
        except ProviderRefused as refusal:
            if attempts and isinstance(refusal, NeverAsked):
                return await self._unknown(row, attempts + 1, refusal, now)
            news = PaymentNews(ProviderPayment.REJECTED, refusal.code or "REFUSED", code=refusal.code or "REFUSED")
            await self._record(row, news)
            return "refused"
        except ProviderFault as fault:
            return await self._unknown(row, attempts + 1, fault, now)
        await failpoint_async("payment_saga.sent")
        await self._record(row, news, payment.initiated.pays)
        await self._again(row.payment_id, LOOKS[0])
        return "sent"

    async def _unknown(self, row: PaymentRow, attempts: int, fault: ProviderFault, now: datetime) -> str:
        """It is asked again under the same key, later and later, until it is known; after many times an operator is told, too."""
        log.warning("what became of a payment is not known", payment=str(row.payment_id), why=str(fault))
        if attempts >= UNKNOWN_MAX:
            await self._record(row, PaymentNews(ProviderPayment.UNKNOWN, "UNREACHABLE"))
        wait = LOOKS[min(attempts, len(LOOKS) - 1)]
        if attempts >= UNKNOWN_MAX:
            wait = max(wait, next_look(row.made_at, now))
        await self._again(row.payment_id, max(wait, rest_of(fault)))
        return "unknown"

    async def _look(self, row: PaymentRow, payment: Payment, now: datetime) -> str:
        """Until it is over; and once more where somebody has reason to: what a provider takes back of its last word an operator is told."""
        if row.provider_reference is None:
            return "over"
        moving = row.state is PaymentState.SUBMITTED
        try:
            news = await self._payer(payment).look_up(row.provider_reference)
        except ProviderFault as fault:
            log.warning("a payment could not be looked up", payment=str(row.payment_id), why=str(fault))
            if isinstance(fault, ProviderRefused) and moving:
                await self._record(row, PaymentNews(ProviderPayment.UNKNOWN, "REFUSED"))
            if moving:
                await self._again(row.payment_id, max(next_look(row.made_at, now), LOOKS[4], rest_of(fault)))
            return "unavailable"
        await self._record(row, news)
        if moving:
            if news.state is ProviderPayment.SUBMITTED and now - row.made_at >= ARRIVES_WITHIN:
                # Its money is reserved for as long as nobody says what became of it.
                await self._record(row, PaymentNews(ProviderPayment.UNKNOWN, "NO_LAST_WORD"))
            await self._again(row.payment_id, next_look(row.made_at, now))
        return "looked"

    async def _recognise(self, row: PaymentRow, payment: Payment, told: str) -> str:
        """A payment of which nothing was known, though it may be over here: the provider told what it calls one by, and says itself whether
        that is it."""
        try:
            news = await self._payer(payment).look_up(told)
        except ProviderFault as fault:
            log.warning("what a webhook told of cannot be looked up", payment=str(row.payment_id), why=str(fault))
            return "unavailable"
        if news.our_payment != row.payment_id:
            return "over"
        await self._record(row, news)
        await self._again(row.payment_id, LOOKS[0])
        return "looked"

    def _payer(self, payment: Payment) -> Payouts:
        """Whom the log names: the digest says nothing of it, so that a row may not."""
        provider = payment.initiated.provider
        payouts = self._payouts.get(provider)
        if payouts is None:
            raise ProviderUnavailable(f"{provider} is not set up here any more")
        return payouts

    async def _record(self, row: PaymentRow, news: PaymentNews, pays: UUID | None = None) -> None:
        wish = RecordPaymentNews(row.payment_id, news, self._ids(), pays=pays)
        await self._commands.run(wish, self._envelope(row, wish))

    async def _again(self, payment_id: UUID, after: timedelta) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await advance(connection, payment_id, after)

    def _envelope(self, row: PaymentRow, wish: object) -> Envelope:
        which = f"{type(wish).__name__} {row.payment_id} {self._ids()}"
        return system_envelope(wish, which, f"payment-{row.payment_id}")
