"""Authenticator apps (TOTP, RFC 6238): enrolled after a challenge of their own, used once for each code, removed.

An app's code knows nothing of what it authorises: it is bound to it by the challenge that shows amount and payee, and it is answered to
that one. A code is accepted once: its step is kept, and only a later one comes after it. It is what there is for a person without a
device that signs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

from isthmus.domain import sca, step_up
from isthmus.domain.dynamic_link import Purpose, StepUp
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.refusals import DeviceNotFound, DeviceRefused, Refusal, ScaRequired
from isthmus.domain.step_up import Asked

#: From the wish to enrol an app until its first code must be here.
ENROL_WITHIN = timedelta(minutes=10)


@dataclass(frozen=True)
class AppRequested:
    """`secret`: what its codes follow from, in base 32; sealed as personal text is."""

    app_id: UUID
    owner: UUID
    secret: Sealed
    challenge_id: UUID
    enrol_until: datetime


@dataclass(frozen=True)
class AppEnrolled:
    """`step`: of its first code, which is spent with that."""

    app_id: UUID
    owner: UUID
    step: int


@dataclass(frozen=True)
class AppUsed:
    app_id: UUID
    owner: UUID
    challenge_id: UUID
    step: int


@dataclass(frozen=True)
class AppRemoved:
    app_id: UUID
    owner: UUID


AppEvent = AppRequested | AppEnrolled | AppUsed | AppRemoved


@dataclass(frozen=True)
class App:
    """Folded from its events. `last_step` is None until it is enrolled."""

    requested: AppRequested
    last_step: int | None = None
    removed: bool = False

    @property
    def owner(self) -> UUID:
        return self.requested.owner


def evolve(app: App | None, event: AppEvent) -> App:
    if isinstance(event, AppRequested):
        assert app is None, "an app is asked for once"
        return App(event)
    assert app is not None, "an app begins with AppRequested"
    match event:
        case AppEnrolled() | AppUsed():
            return replace(app, last_step=event.step)
        case AppRemoved():
            return replace(app, removed=True)
        case _:
            assert_never(event)


def fold(events: Iterable[object]) -> App | None:
    """None where the stream is another thing's, or nobody's."""
    app: App | None = None
    for event in events:
        if isinstance(event, AppEvent):
            app = evolve(app, event)
    return app


# -- wishes ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BeginApp:
    app_id: UUID
    owner: UUID
    secret: PersonalText
    asked: Asked
    enrol_until: datetime

    @property
    def person(self) -> UUID:
        """Whose key seals the secret."""
        return self.owner


@dataclass(frozen=True)
class CompleteApp:
    """`step`: of the code that the app showed; None where the code is not one of its own."""

    app_id: UUID
    challenge_id: UUID
    owner: UUID
    step: int | None


@dataclass(frozen=True)
class RemoveApp:
    app_id: UUID
    owner: UUID


Decision = Sequence[AppEvent | sca.ScaEvent | sca.ScaGuardEvent] | Refusal


def missing() -> Refusal:
    return DeviceNotFound("There is no such app.")


def begin(guard: sca.Guard, wish: BeginApp, now: datetime) -> Decision:
    made = AppRequested(wish.app_id, wish.owner, wish.secret.ciphertext(), wish.asked.challenge_id, wish.enrol_until)
    return step_up.blocked(guard, now) or [made, wish.asked.challenge(link_of(made))]


def link_of(made: AppRequested) -> StepUp:
    return StepUp(Purpose.AUTHENTICATOR, made.app_id, made.owner, (str(made.secret),))


def answer(challenge: sca.Challenge, guard: sca.Guard, app: App | None, proof: sca.Proof, now: datetime) -> Decision:
    """To a challenge of this person's for this app (`sca_answers.py`): that it was passed is all that enrolment asks."""
    made = app.requested if app is not None and not app.removed else None
    return step_up.answered(
        challenge, guard, proof, now, (made.challenge_id, link_of(made)) if made is not None else None, ()
    )


def complete(app: App | None, challenge: sca.Challenge | None, wish: CompleteApp, now: datetime) -> Decision:
    """The first code shows that the app has the secret."""
    if app is None or app.owner != wish.owner or app.removed:
        return missing()
    if app.last_step is not None:
        return []
    mine = app.requested
    same = challenge is not None and challenge.challenge_id == mine.challenge_id
    if challenge is None or not same or challenge.state is not sca.ChallengeState.PASSED:
        return ScaRequired("Answer the app's challenge first.")
    if wish.step is None or mine.enrol_until <= now:
        return DeviceRefused("What the app showed is not accepted.", ("input", "code"))
    return [AppEnrolled(mine.app_id, mine.owner, wish.step)]


def remove(app: App | None, wish: RemoveApp) -> Decision:
    if app is None or app.owner != wish.owner:
        return missing()
    return [] if app.removed else [AppRemoved(wish.app_id, wish.owner)]


# -- codes -----------------------------------------------------------------------------------------------------------------


def checked(app: App | None, proof: sca.Proof, owner: UUID) -> sca.Proof:
    """The proof as the app's stream has it now: the same code may have been accepted since it was looked at."""
    if not isinstance(proof, sca.TotpProof):
        return proof
    known = app is not None and app.owner == owner and not app.removed and app.last_step is not None
    later = app is not None and app.last_step is not None and proof.step > app.last_step
    return replace(proof, holds=proof.holds and known and later)


def used(challenge: sca.Challenge, proof: sca.Proof) -> Sequence[AppEvent]:
    """What a passed challenge leaves at the app that answered it."""
    if not isinstance(proof, sca.TotpProof) or proof.app_id is None:
        return []
    return [AppUsed(proof.app_id, challenge.owner, challenge.challenge_id, proof.step)]
