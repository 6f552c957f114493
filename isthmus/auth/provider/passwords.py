"""Sign-in by password: argon2id (RFC 9106) in a thread, as much work for a user who does not exist as for one who does, and a
limit on failures per account and per address.
"""

from __future__ import annotations

import asyncio
import math
import time

import sqlalchemy as sa
from anyio import CapacityLimiter, to_thread
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from sqlalchemy.ext.asyncio import AsyncEngine

from isthmus.auth.addresses import network_of
from isthmus.auth.provider.store import new_secret
from isthmus.auth.provider.users import login_digest
from isthmus.runtime.rate_limits import Bucket, RateLimits

PASSWORD_MAX = 1_024
WAITING_MAX = 256


class TooManyAttempts(Exception):
    def __init__(self, retry_after_s: int) -> None:
        super().__init__("too many attempts to sign in")
        self.retry_after_s = retry_after_s


class Attempts:
    """Failed sign-ins per account and per address in a sliding minute, of this process; RateLimits counts them for all processes.

    Those under way might fail, so no more are under way at once than may still fail: a burst gets no more tries than a trickle,
    and honest sign-ins that come together (one office, one load test) wait for each other instead of being turned away. Account
    and address alike are counted whether the account exists or not.
    """

    def __init__(self, per_minute: int) -> None:
        self._limit = RateLimitItemPerMinute(per_minute)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._under_way: dict[str, int] = {}
        self._waiting = 0
        self._ended = asyncio.Event()

    async def begin(self, *keys: str) -> None:
        """Nothing is awaited between the last look and the counting."""
        while not self._has_room(keys):
            if self._waiting >= WAITING_MAX:
                raise TooManyAttempts(1)
            self._waiting += 1
            try:
                await self._ended.wait()
            finally:
                self._waiting -= 1
        for key in keys:
            self._under_way[key] = self._under_way.get(key, 0) + 1

    def _has_room(self, keys: tuple[str, ...]) -> bool:
        room = True
        for key in keys:
            window = self._limiter.get_window_stats(self._limit, key)
            if window.remaining <= 0:
                raise TooManyAttempts(max(1, math.ceil(window.reset_time - time.time())))
            room = room and window.remaining > self._under_way.get(key, 0)
        return room

    def end(self, *keys: str, failed: bool) -> None:
        for key in keys:
            if failed:
                self._limiter.hit(self._limit, key)
            self._under_way[key] -= 1
            if not self._under_way[key]:
                del self._under_way[key]
        self._ended.set()
        self._ended = asyncio.Event()


class Passwords:
    def __init__(
        self,
        engine: AsyncEngine,
        login_key: bytes,
        per_minute: int,
        rates: RateLimits,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self._engine = engine
        self._login_key = login_key
        self._per_minute = per_minute
        self._rates = rates
        self._attempts = Attempts(per_minute)
        self._hasher = hasher or PasswordHasher()
        self._threads = CapacityLimiter(2)  # each takes 64 MiB and a core
        self._nobodys_hash: str | None = None

    async def subject_of(self, email: str, password: str, address: str | None) -> str | None:
        """None for a wrong password and for an unknown e-mail alike. Raises TooManyAttempts.

        Raises CountersUnavailable where Redis does not answer: no password is tried that is not counted for all processes.
        """
        digest = login_digest(self._login_key, email)
        keys = (f"account:{digest.hex()}", f"address:{network_of(address)}")
        buckets = [Bucket("sign_in", key, self._per_minute) for key in keys]
        await self._attempts.begin(*keys)
        failed = False
        try:
            wait_s = await self._rates.take(*buckets, even_without_redis=False)
            if wait_s:
                raise TooManyAttempts(math.ceil(wait_s))
            failed = True  # until the password is found to be right: it counts whatever else goes wrong
            subject = await self._verified(digest, password)
            failed = subject is None
            if not failed:
                await self._rates.give_back(*buckets)
            return subject
        finally:
            self._attempts.end(*keys, failed=failed)

    async def _verified(self, digest: bytes, password: str) -> str | None:
        if self._nobodys_hash is None:
            self._nobodys_hash = await to_thread.run_sync(self._hasher.hash, new_secret(), limiter=self._threads)
        async with self._engine.connect() as connection:  # given back before the hashing, which takes long
            found = (
                await connection.execute(
                    sa.text("select subject, password_hash from provider.users where login_digest = :digest"),
                    {"digest": digest},
                )
            ).one_or_none()
        password_hash = self._nobodys_hash if found is None else found.password_hash
        right = await to_thread.run_sync(self._verify, password_hash, password, limiter=self._threads)
        return found.subject if found is not None and right else None

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            right = self._hasher.verify(password_hash, password[:PASSWORD_MAX].encode(errors="surrogatepass"))
        except (Argon2Error, InvalidHashError):
            return False
        return right and len(password) <= PASSWORD_MAX
