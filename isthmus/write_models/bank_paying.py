"""Paying from a linked bank: the bank is asked to ask its customer, looked at, and told to take a payment back.

Nothing is remembered between the steps but what is written, and every step may be taken again: the idempotency key is the payment's id.
Used by `serve`, while a person waits, and by `work` for whatever was left undone (`sagas/bank_payments.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from isthmus.domain.bank_payments import BankPayments, BankWish, Begun, GoTo
from isthmus.domain.banking import Malformed, ProviderFault, ProviderRefused, ProviderUnavailable
from isthmus.domain.clock import Clock
from isthmus.domain.identifiers import IdSource
from isthmus.domain.payees import PayeeAccount, same_account
from isthmus.domain.paying import PaymentOrder
from isthmus.domain.payment_asks import PaymentAskStarted
from isthmus.domain.payment_events import VOID, Payment, PaymentState, Source
from isthmus.domain.payment_events import fold as fold_payment
from isthmus.domain.payment_news import PaymentNews, ProviderPayment
from isthmus.domain.payments_at_bank import RecordAsked, RecordBankNews, StartAsking
from isthmus.domain.personal import PersonalText, PersonalTexts
from isthmus.domain.refusals import (
    AccountNotFound,
    AssetMismatch,
    BankRefused,
    ConsentOver,
    PaymentNotCancellable,
    Refusal,
)
from isthmus.domain.secrets import LinkSecrets
from isthmus.failpoints import failpoint_async
from isthmus.write_models import bank_store
from isthmus.write_models.bank_balances import LOOK_S
from isthmus.write_models.bank_mirror import system_envelope
from isthmus.write_models.bank_payers import BankPayer, bank_wish, find_payer
from isthmus.write_models.commands import CommandBus
from isthmus.write_models.connection import Pool
from isthmus.write_models.envelope import Done, Unavailable
from isthmus.write_models.event_store import load_stream
from isthmus.write_models.payment_rows import PaymentRow, dynamic_link, find_payment
from isthmus.write_models.shared_time import shared_now

_FROM = ("input", "fromAccountId")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class AtBank:
    """A payment from a bank, as it was at `now`: its row, and what its events say."""

    row: PaymentRow
    payment: Payment
    now: datetime


class BankPaying:
    """`key_secret`: what a person is to come back with follows from it. `return_uri`: where the bank sends them; None where nobody said,
    and no bank is paid from."""

    def __init__(
        self,
        pool: Pool,
        commands: CommandBus,
        texts: PersonalTexts,
        links: LinkSecrets,
        providers: Mapping[str, BankPayments],
        clock: Clock,
        ids: IdSource,
        return_uri: str | None,
        *,
        key_secret: bytes,
    ) -> None:
        self._pool = pool
        self._commands = commands
        self._texts = texts
        self._links = links
        self.providers = providers
        self._clock = clock
        self._ids = ids
        self._return_uri = return_uri
        self._key_secret = key_secret

    async def payer(self, person: UUID, account_id: UUID, asset: str) -> BankPayer | Refusal:
        """Who speaks for the account, where it may be paid from."""
        async with self._pool.acquire() as connection:
            payer = await find_payer(connection, account_id)
            consent = await bank_store.find_consent(connection, payer.consent_id) if payer is not None else None
            now = await shared_now(connection, self._clock)
        if payer is None or consent is None or payer.owner != person or not payer.linked:
            return AccountNotFound("There is no such account.", _FROM)
        if not consent.readable(now):
            return ConsentOver("The bank is not linked any more: renew the consent first.", _FROM)
        if payer.provider not in self.providers or self._return_uri is None:
            return BankRefused("Nothing can be paid from this bank here.", _FROM)
        if payer.asset != asset:
            return AssetMismatch(f"The account holds {payer.asset}, not {asset}.", ("input", "amount", "asset"))
        return payer

    def collects(self, provider: str, asset: str) -> PayeeAccount | None:
        """Our own account that people can pay into through it; None where there is none."""
        found = self.providers[provider].collects.get(asset)
        return None if found is None else PayeeAccount(merchant=found)

    async def find(self, payment_id: UUID) -> AtBank | None:
        """None for what is paid from no bank."""
        async with self._pool.acquire() as connection:
            row = await find_payment(connection, self._texts, payment_id)
            payment = fold_payment(await load_stream(connection, payment_id)) if row is not None else None
            now = await shared_now(connection, self._clock)
        if row is None or payment is None or payment.initiated.source is not Source.BANK:
            return None
        return AtBank(row, payment, now)

    # -- while a person waits --------------------------------------------------------------------------------------------

    async def ask_now(self, payment_id: UUID) -> None:
        """Have the bank ask its customer. What comes to nothing is tried again by `work`."""
        try:
            async with asyncio.timeout(LOOK_S):
                at = await self.find(payment_id)
                if at is not None and not at.payment.asked:
                    await self.ask(at)
        except (TimeoutError, ProviderFault) as fault:
            log.warning("a bank does not ask its customer yet", payment=str(payment_id), why=str(fault))

    async def look_now(self, payment_id: UUID) -> None:
        """See what became of it. What comes to nothing is tried again by `work`."""
        try:
            async with asyncio.timeout(LOOK_S):
                at = await self.find(payment_id)
                if at is not None and at.payment.asked and at.payment.state is PaymentState.AWAITING_SCA:
                    await self.look(at)
        except (TimeoutError, ProviderFault) as fault:
            log.warning("a payment cannot be looked up now", payment=str(payment_id), why=str(fault))

    async def is_ours(self, payment_id: UUID, state: str) -> bool:
        """Whether someone came back with what this payment is to be come back with."""
        async with self._pool.acquire() as connection:
            sealed = await connection.fetchval(
                "select c.return_state from payments p join sca_challenges c on c.id = p.challenge_id where p.id = $1",
                payment_id,
            )
            (kept,) = await self._texts.open_many(connection, [sealed]) if sealed is not None else (None,)
        return kept is not None and hmac.compare_digest(kept.encode(), state.encode())

    async def take_back(self, payment_id: UUID) -> Refusal | None:
        """At the bank, before it is taken back here. Raises Unavailable: nobody can tell now whether that can be."""
        at = await self.find(payment_id)
        if at is None or not at.payment.asked or at.payment.state is not PaymentState.AWAITING_SCA:
            return None
        try:
            async with asyncio.timeout(LOOK_S):
                news = await self.cancel(at)
                if news.state is not ProviderPayment.CANCELLED:
                    await self.record(at, news)
        except (TimeoutError, ProviderFault) as fault:
            raise Unavailable(str(fault)) from None
        if news.state in (ProviderPayment.AWAITING, ProviderPayment.CANCELLED):
            return None
        return PaymentNotCancellable("It is too late to cancel the payment.", ("input", "paymentId"))

    # -- a step each; they raise ProviderFault ---------------------------------------------------------------------------

    async def ask(self, at: AtBank) -> str:
        """Have the bank ask its customer for just what the challenge here is bound to."""
        row, order = at.row, at.row.order
        digest = dynamic_link(order, row.from_account_id).digest() if order is not None else ""
        begun = await self._run(StartAsking(row.payment_id, row.challenge_id, digest), row)
        if order is None or not any(isinstance(one.event, PaymentAskStarted) for one in begun.events):
            return "over"
        await failpoint_async("bank_payments.begun")
        try:
            provider = self._provider(at)
            asked = await provider.begin(await self.wish(at, order))
        except ProviderRefused as refusal:
            now = await self.find(row.payment_id)
            if now is not None and now.payment.asked:
                return "asked"  # somebody else did so at the same time, and what they began is not ended by this
            code = refusal.code or "REFUSED"
            await self.record(at, PaymentNews(ProviderPayment.REJECTED, code, code=code))
            return "refused"
        await failpoint_async("bank_payments.asked")
        await self._run(_asked(row, asked), row)
        now = await self.find(row.payment_id)
        if now is not None and (now.payment.state in VOID or now.payment.provider_reference != asked.reference):
            # It was taken back meanwhile, or somebody else's question was there first: nobody was shown this address.
            await provider.cancel(asked.reference)
        return "asked"

    async def look(self, at: AtBank) -> PaymentNews:
        news = await self._provider(at).look_up(_reference(at))
        await failpoint_async("bank_payments.answered")
        await self.record(at, news)
        return news

    async def recognise(self, at: AtBank, told: str) -> bool:
        """Whether what the provider calls `told` is this payment, by its own word; what became of it is recorded then."""
        news = await self._provider(at).look_up(told)
        if news.our_payment != at.payment.payment_id:
            return False
        await self.record(at, news)
        return True

    async def submit(self, at: AtBank, order: PaymentOrder) -> PaymentNews:
        """Have it done, where the provider waits for that. Nothing is written."""
        return await self._provider(at).submit(await self.wish(at, order), _reference(at))

    async def cancel(self, at: AtBank) -> PaymentNews:
        """Take it back at the provider as far as that can be. Nothing is written."""
        return await self._provider(at).cancel(_reference(at))

    async def record(self, at: AtBank, news: PaymentNews) -> None:
        """With whether it is somebody else who is paid, as far as the provider says and we still know whom we asked for."""
        mine = at.row.payee_account
        other = news.payee_account is not None and mine is not None and not same_account(news.payee_account, mine)
        told, name = at.payment.initiated, news.reference or at.payment.provider_reference or ""
        wish = RecordBankNews(
            at.row.payment_id, at.row.challenge_id, told.provider, told.asset, news, other, name, told.credits
        )
        await self._run(wish, at.row)

    async def wish(self, at: AtBank, order: PaymentOrder) -> BankWish:
        if self._return_uri is None:
            raise ProviderUnavailable("nobody said where people come back to from a bank")
        mine = at.payment.initiated
        async with self._pool.acquire() as connection:
            return await bank_wish(
                connection,
                self._links,
                mine.from_account_id,
                mine.provider,
                order,
                self._return_uri,
                self._state_of(at.payment),
            )

    def _provider(self, at: AtBank) -> BankPayments:
        provider = self.providers.get(at.payment.initiated.provider)
        if provider is None:
            raise ProviderUnavailable(f"{at.payment.initiated.provider} is not set up here any more")
        return provider

    def _state_of(self, payment: Payment) -> str:
        """What nobody can guess, the same each time that the payment is begun."""
        told = f"{payment.payment_id} {payment.initiated.digest}"
        return hmac.digest(self._key_secret, told.encode(), hashlib.sha256).hex()

    async def _run(self, wish: object, row: PaymentRow) -> Done:
        which = f"{type(wish).__name__} {row.payment_id} {self._ids()}"
        outcome = await self._commands.run(wish, system_envelope(wish, which, f"payment-{row.payment_id}"))
        return outcome if isinstance(outcome, Done) else Done((), outcome.position)


def _reference(at: AtBank) -> str:
    assert at.payment.provider_reference is not None, "the bank was asked"
    return at.payment.provider_reference


def _asked(row: PaymentRow, begun: Begun) -> RecordAsked:
    """Raises Malformed where a person's browser would be sent to what is no page."""
    where = begun.authorization
    if isinstance(where, GoTo) and not where.url.startswith(("https://", "http://")):
        raise Malformed("the address to send the person to is none")
    return RecordAsked(
        row.payment_id,
        row.challenge_id,
        row.owner,
        begun.reference,
        PersonalText(begun.state),
        PersonalText(where.url) if isinstance(where, GoTo) else None,
        None if isinstance(where, GoTo) else PersonalText(where.device),
        2 if isinstance(where, GoTo) else where.poll_after_s,
    )
