"""Where batches are made: what a person wishes, put together into one command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from isthmus.domain import own_accounts, sca
from isthmus.domain.batches import BatchInitiated, InitiateBatch, place
from isthmus.domain.clock import Clock
from isthmus.domain.compliance import Compliance, Intent, Movement
from isthmus.domain.identifiers import IdSource
from isthmus.domain.paying import PaymentOrder
from isthmus.domain.payment_events import Source
from isthmus.domain.payment_initiation import InitiatePayment
from isthmus.domain.personal import PersonalText, PersonalTexts
from isthmus.domain.refusals import Refusal
from isthmus.write_models.commands import CommandBus, Done, Envelope, Refused
from isthmus.write_models.connection import Pool
from isthmus.write_models.payee_choice import saved_payees_of
from isthmus.write_models.payment_desk import PaymentWish
from isthmus.write_models.payment_rows import batch_link
from isthmus.write_models.sca_desk import ScaDesk
from isthmus.write_models.velocity import answered


class BatchDesk:
    """`payouts`: the name of who pays from the platform's money."""

    def __init__(
        self,
        pool: Pool,
        commands: CommandBus,
        texts: PersonalTexts,
        desk: ScaDesk,
        clock: Clock,
        ids: IdSource,
        payouts: str,
        compliance: Compliance,
    ) -> None:
        self._pool = pool
        self._commands = commands
        self._texts = texts
        self._sca = desk
        self._clock = clock
        self._ids = ids
        self._payouts = payouts
        self._compliance = compliance

    async def initiate(
        self, person: UUID, wishes: Sequence[PaymentWish], method: sca.Method | None, envelope: Envelope
    ) -> tuple[UUID, Done] | Refused:
        """`wishes`: one at least, all from one account. The batch's id, and what was recorded."""
        asked = await self._sca.ask(person, method, envelope)
        if isinstance(asked, Refusal):
            return Refused(asked, 0)
        named = await self._named(person, wishes)
        if isinstance(named, Refusal):
            if not await answered(self._pool, envelope):
                return Refused(named, 0)
            named = wishes  # the same again is answered as before
        wishes = named
        orders = [
            PaymentOrder(self._ids(), one.amount, one.asset, one.payee_name, one.payee_account, one.reference)
            for one in wishes
        ]
        batch_id, source = self._ids(), wishes[0].from_account_id
        digest = batch_link(batch_id, orders, source).digest()
        texts = await self._sealed(person, orders)
        lines = []
        for n, order in enumerate(orders):
            intent = Intent(Movement.PAYMENT, order.payment_id, person, order.asset, order.amount, (order.payee_name,))
            name, account, reference = texts[3 * n : 3 * n + 3]
            lines.append(
                InitiatePayment(
                    order.payment_id,
                    asked.challenge_id,
                    person,
                    Source.OWN,
                    source,
                    self._payouts if wishes[n].pays is None else own_accounts.HERE,
                    order.amount,
                    order.asset,
                    name,
                    account,
                    reference if order.reference else None,
                    digest,
                    asked.method,
                    asked.expires_at,
                    await self._compliance.decide(intent),
                    self._compliance.limits(order.asset),
                    batch_id=batch_id,
                    line=n,
                    saved_payee_id=wishes[n].saved_payee_id,
                    pays=wishes[n].pays,
                )
            )
        outcome = await self._commands.run(InitiateBatch(batch_id, asked.challenge_id, person, tuple(lines)), envelope)
        if isinstance(outcome, Refused):
            return outcome
        made = next(one.event for one in outcome.events if isinstance(one.event, BatchInitiated))
        return made.batch_id, outcome

    async def _named(self, person: UUID, wishes: Sequence[PaymentWish]) -> Sequence[PaymentWish] | Refusal:
        ids = [one.saved_payee_id for one in wishes if one.saved_payee_id is not None]
        if not ids:
            return wishes
        async with self._pool.acquire() as connection:
            found = await saved_payees_of(connection, self._texts, person, ids)
        named = []
        for n, wish in enumerate(wishes):
            one = wish if wish.saved_payee_id is None else wish.to(found[wish.saved_payee_id])
            if isinstance(one, Refusal):
                return replace(one, path=place(n, one.path))
            named.append(one)
        return named

    async def _sealed(self, person: UUID, orders: Sequence[PaymentOrder]) -> list[PersonalText]:
        """Name, account and reference of each: what is personal in a command's parts is sealed before."""
        plain = [text for one in orders for text in (one.payee_name, one.payee_account.text(), one.reference)]
        async with self._pool.acquire() as connection, connection.transaction():
            sealed = await self._texts.seal_many(connection, [(person, text) for text in plain])
        return [PersonalText("", ciphertext) for ciphertext in sealed]
