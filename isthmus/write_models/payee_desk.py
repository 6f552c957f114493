"""Where payees are checked, saved and removed: what a person wishes, put together into commands."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from isthmus.domain import sca
from isthmus.domain.clock import Clock
from isthmus.domain.identifiers import IdSource
from isthmus.domain.lookalikes import flagged
from isthmus.domain.payee_checks import UNAVAILABLE, CheckedPayee, PayeeVerification, tellable
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.payment_payees import PayeeCheck
from isthmus.domain.personal import PersonalText, PersonalTexts
from isthmus.domain.refusals import PayeeExists, Refusal
from isthmus.domain.saved_payees import AddPayee, PayeeRequested, RemovePayee, payee_digest
from isthmus.write_models.commands import CommandBus, Done, Envelope, Outcome, Refused
from isthmus.write_models.connection import Pool
from isthmus.write_models.idempotency import was_answered
from isthmus.write_models.payee_rows import fingerprint_of, is_trusted, known_payees
from isthmus.write_models.sca_methods import method_of
from isthmus.write_models.shared_time import shared_now


class Allowance(Protocol):
    """How often a person may ask whose an account is: whoever asks for thousands looks for people, and pays nobody."""

    async def take(self, person: UUID) -> float:
        """0 where they may, and it is counted; else how long to wait, in seconds."""
        ...


class PayeeDesk:
    """`verification`: None where nobody is asked. `devices`: whether any can be asked here."""

    def __init__(
        self,
        pool: Pool,
        commands: CommandBus,
        texts: PersonalTexts,
        clock: Clock,
        ids: IdSource,
        verification: PayeeVerification | None,
        allowance: Allowance,
        *,
        devices: bool = True,
    ) -> None:
        self._pool = pool
        self._commands = commands
        self._texts = texts
        self._clock = clock
        self._ids = ids
        self._verification = verification
        self._allowance = allowance
        self._devices = devices

    async def check(self, person: UUID, name: str, account: PayeeAccount) -> CheckedPayee | float:
        """Or how long to wait before the next one, in seconds."""
        wait_s = await self._allowance.take(person)
        return wait_s or await self._checked(person, name, account, ask=True)

    async def told(self, person: UUID, name: str, account: PayeeAccount) -> CheckedPayee:
        """For a payment, which nothing here holds up: who asked too often is told that nobody can say."""
        ask = not await self._allowance.take(person)
        return await self._checked(person, name, account, ask=ask)

    async def _checked(self, person: UUID, name: str, account: PayeeAccount, *, ask: bool) -> CheckedPayee:
        async with self._pool.acquire() as connection:
            known = await known_payees(connection, self._texts, person)
        ask = ask and account.own is None  # whose an account here is nobody is told
        answer = await self._verification.check(account, name) if self._verification and ask else UNAVAILABLE
        return CheckedPayee(tellable(answer, name), flagged(name, account.text(), known))

    async def add(
        self, person: UUID, name: str, account: PayeeAccount, wished: sca.Method | None, envelope: Envelope
    ) -> tuple[UUID, Done] | Refused:
        """The payee's id, and what was recorded. `wished`: how they wish to be asked. Nobody is trusted before the challenge is passed."""
        async with self._pool.acquire() as connection:
            again = await was_answered(connection, envelope)
            if not again and await is_trusted(connection, self._texts, person, name, account):
                return Refused(PayeeExists("You saved this payee already.", ("input", "payee")), 0)
            method = await method_of(connection, person, None if again else wished, devices=self._devices)
            fingerprint = await fingerprint_of(connection, self._texts, person, name, account)
            now = await shared_now(connection, self._clock)
        if isinstance(method, Refusal):
            return Refused(method, 0)
        payee_id = self._ids()
        wish = AddPayee(
            payee_id,
            self._ids(),
            person,
            PersonalText(name),
            PersonalText(account.text()),
            fingerprint,
            payee_digest(payee_id, person, name, account.text()),
            method,
            now + sca.CODE_LIFE,
        )
        outcome = await self._commands.run(wish, envelope)
        if isinstance(outcome, Refused):
            return outcome
        made = next(one.event for one in outcome.events if isinstance(one.event, PayeeRequested))
        return made.payee_id, outcome

    async def remove(self, person: UUID, payee_id: UUID, envelope: Envelope) -> Outcome:
        return await self._commands.run(RemovePayee(payee_id, person), envelope)


def payee_check_of(
    told: CheckedPayee | None,
) -> tuple[PayeeCheck | None, PersonalText | None, PersonalText | None, PersonalText | None]:
    """As a wish to pay has it: the check, and the texts in it that are somebody's."""
    if told is None:
        return None, None, None, None
    holder, known = told.answer.holder, told.flagged.resembles
    return (
        PayeeCheck(told.answer.match, told.flagged.warnings),
        PersonalText(holder) if holder is not None else None,
        PersonalText(known.name) if known is not None else None,
        PersonalText(known.account) if known is not None else None,
    )
