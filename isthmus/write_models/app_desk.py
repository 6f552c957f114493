"""Where authenticator apps are enrolled and removed: what a person wishes, put together into commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from isthmus.domain import sca, sca_apps
from isthmus.domain.clock import Clock
from isthmus.domain.identifiers import IdSource
from isthmus.domain.personal import PersonalText, PersonalTexts
from isthmus.domain.refusals import Refusal, TooManyDevices
from isthmus.domain.sca_apps import ENROL_WITHIN, AppRequested, BeginApp, CompleteApp, RemoveApp
from isthmus.write_models.commands import CommandBus, Done, Envelope, Outcome, Refused
from isthmus.write_models.connection import Pool
from isthmus.write_models.sca_apps import enrolled_app, latest_app
from isthmus.write_models.sca_desk import ScaDesk
from isthmus.write_models.shared_time import shared_now
from isthmus.write_models.totp import new_secret, otpauth_uri, step_of


@dataclass(frozen=True)
class Begun:
    """`uri`: with the secret, shown this once; None where it was shown before."""

    app_id: UUID
    done: Done
    uri: str | None = field(repr=False)


class AppDesk:
    """`issuer`: the platform's name, as apps show it."""

    def __init__(
        self,
        pool: Pool,
        commands: CommandBus,
        texts: PersonalTexts,
        desk: ScaDesk,
        clock: Clock,
        ids: IdSource,
        issuer: str,
    ) -> None:
        self._pool = pool
        self._commands = commands
        self._texts = texts
        self._sca = desk
        self._clock = clock
        self._ids = ids
        self._issuer = issuer

    async def begin(self, person: UUID, name: str, envelope: Envelope) -> Begun | Refused:
        """`name`: what the app shows the account by. By a code: nothing vouches for the next of its kind."""
        asked = await self._sca.ask(person, sca.Method.ONE_TIME_CODE, envelope)
        async with self._pool.acquire() as connection:
            there = await enrolled_app(connection, person)
            now = await shared_now(connection, self._clock)
        if there is not None:
            return Refused(TooManyDevices("There is an app already. Remove it first."), 0)
        if isinstance(asked, Refusal):
            return Refused(asked, 0)
        app_id, secret = self._ids(), new_secret()
        wish = BeginApp(app_id, person, PersonalText(secret), asked, now + ENROL_WITHIN)
        outcome = await self._commands.run(wish, envelope)
        if isinstance(outcome, Refused):
            return outcome
        made = next(one.event for one in outcome.events if isinstance(one.event, AppRequested))
        # What a replay tells of has another secret than the one that was just drawn.
        fresh = made.app_id == app_id and not outcome.replayed
        return Begun(made.app_id, outcome, otpauth_uri(secret, self._issuer, name) if fresh else None)

    async def complete(self, person: UUID, code: str, envelope: Envelope) -> Outcome:
        async with self._pool.acquire() as connection:
            row = await latest_app(connection, person)
            secret = (await self._texts.open_many(connection, [row.secret]))[0] if row is not None else None
            now = await shared_now(connection, self._clock)
        if row is None:
            return Refused(sca_apps.missing(), 0)
        step = step_of(secret, code, now) if secret is not None else None
        return await self._commands.run(CompleteApp(row.app_id, row.challenge_id, person, step), envelope)

    async def remove(self, person: UUID, envelope: Envelope) -> Outcome:
        async with self._pool.acquire() as connection:
            row = await enrolled_app(connection, person) or await latest_app(connection, person)
        if row is None:
            return Refused(sca_apps.missing(), 0)
        return await self._commands.run(RemoveApp(row.app_id, person), envelope)
