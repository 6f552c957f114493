"""Where devices are enrolled and removed: what a person wishes, put together into commands."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from uuid import UUID

from isthmus.domain import sca
from isthmus.domain.authenticators import Authenticators, Credential
from isthmus.domain.clock import Clock
from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.identifiers import IdSource
from isthmus.domain.personal import PersonalText, PersonalTexts
from isthmus.domain.refusals import DeviceNotFound, Refusal, ScaMethodUnavailable, TooManyDevices
from isthmus.domain.sca_devices import (
    DEVICES_MAX,
    ENROL_WITHIN,
    BeginDevice,
    CompleteDevice,
    DeviceRequested,
    RemoveDevice,
    enrolment_digest,
    signing_challenge,
)
from isthmus.write_models.commands import CommandBus, Done, Envelope, Outcome, Refused
from isthmus.write_models.connection import Connection, Pool
from isthmus.write_models.sca_devices import ENROLLED, DeviceRow, credentials_of, find_device
from isthmus.write_models.shared_time import shared_now


class DeviceDesk:
    """`authenticators`: None where no devices are set up. `key_secret`: what a new key is to sign follows from it."""

    def __init__(
        self,
        pool: Pool,
        commands: CommandBus,
        texts: PersonalTexts,
        authenticators: Authenticators | None,
        clock: Clock,
        ids: IdSource,
        *,
        key_secret: bytes,
    ) -> None:
        self._pool = pool
        self._commands = commands
        self._texts = texts
        self.authenticators = authenticators
        self._clock = clock
        self._ids = ids
        self._key_secret = key_secret

    def creation_challenge(self, digest: str, challenge_id: UUID) -> bytes:
        """What a new key is to sign. Told once, to whoever began, and guessed by nobody: somebody else who has the session as well brings
        no key of their own once the code is answered."""
        bound = signing_challenge(Purpose.DEVICE, digest, challenge_id)
        return hmac.digest(self._key_secret, bound, hashlib.sha256)

    async def begin(self, person: UUID, name: str, envelope: Envelope) -> tuple[UUID, Done] | Refused:
        """The device's id, and what was recorded."""
        async with self._pool.acquire() as connection:
            fault = await self._full(connection, person)
            now = await shared_now(connection, self._clock)
        if self.authenticators is None:
            fault = ScaMethodUnavailable("No devices are set up here.")
        if fault is not None:
            return Refused(fault, 0)
        device_id = self._ids()
        digest = enrolment_digest(device_id, person, name)
        wish = BeginDevice(
            device_id, self._ids(), person, PersonalText(name), digest, now + sca.CODE_LIFE, now + ENROL_WITHIN
        )
        outcome = await self._commands.run(wish, envelope)
        if isinstance(outcome, Refused):
            return outcome
        made = next(one.event for one in outcome.events if isinstance(one.event, DeviceRequested))
        return made.device_id, outcome

    async def complete(self, person: UUID, device_id: UUID, answer: str, envelope: Envelope) -> Outcome:
        async with self._pool.acquire() as connection:
            row = await find_device(connection, device_id)
            if row is None or row.owner != person:
                return Refused(DeviceNotFound("There is no such device.", ("input", "deviceId")), 0)
            fault = await self._full(connection, person) if row.state != ENROLLED else None
            credential = self._registered(row, answer)
            name = (await self._texts.open_many(connection, [row.name]))[0]
        if fault is not None:
            return Refused(replace(fault, path=("input", "deviceId")), 0)
        digest = enrolment_digest(device_id, person, name or "")
        return await self._commands.run(
            CompleteDevice(device_id, row.challenge_id, person, digest, credential), envelope
        )

    async def remove(self, person: UUID, device_id: UUID, envelope: Envelope) -> Outcome:
        return await self._commands.run(RemoveDevice(device_id, person), envelope)

    def _registered(self, row: DeviceRow, answer: str) -> Credential | None:
        if self.authenticators is None:
            return None
        return self.authenticators.registered(answer, self.creation_challenge(row.digest, row.challenge_id))

    async def _full(self, connection: Connection, person: UUID) -> Refusal | None:
        """Two that are enrolled at the same moment may be one more than this: nothing hangs on it but a list's length."""
        if len(await credentials_of(connection, person)) < DEVICES_MAX:
            return None
        return TooManyDevices(f"There are {DEVICES_MAX} devices already. Remove one that is not needed.")
