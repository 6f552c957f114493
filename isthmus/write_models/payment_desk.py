"""Where payments are made, answered for and taken back: what a person wishes, put together into commands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from isthmus.domain import own_accounts, sca
from isthmus.domain.clock import Clock
from isthmus.domain.compliance import Compliance, Intent, Limits, Movement, Ruling, Verdict
from isthmus.domain.exemptions import NO_EXEMPTIONS, ExemptionRules
from isthmus.domain.funding import funding_reference
from isthmus.domain.identifiers import IdSource
from isthmus.domain.lookalikes import KnownPayee
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.paying import PaymentOrder
from isthmus.domain.payment_events import PaymentInitiated, Source
from isthmus.domain.payment_initiation import InitiatePayment
from isthmus.domain.payment_review import RefusePayment, ReleasePayment
from isthmus.domain.payments import CancelPayment
from isthmus.domain.payments_at_bank import BANK_LIFE, REVIEW_LIFE
from isthmus.domain.personal import PersonalText, PersonalTexts
from isthmus.domain.refusals import (
    AccountNotFound,
    BankRefused,
    LimitExceeded,
    PaymentNotFound,
    PaymentNotInReview,
    Refusal,
    ScaMethodUnavailable,
)
from isthmus.write_models.bank_paying import BankPaying
from isthmus.write_models.commands import CommandBus, Done, Envelope, Outcome, Refused
from isthmus.write_models.connection import Pool
from isthmus.write_models.payee_choice import saved_payees_of
from isthmus.write_models.payee_desk import PayeeDesk, payee_check_of
from isthmus.write_models.payee_standing import standing_of
from isthmus.write_models.payment_rows import dynamic_link, find_payment
from isthmus.write_models.sca_methods import method_of
from isthmus.write_models.shared_time import shared_now
from isthmus.write_models.velocity import NoVelocity, Velocity, answered, quick_no

_NOTHING = Limits(Decimal(0), Decimal(0))


@dataclass(frozen=True)
class PaymentWish:
    from_account_id: UUID
    amount: Decimal
    asset: str
    payee_name: str = field(repr=False)
    payee_account: PayeeAccount = field(repr=False)
    reference: str = field(repr=False)
    #: How its person wishes to authorise it; None: by a device where there is one, else by a code, or not at all.
    method: sca.Method | None = None
    source: Source = Source.OWN
    #: The person's own account here that it is for.
    credits: UUID | None = None
    #: A payee of theirs: name and account are read of it.
    saved_payee_id: UUID | None = None
    #: A program wishes it, with a key of theirs.
    by_program: bool = False

    def to(self, payee: KnownPayee | Refusal) -> PaymentWish | Refusal:
        """With what was found of the payee that it names."""
        if isinstance(payee, Refusal):
            return payee
        return replace(self, payee_name=payee.name, payee_account=PayeeAccount.of_text(payee.account))

    @property
    def pays(self) -> UUID | None:
        """An account here that is paid as somebody else's."""
        return self.payee_account.own if self.credits is None else None

    @property
    def to_own(self) -> bool:
        """From one account here to another of the same person's."""
        return self.credits is not None and self.source is Source.OWN


@dataclass(frozen=True)
class TopUpWish:
    from_account_id: UUID
    to_account_id: UUID
    amount: Decimal
    asset: str


