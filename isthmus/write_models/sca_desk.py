"""Where challenges are answered, whatever they are for: what a person gives is made a proof, and the proof a command."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID, uuid4

from isthmus.domain import sca
from isthmus.domain.authenticators import Authenticators
from isthmus.domain.clock import Clock
from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.identifiers import IdSource
from isthmus.domain.personal import PersonalTexts
from isthmus.domain.refusals import Conflict, Refusal, ScaRejected
from isthmus.domain.sca_answers import AnswerScaChallenge
from isthmus.domain.sca_devices import signing_challenge
from isthmus.domain.step_up import Asked
from isthmus.write_models.bank_paying import BankPaying
from isthmus.write_models.challenge_rows import ChallengeRow, find_challenge, lines_of
from isthmus.write_models.commands import CommandBus, Done, Envelope, Refused
from isthmus.write_models.connection import Pool
from isthmus.write_models.idempotency import was_answered
from isthmus.write_models.one_time_codes import OneTimeCodes
from isthmus.write_models.sca_apps import enrolled_app
from isthmus.write_models.sca_devices import find_signer
from isthmus.write_models.sca_methods import method_of
from isthmus.write_models.shared_time import shared_now
from isthmus.write_models.totp import step_of


@dataclass(frozen=True)
class Answer:
    """What a person answers a challenge with: one of these. `device_assertion`: JSON, as the device's browser has it. `returned`: the
    state that they came back from their bank with. `polled`: whether the bank has an answer by now."""

    one_time_code: str | None = field(default=None, repr=False)
    device_assertion: str | None = field(default=None, repr=False)
    totp: str | None = field(default=None, repr=False)
    returned: str | None = field(default=None, repr=False)
    polled: bool = False


@dataclass(frozen=True)
class Answered:
    """What was authorised, by its own id."""

    purpose: Purpose
    subject_id: UUID
    done: Done


class ScaDesk:
    """`authenticators`: None where no devices are set up."""

    def __init__(
        self,
        pool: Pool,
        commands: CommandBus,
        codes: OneTimeCodes,
        authenticators: Authenticators | None,
        clock: Clock,
        ids: IdSource,
        texts: PersonalTexts,
        banks: BankPaying | None = None,
    ) -> None:
        self._pool = pool
        self._commands = commands
        self._codes = codes
        self._authenticators = authenticators
        self._clock = clock
        self._ids = ids
        self._texts = texts
        self._banks = banks

    async def ask(self, person: UUID, wished: sca.Method | None, envelope: Envelope) -> Asked | Refusal:
        """How they would be asked now, for a step-up. A wish that was answered before is answered as then, whatever became of the method
        since: nothing is made by it."""
        async with self._pool.acquire() as connection:
            devices = self._authenticators is not None
            method = await method_of(connection, person, wished, devices=devices)
            if isinstance(method, Refusal) and await was_answered(connection, envelope):
                method = await method_of(connection, person, None, devices=devices)
            now = await shared_now(connection, self._clock)
        if isinstance(method, Refusal):
            return method
        return Asked(self._ids(), method, now + sca.CODE_LIFE)

    async def answer(self, person: UUID, challenge_id: UUID, given: Answer, envelope: Envelope) -> Answered | Refused:
        """One that is not accepted is refused, whatever was wrong, and counted."""
        async with self._pool.acquire() as connection:
            row = await find_challenge(connection, challenge_id)
            lines = await lines_of(connection, row.subject_id) if row is not None and row.owner == person else []
        if row is None or row.owner != person:
            return Refused(ScaRejected("The answer is not accepted."), 0)
        if given.returned is not None or given.polled:
            return await self._by_bank(row, given)
        proof = await self._proof(row, given)
        source = lines[0][1] if lines else row.from_account_id
        ids = tuple(payment_id for payment_id, _ in lines)
        wish = AnswerScaChallenge(challenge_id, row.subject_id, person, row.digest, proof, source, ids)
        outcome = await self._commands.run(wish, envelope)
        if isinstance(outcome, Done) and any(isinstance(one.event, sca.ScaPassed) for one in outcome.events):
            return Answered(row.purpose, row.subject_id, outcome)
        if isinstance(outcome, Refused) and isinstance(outcome.refusal, Conflict):
            return outcome  # nobody looked at it: it may be right
        async with self._pool.acquire() as connection:
            row = await find_challenge(connection, challenge_id)
            now = await shared_now(connection, self._clock)
        assert row is not None, "it was answered just now"
        return Refused(row.rejected(now), outcome.position)

    async def _by_bank(self, row: ChallengeRow, given: Answer) -> Answered | Refused:
        """What comes from the bank passes nothing and counts for nothing: the provider is asked what its customer said. Where that is
        not known yet the challenge waits on, and the same may be answered again. Right or wrong, it is one answer that is looked at."""
        fits = row.purpose is Purpose.PAYMENT and row.method in (sca.Method.REDIRECT, sca.Method.DECOUPLED)
        ours = given.returned is None
        if self._banks is not None and fits and given.returned is not None:
            ours = await self._banks.is_ours(row.subject_id, given.returned)
        if self._banks is None or not fits or not ours:
            async with self._pool.acquire() as connection:
                return Refused(row.rejected(await shared_now(connection, self._clock)), 0)
        await self._banks.look_now(row.subject_id)
        async with self._pool.acquire() as connection:
            after = await find_challenge(connection, row.challenge_id)
            position = await connection.fetchval("select position from log_head")
            now = await shared_now(connection, self._clock)
        assert after is not None, "it was there just now"
        refused = after.rejected(now)
        if refused.challenge_state in (sca.ChallengeState.PASSED, sca.ChallengeState.PENDING):
            return Answered(row.purpose, row.subject_id, Done((), position))
        return Refused(refused, position)

    async def _proof(self, row: ChallengeRow, given: Answer) -> sca.Proof:
        if given.totp is not None:
            return await self._shown(row, given.totp)
        if given.device_assertion is None:
            return sca.CodeProof(self._codes.holds(row.challenge_id, row.digest, given.one_time_code or ""))
        return await self._signed(row, given.device_assertion)

    async def _signed(self, row: ChallengeRow, assertion: str) -> sca.DeviceProof:
        nobodys = sca.DeviceProof(None, holds=False)
        credential_id = self._authenticators.credential_id(assertion) if self._authenticators else None
        if self._authenticators is None or credential_id is None:
            return nobodys
        async with self._pool.acquire() as connection:
            device = await find_signer(connection, row.owner, credential_id)
        if device is None or device.credential is None:
            return nobodys
        challenge = signing_challenge(row.purpose, row.digest, row.challenge_id)
        counter = self._authenticators.signed(assertion, challenge, device.credential, row.owner)
        return sca.DeviceProof(device.device_id, counter is not None, counter or 0)

    async def _shown(self, row: ChallengeRow, code: str) -> sca.TotpProof:
        async with self._pool.acquire() as connection:
            app = await enrolled_app(connection, row.owner)
            secret = (await self._texts.open_many(connection, [app.secret]))[0] if app is not None else None
            now = await shared_now(connection, self._clock)
        step = step_of(secret, code, now) if secret is not None else None
        return sca.TotpProof(app.app_id if app is not None else None, step is not None, step or 0)

    @staticmethod
    def key_of_answer() -> str:
        """Every answer is another: one that comes twice is answered twice, and the second time the challenge is over."""
        return uuid4().hex
