"""Five minutes in which a person does nothing end their session (RTS 2018/389 Art. 4(3)(d)), also where an access token carries it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from isthmus.auth.activity import Activity, UseStore
from isthmus.auth.caller import Caller
from isthmus.auth.callers import Callers
from isthmus.auth.claims import caller_of
from isthmus.auth.issuer_keys import IssuerUnavailable
from isthmus.auth.provider.store import FAMILY_LIFE
from isthmus.auth.scopes import allowed
from isthmus.auth.session_store import RedisSessions
from isthmus.auth.tokens import TokenRefused
from isthmus.domain.clock import SettableClock
from isthmus.runtime.servers import EmbeddedServers
from isthmus.settings import IssuerSettings
from tests.auth.fake_issuer import ISSUER, NOW, claims_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
MINUTE = timedelta(minutes=1)


class Issued:
    """Stands for the checked token: its claims, of a session, as an issuer would give them now."""

    def __init__(self, clock: SettableClock) -> None:
        self.clock = clock
        self.session: str | None = str(uuid4())
        self.authenticated_at: int | None = None
        self._given: dict[str, datetime] = {}

    def token(self) -> str:
        name = str(uuid4())
        self._given[name] = self.clock.now()
        return name

    async def verify(self, token: str) -> Caller:
        at = int(self._given[token].timestamp())
        claims = claims_of(iat=at, exp=at + 600, jti=token)
        if self.session is not None:
            claims["sid"] = self.session
        if self.authenticated_at is not None:
            claims["auth_time"] = self.authenticated_at
        return caller_of(claims, IssuerSettings(), ISSUER, self.clock.now().timestamp())


class Away(RedisSessions):
    away = False

    async def put(self, key: str, value: bytes, life_s: int) -> None:
        if self.away:
            raise IssuerUnavailable("away")
        await super().put(key, value, life_s)

    async def get(self, key: str) -> bytes | None:
        if self.away:
            raise IssuerUnavailable("away")
        return await super().get(key)


class Forgetful:
    """As Redis is, by the test's clock: nothing is kept for longer than was asked."""

    def __init__(self, clock: SettableClock) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[bytes, datetime]] = {}

    async def put(self, key: str, value: bytes, life_s: int) -> None:
        self._kept[key] = (value, self._clock.now() + timedelta(seconds=life_s))

    async def get(self, key: str) -> bytes | None:
        value, until = self._kept.get(key, (None, NOW))
        return value if self._clock.now() < until else None


class Keys:
    async def verify(self, token: str) -> Caller:
        return Caller(uuid4(), "a program", frozenset(), allowed(frozenset()), NOW + timedelta(days=1), uuid4())


@pytest_asyncio.fixture(loop_scope="module")
async def store(servers: EmbeddedServers) -> AsyncIterator[Away]:
    client: Redis = Redis.from_url(servers.redis_url)
    yield Away(client)
    await client.aclose()


@pytest.fixture
def issued() -> Issued:
    return Issued(SettableClock(NOW))


def door(issued: Issued, store: UseStore) -> Callers:
    """As one process has it."""
    return Callers(issued, Keys(), issued.clock, Activity(store, issued.clock, recheck_s=0.01))  # type: ignore[arg-type]  # a key's stand-in


@asynccontextmanager
async def refused() -> AsyncIterator[None]:
    with pytest.raises(TokenRefused, match="idle for five minutes"):
        yield


async def test_a_token_lasts_for_as_long_as_it_is_used_and_five_minutes_longer(issued: Issued, store: Away) -> None:
    callers, token = door(issued, store), issued.token()
    for _ in range(2):
        issued.clock.advance(4 * MINUTE)
        await callers.verify(token)
    issued = Issued(issued.clock)
    callers, token = door(issued, store), issued.token()
    issued.clock.advance(5 * MINUTE)
    async with refused():
        await callers.verify(token)


async def test_a_token_that_is_fetched_later_does_not_wake_what_is_over(issued: Issued, store: Away) -> None:
    callers = door(issued, store)
    await callers.verify(issued.token())
    issued.clock.advance(5 * MINUTE)
    for another in (callers, door(issued, store)):
        async with refused():
            await another.verify(issued.token())
    issued.session = str(uuid4())  # signed in again
    await callers.verify(issued.token())


async def test_a_clock_that_steps_back_lets_nobody_go_on_for_as_long(issued: Issued, store: Away) -> None:
    callers = door(issued, store)
    issued.clock.advance(60 * MINUTE)
    await callers.verify(issued.token())
    issued.clock.advance(-60 * MINUTE)
    token = issued.token()
    await callers.verify(token)
    issued.clock.advance(6 * MINUTE)
    async with refused():
        await callers.verify(token)