class PaymentDesk:
    """`payouts`: the name of who pays from the platform's money; `banks`: what pays from people's own. `exemptions`: what nobody is asked
    for. `name`: whom people pay who bring money here. `devices`: whether any can be asked here."""

    def __init__(
        self,
        pool: Pool,
        commands: CommandBus,
        texts: PersonalTexts,
        clock: Clock,
        ids: IdSource,
        payouts: str,
        compliance: Compliance,
        velocity: Velocity | None = None,
        exemptions: ExemptionRules = NO_EXEMPTIONS,
        payees: PayeeDesk | None = None,
        banks: BankPaying | None = None,
        name: str = "Isthmus",
        *,
        devices: bool = True,
    ) -> None:
        self._pool = pool
        self._commands = commands
        self._texts = texts
        self._clock = clock
        self._ids = ids
        self._payouts = payouts
        self._compliance = compliance
        self._velocity = velocity or NoVelocity()
        self._exemptions = exemptions
        self._payees = payees
        self._banks = banks
        self._name = name
        self._devices = devices

    async def initiate(self, person: UUID, wish: PaymentWish, envelope: Envelope) -> tuple[UUID, Done] | Refused:
        """The payment's id, and what was recorded. Raises Unavailable: send it again with the same key."""
        way, limits = await self._way(person, wish), self._compliance.limits(wish.asset)
        named = await self._named(person, wish)
        no = way if isinstance(way, Refusal) else named if isinstance(named, Refusal) else None
        again = no is not None and await answered(self._pool, envelope)
        if no is not None and not again:
            return Refused(no, 0)
        if isinstance(way, Refusal) or isinstance(named, Refusal):
            # The same again is answered as before, whatever became of account and payee since. Nothing is made by it.
            way, limits, named = ("", sca.Method.REDIRECT), _NOTHING, wish
        wish = named
        provider, method = way
        async with self._pool.acquire() as connection:
            standing = await standing_of(connection, self._texts, person, wish.payee_name, wish.payee_account)
            now = await shared_now(connection, self._clock)
        payment_id = self._ids()
        no = None
        if wish.credits is None:
            no = await quick_no(self._velocity, self._pool, limits, envelope, wish.asset, wish.amount, now)
        if no is not None:
            return Refused(no, 0)
        names = () if wish.to_own else (wish.payee_name,)  # nobody but the payer is paid
        intent = Intent(Movement.PAYMENT, payment_id, person, wish.asset, wish.amount, names)
        verdict = await self._compliance.decide(intent)
        told = None
        if self._payees is not None and wish.credits is None and not again:  # nobody need be told who we are
            told = await self._payees.told(person, wish.payee_name, wish.payee_account)
        order = PaymentOrder(payment_id, wish.amount, wish.asset, wish.payee_name, wish.payee_account, wish.reference)
        outcome = await self._commands.run(
            InitiatePayment(
                payment_id,
                self._ids(),
                person,
                wish.source,
                wish.from_account_id,
                provider,
                wish.amount,
                wish.asset,
                PersonalText(wish.payee_name),
                PersonalText(wish.payee_account.text()),
                PersonalText(wish.reference) if wish.reference else None,
                dynamic_link(order, wish.from_account_id).digest(),
                method,
                now + _life(wish.source, verdict),
                verdict,
                limits,
                self._exempting(wish),
                standing,
                *payee_check_of(told),
                credits=wish.credits,
                saved_payee_id=wish.saved_payee_id,
                pays=wish.pays,
            ),
            envelope,
        )
        if isinstance(outcome, Refused):
            no = outcome.refusal if isinstance(outcome.refusal, LimitExceeded) else None
            if no is not None and no.resets_at is not None and no.used is not None:
                await self._velocity.remember(person, wish.asset, no.used.amount, now)
            return outcome
        made = next(one.event for one in outcome.events if isinstance(one.event, PaymentInitiated))
        if made.source is Source.BANK and self._banks is not None:
            await self._banks.ask_now(made.payment_id)
        return made.payment_id, outcome

    async def top_up(self, person: UUID, wish: TopUpWish, envelope: Envelope) -> tuple[UUID, Done] | Refused:
        """As `initiate`: a payment whose payee we are. Its reference names the account that it is for, and is bound with it."""
        path = ("input", "fromAccountId")
        if self._banks is None:
            return Refused(AccountNotFound("There is no such account.", path), 0)
        ours = await self._collects(person, wish, path)
        if isinstance(ours, Refusal):
            if not await answered(self._pool, envelope):
                return Refused(ours, 0)
            ours = PayeeAccount(merchant="")  # as in `initiate`: what was answered before is answered so again
        reference = funding_reference(wish.to_account_id)
        asked = PaymentWish(
            wish.from_account_id,
            wish.amount,
            wish.asset,
            self._name,
            ours,
            reference,
            source=Source.BANK,
            credits=wish.to_account_id,
        )
        return await self.initiate(person, asked, envelope)

    async def _collects(self, person: UUID, wish: TopUpWish, path: tuple[str, ...]) -> PayeeAccount | Refusal:
        """Our account that can be paid into from theirs."""
        assert self._banks is not None, "it was looked at"
        payer = await self._banks.payer(person, wish.from_account_id, wish.asset)
        if isinstance(payer, Refusal):
            return payer
        ours = self._banks.collects(payer.provider, wish.asset)
        return ours or BankRefused("Money cannot be brought here from this bank.", path)

    async def cancel(self, person: UUID, payment_id: UUID, envelope: Envelope) -> Outcome:
        async with self._pool.acquire() as connection:
            row = await find_payment(connection, self._texts, payment_id)
        if row is None or row.owner != person:
            return Refused(PaymentNotFound("There is no such payment.", ("input", "paymentId")), 0)
        if row.source is Source.BANK and self._banks is not None:
            no = await self._banks.take_back(payment_id)
            if no is not None:
                return Refused(no, 0)
        outcome = await self._commands.run(CancelPayment(payment_id, row.challenge_id, person), envelope)
        await self._velocity.forget(person, row.asset, self._clock.now())
        return outcome

    async def judge(self, operator: UUID, payment_id: UUID, envelope: Envelope, *, release: bool) -> Outcome:
        """An operator's word on what waits for it."""
        async with self._pool.acquire() as connection:
            row = await find_payment(connection, self._texts, payment_id)
        if row is None:
            return Refused(
                PaymentNotInReview("No payment of that id waits for your judgement.", ("input", "paymentId")), 0
            )
        kind = ReleasePayment if release else RefusePayment
        return await self._commands.run(kind(payment_id, row.challenge_id, operator), envelope)

    async def _named(self, person: UUID, wish: PaymentWish) -> PaymentWish | Refusal:
        if wish.saved_payee_id is None:
            return wish
        async with self._pool.acquire() as connection:
            found = await saved_payees_of(connection, self._texts, person, [wish.saved_payee_id])
        return wish.to(found[wish.saved_payee_id])

    def _exempting(self, wish: PaymentWish) -> ExemptionRules:
        """Whoever names a method wishes to be asked. What a program wishes nobody did at all: with a key that leaked nothing leaves
        unasked."""
        return self._exemptions if wish.method is None and not wish.by_program else NO_EXEMPTIONS

    async def _way(self, person: UUID, wish: PaymentWish) -> tuple[str, sca.Method] | Refusal:
        """Who pays, and how its person is asked."""
        if wish.source is Source.OWN:
            async with self._pool.acquire() as connection:
                method = await method_of(connection, person, wish.method, devices=self._devices)
            who = own_accounts.HERE if wish.to_own or wish.pays is not None else self._payouts
            return method if isinstance(method, Refusal) else (who, method)
        if wish.method is not None:
            return ScaMethodUnavailable("Your bank asks you itself.", ("input", "method"))
        if self._banks is None:
            return AccountNotFound("There is no such account.", ("input", "fromAccountId"))
        payer = await self._banks.payer(person, wish.from_account_id, wish.asset)
        return payer if isinstance(payer, Refusal) else (payer.provider, sca.Method.REDIRECT)


def _life(source: Source, verdict: Verdict) -> timedelta:
    """How long its challenge waits for an answer."""
    if source is Source.OWN:
        return sca.CODE_LIFE
    return REVIEW_LIFE if verdict.ruling is Ruling.REVIEW else BANK_LIFE
