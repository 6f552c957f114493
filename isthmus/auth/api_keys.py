"""API keys: what one looks like, how one is recognised, and when a connection that one opened has to end.

    isk_<id: 22 signs>_<secret: 43 signs><checksum: 6 signs>

The signs are base 62, so that a double click takes the whole key. The prefix and the checksum (CRC-32 of all before it) let secret
scanners tell a key from its look-alikes, and let a mistyped one be refused without a question to the database. The secret has 256
random bits. That is why SHA-256 without salt is enough at rest: a slow hash makes guessing dearer, and here is nothing to guess.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
import zlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Protocol
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter

from isthmus.auth.caller import Caller
from isthmus.auth.claims import TokenRefused
from isthmus.auth.issuer_keys import IssuerUnavailable
from isthmus.auth.scopes import Role, Scope
from isthmus.domain.api_keys import WorkingKey
from isthmus.domain.clock import Clock
from isthmus.ending import end_if_cancelled
from isthmus.supervised import Supervised

PREFIX = "isk_"
#: How soon a connection ends whose key was revoked, in seconds.
RECHECK_S = 2.0
#: How often uses are written down, in seconds: one statement for all keys of a process.
NOTE_S = 60.0
_SIGNS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID, _SECRET, _CHECKSUM = 22, 43, 6
_FORM = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{_ID}}})_[0-9A-Za-z]{{{_SECRET + _CHECKSUM}}}")
_BROKEN = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

log = structlog.get_logger(__name__)
_checked = Counter("isthmus_api_keys_total", "API keys checked, by outcome.", ["outcome"])


class ApiKeyStore(Protocol):
    """The port. A key works until it ends, is revoked, or its owner is erased. `at` None is now, by the clock all processes share."""

    async def find(self, key_id: UUID, at: datetime | None) -> WorkingKey | None: ...

    async def working(self, key_ids: Collection[UUID], at: datetime | None) -> set[UUID]: ...

    async def note_uses(self, uses: Mapping[UUID, datetime]) -> None: ...


def new_key(key_id: UUID) -> str:
    body = f"{PREFIX}{_written(key_id.int, _ID)}_{_written(secrets.randbits(256), _SECRET)}"
    return body + _checksum(body)


def shown_prefix(key_id: UUID) -> str:
    """The part of a key that is no secret: what a person finds it by."""
    return f"{PREFIX}{_written(key_id.int, _ID)}"


def digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def key_id_of(key: str) -> UUID | None:
    """None for what no key of ours can be."""
    form = _FORM.fullmatch(key)
    if form is None or _checksum(key[:-_CHECKSUM]) != key[-_CHECKSUM:]:
        return None
    number = 0
    for sign in form[1]:
        number = number * len(_SIGNS) + _SIGNS.index(sign)
    return UUID(int=number) if number < 1 << 128 else None


class ApiKeys:
    def __init__(
        self, store: ApiKeyStore, clock: Clock, *, recheck_s: float = RECHECK_S, note_s: float = NOTE_S
    ) -> None:
        self._store = store
        self._clock = clock
        self._recheck_s = recheck_s
        self._note_s = note_s
        self._uses: dict[UUID, datetime] = {}
        self._watched: dict[UUID, set[asyncio.Future[None]]] = {}
        self.part = Supervised("api keys", self._keep)
        self._background: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._background = self.part.start()

    async def aclose(self) -> None:
        if self._background is not None:
            self._background.cancel()
            with suppress(asyncio.CancelledError):
                await self._background
        with suppress(*_BROKEN):
            await self._note()

    async def verify(self, key: str) -> Caller:
        """Whoever the key speaks for. Raises TokenRefused, or IssuerUnavailable where keys cannot be looked up."""
        try:
            caller = await self._verify(key)
        except TokenRefused as refusal:
            _checked.labels(refusal.reason).inc()
            raise
        except _BROKEN as error:
            _checked.labels("unavailable").inc()
            raise IssuerUnavailable("API keys cannot be checked right now") from error
        _checked.labels("accepted").inc()
        return caller

    async def _verify(self, key: str) -> Caller:
        key_id = key_id_of(key)
        if key_id is None:
            raise TokenRefused("not an API key")
        known = await self._store.find(key_id, self._clock.stamp())
        if known is None or not hmac.compare_digest(known.digest, digest_of(key)):
            raise TokenRefused("unknown API key")
        self._uses[key_id] = self._clock.now()
        # Of a program, whatever its maker is; what it may do is in the key alone.
        return Caller(
            person_id=known.owner,
            subject=shown_prefix(key_id),
            roles=frozenset({Role.SERVICE}),
            scopes=frozenset(Scope(scope.value) for scope in known.scopes),
            expires_at=known.expires_at,
            api_key_id=key_id,
        )

    async def until_revoked(self, key_id: UUID) -> None:
        """Returns within `recheck_s` after the key has stopped to work, for whatever reason."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watched.setdefault(key_id, set()).add(ended)
        try:
            await ended
        finally:
            watchers = self._watched.get(key_id, set())
            watchers.discard(ended)
            if not watchers:
                self._watched.pop(key_id, None)

    async def _keep(self) -> None:
        noted = time.monotonic()
        while True:
            await asyncio.sleep(self._recheck_s)
            try:
                await self._recheck()
                if time.monotonic() - noted >= self._note_s:
                    noted = time.monotonic()
                    await self._note()
            except _BROKEN as error:
                end_if_cancelled()
                # Nobody can revoke a key either while the database is away.
                log.warning("API keys cannot be checked; trying again", error=type(error).__name__)

    async def _recheck(self) -> None:
        """One question for all connections of this process."""
        if not self._watched:
            return
        asked = set(self._watched)
        for key_id in asked - await self._store.working(asked, self._clock.stamp()):
            for ended in self._watched.get(key_id, ()):
                if not ended.done():
                    ended.set_result(None)

    async def _note(self) -> None:
        uses, self._uses = self._uses, {}
        if uses:
            await self._store.note_uses(uses)


def _written(number: int, length: int) -> str:
    signs = []
    for _ in range(length):
        number, sign = divmod(number, len(_SIGNS))
        signs.append(_SIGNS[sign])
    return "".join(reversed(signs))


def _checksum(body: str) -> str:
    return _written(zlib.crc32(body.encode()), _CHECKSUM)