async def test_what_is_over_stays_so_for_as_long_as_it_can_be_refreshed(issued: Issued) -> None:
    """A refresh token lies unused for a day at most, and the one that is got for it begins another day."""
    store = Forgetful(issued.clock)
    await door(issued, store).verify(issued.token())
    for _ in range(int(FAMILY_LIFE / timedelta(hours=10))):
        issued.clock.advance(timedelta(hours=10))
        async with refused():
            await door(issued, store).verify(issued.token())


async def test_who_only_ever_listens_does_not_begin_anew_with_each_token(issued: Issued, store: Away) -> None:
    for _ in range(2):
        await door(issued, store).verify(issued.token(), looks_on=True)
        issued.clock.advance(MINUTE * 3)
    async with refused():
        await door(issued, store).verify(issued.token(), looks_on=True)


async def test_who_signs_in_again_goes_on_also_where_the_issuer_calls_it_the_same_session(
    issued: Issued, store: Away
) -> None:
    issued.authenticated_at = int(NOW.timestamp())
    callers = door(issued, store)
    await callers.verify(issued.token())
    issued.clock.advance(6 * MINUTE)
    async with refused():
        await callers.verify(issued.token())
    issued.authenticated_at = int(issued.clock.now().timestamp())
    await callers.verify(issued.token())


async def test_one_session_in_two_processes_is_used_in_either(issued: Issued, store: Away) -> None:
    here, there, token = door(issued, store), door(issued, store), issued.token()
    for _ in range(2):
        await here.verify(token)
        issued.clock.advance(4 * MINUTE)
        await there.verify(token)
        issued.clock.advance(MINUTE / 2)
    issued.clock.advance(5 * MINUTE)
    for callers in (here, there):
        async with refused():
            await callers.verify(issued.token())


async def test_listening_and_polling_are_nothing_that_a_person_does(issued: Issued, store: Away) -> None:
    callers, token = door(issued, store), issued.token()
    caller = await callers.verify(token)
    for _ in range(4):
        issued.clock.advance(MINUTE)
        await callers.verify(token, looks_on=True)
        await callers.check(caller)
    listening = asyncio.create_task(callers.until_ended(caller))
    await asyncio.sleep(0.05)
    assert not listening.done()
    issued.clock.advance(MINUTE)
    await asyncio.wait_for(listening, 5)
    async with refused():
        await callers.check(caller)


async def test_what_is_done_over_a_socket_counts(issued: Issued, store: Away) -> None:
    callers, token = door(issued, store), issued.token()
    caller = await callers.verify(token, looks_on=True)
    for _ in range(2):
        issued.clock.advance(4 * MINUTE)
        await callers.used(caller)
    issued.clock.advance(5 * MINUTE)
    async with refused():
        await callers.used(caller)


async def test_who_listens_is_let_be_for_as_long_as_the_session_is_used_elsewhere(issued: Issued, store: Away) -> None:
    listens, token = Activity(store, issued.clock, recheck_s=0.01), issued.token()
    caller = await issued.verify(token)
    await listens.enter(caller)
    issued.clock.advance(4 * MINUTE)
    await door(issued, store).verify(token)

    issued.clock.advance(2 * MINUTE)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await listens.until_idle(caller)
    issued.clock.advance(3 * MINUTE)
    async with asyncio.timeout(10):
        await listens.until_idle(caller)


async def test_without_redis_a_process_goes_by_what_it_saw_and_fails_closed(issued: Issued, store: Away) -> None:
    here, there, token = door(issued, store), door(issued, store), issued.token()
    await here.verify(token)
    store.away = True
    issued.clock.advance(4 * MINUTE)
    await here.verify(token)
    await there.verify(token)  # given out less than five minutes ago
    issued.clock.advance(2 * MINUTE)
    await here.verify(token)
    with pytest.raises(IssuerUnavailable):
        await door(issued, store).verify(token)


async def test_where_an_issuer_tells_of_no_session_each_token_is_one(issued: Issued, store: Away) -> None:
    issued.session = None
    callers, token = door(issued, store), issued.token()
    await callers.verify(token)
    issued.clock.advance(5 * MINUTE)
    async with refused():
        await callers.verify(token)
    await callers.verify(issued.token())


async def test_a_program_with_a_key_has_no_session_to_idle_in(issued: Issued, store: Away) -> None:
    callers = door(issued, store)
    caller = await callers.verify("isk_key")
    issued.clock.advance(60 * MINUTE)
    await callers.used(caller)
