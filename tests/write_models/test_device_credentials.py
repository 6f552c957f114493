"""A device's key is one person's, and one device's of theirs, whoever enrols it when."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest

from isthmus.domain.authenticators import Credential
from isthmus.domain.identifiers import uuid7_source
from isthmus.domain.refusals import RefusalCode, ScaMethodUnavailable
from isthmus.domain.sca import Method
from isthmus.domain.step_up import Asked
from isthmus.runtime.wiring import WriteSide
from isthmus.write_models.device_desk import DeviceDesk
from isthmus.write_models.envelope import Envelope, Refused
from isthmus.write_models.one_time_codes import OneTimeCodes
from isthmus.write_models.sca_desk import Answer, ScaDesk
from isthmus.write_models.sca_methods import method_of


class OneKey:
    """Whoever registers does so with the same key."""

    def registered(self, answer: str, challenge: bytes) -> Credential:
        return Credential("the-key", "public", 0)


@dataclass
class Enrolling:
    side: WriteSide
    desk: DeviceDesk
    sca: ScaDesk

    async def authorised(self) -> tuple[UUID, UUID]:
        """(person, device): all is done but the key's coming."""
        person = uuid4()
        begun = await self.desk.begin(person, "Phone", self.envelope(person))
        assert not isinstance(begun, Refused)
        row = await self.side.pool.fetchrow("select challenge_id, digest from sca_devices where id = $1", begun[0])
        assert row is not None
        answer = Answer(self.sca._codes.code(row["challenge_id"], row["digest"]))
        done = await self.sca.answer(person, row["challenge_id"], answer, self.envelope(person))
        assert not isinstance(done, Refused), done
        return person, begun[0]

    async def complete(self, person: UUID, device: UUID) -> RefusalCode | None:
        done = await self.desk.complete(person, device, "", self.envelope(person))
        return done.refusal.code if isinstance(done, Refused) else None

    def envelope(self, person: UUID) -> Envelope:
        return Envelope(f"person:{person}", person, "enrol", uuid4().hex, {"x": uuid4().hex}, "test")


@pytest.fixture
async def enrolling(side: WriteSide) -> Enrolling:
    ids: Any = uuid7_source(side.clock.now)
    authenticators: Any = OneKey()
    desk = DeviceDesk(side.pool, side.commands, side.texts, authenticators, side.clock, ids, key_secret=b"k" * 32)
    sca = ScaDesk(side.pool, side.commands, OneTimeCodes(b"k" * 32), None, side.clock, ids, side.texts)
    return Enrolling(side, desk, sca)


async def test_who_has_a_device_is_sent_a_code_where_devices_can_be_asked_no_more(enrolling: Enrolling) -> None:
    side = enrolling.side
    person, device = await enrolling.authorised()
    assert await enrolling.complete(person, device) is None

    async with side.pool.acquire() as connection:
        assert await method_of(connection, person, None) is Method.DEVICE
    asked = await enrolling.sca.ask(person, None, enrolling.envelope(person))

    assert isinstance(asked, Asked), "this desk was set up without devices"
    assert asked.method is Method.ONE_TIME_CODE
    assert isinstance(await enrolling.sca.ask(person, Method.DEVICE, enrolling.envelope(person)), ScaMethodUnavailable)


async def test_of_two_who_enrol_one_key_at_once_one_does(enrolling: Enrolling) -> None:
    """In this process, and while another one is about to commit it."""
    waiting = [await enrolling.authorised() for _ in range(3)]
    pool = enrolling.side.pool

    async with pool.acquire() as other, pool.acquire() as onlooker:
        elsewhere = other.transaction()
        await elsewhere.start()
        await other.execute("update sca_devices set credential_id = 'the-key' where id = $1", waiting[0][1])
        asked = asyncio.create_task(enrolling.complete(*waiting[1]))
        while not await onlooker.fetchval("select count(*) from pg_locks where not granted"):
            assert not asked.done(), "nobody knows yet of the other one"
            await asyncio.sleep(0.01)
        await elsewhere.commit()
    assert await asked is RefusalCode.DEVICE_REFUSED

    await pool.execute("update sca_devices set credential_id = null")
    outcomes = await asyncio.gather(*(enrolling.complete(*one) for one in waiting))
    assert sorted(map(str, outcomes)) == ["DEVICE_REFUSED", "DEVICE_REFUSED", "None"]
    assert await pool.fetchval("select count(*) from event_store where type = 'DeviceEnrolled'") == 1
