"""Limits that a person sets themselves: lower than the platform's at once, higher again after a challenge, and never above the platform's.

Whoever took over a person's session can make it safer and not looser. A wish to raise replaces the one before it, and any lowering ends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import assert_never
from uuid import UUID, uuid5

from isthmus.domain import sca, step_up
from isthmus.domain.compliance import Limits
from isthmus.domain.dynamic_link import Purpose, StepUp
from isthmus.domain.money import text_of
from isthmus.domain.refusals import InvalidInput, Refusal
from isthmus.domain.step_up import Asked


@dataclass(frozen=True)
class LimitRaiseAsked:
    """It is not in force until its challenge is passed."""

    limit_id: UUID
    owner: UUID
    asset: str
    per_payment: Decimal
    per_day: Decimal
    challenge_id: UUID


@dataclass(frozen=True)
class LimitSet:
    """In force from now on."""

    limit_id: UUID
    owner: UUID
    asset: str
    per_payment: Decimal
    per_day: Decimal


LimitEvent = LimitRaiseAsked | LimitSet


@dataclass(frozen=True)
class PersonalLimit:
    """Folded from its events. `own` is None until one was set; `asked` waits for its challenge."""

    limit_id: UUID
    owner: UUID
    own: Limits | None = None
    asked: LimitRaiseAsked | None = None


@dataclass(frozen=True)
class ChangeLimit:
    """`ceiling`: what the platform lets anybody pay. `asked`: how the person will be asked, where they are to be."""

    limit_id: UUID
    owner: UUID
    asset: str
    limits: Limits
    ceiling: Limits
    asked: Asked


Decision = Sequence[LimitEvent | sca.ScaEvent | sca.ScaGuardEvent] | Refusal


def limit_id_of(person: UUID, asset: str) -> UUID:
    return uuid5(person, f"limit {asset}")


def evolve(limit: PersonalLimit | None, event: LimitEvent) -> PersonalLimit:
    limit = limit or PersonalLimit(event.limit_id, event.owner)
    match event:
        case LimitRaiseAsked():
            return replace(limit, asked=event)
        case LimitSet():
            return replace(limit, own=Limits(event.per_payment, event.per_day), asked=None)
        case _:
            assert_never(event)


def fold(events: Iterable[object]) -> PersonalLimit | None:
    """None where the stream is another thing's, or nobody's."""
    limit: PersonalLimit | None = None
    for event in events:
        if isinstance(event, LimitEvent):
            limit = evolve(limit, event)
    return limit


def effective(ceiling: Limits, limit: PersonalLimit | None) -> Limits:
    """What holds for the person: the platform's limits may have sunk since."""
    if limit is None or limit.own is None:
        return ceiling
    return Limits(min(ceiling.per_payment, limit.own.per_payment), min(ceiling.per_day, limit.own.per_day))


def change(guard: sca.Guard, limit: PersonalLimit | None, wish: ChangeLimit, now: datetime) -> Decision:
    wished, holds = wish.limits, effective(wish.ceiling, limit)
    if wished.per_payment > wish.ceiling.per_payment:
        return InvalidInput("That is more than anybody may pay at once.", ("input", "perPayment"))
    if wished.per_day > wish.ceiling.per_day:
        return InvalidInput("That is more than anybody may pay in a day.", ("input", "perDay"))
    about = (wish.limit_id, wish.owner, wish.asset, wished.per_payment, wished.per_day)
    if wished.per_payment <= holds.per_payment and wished.per_day <= holds.per_day:
        as_it_is = limit is not None and limit.own == wished and limit.asked is None
        return [] if as_it_is else [LimitSet(*about)]
    asked = LimitRaiseAsked(*about, wish.asked.challenge_id)
    return step_up.blocked(guard, now) or [asked, wish.asked.challenge(_link(asked))]


def answer(
    challenge: sca.Challenge, guard: sca.Guard, limit: PersonalLimit | None, proof: sca.Proof, now: datetime
) -> Decision:
    """To a challenge of this person's for this limit (`sca_answers.py`)."""
    asked = limit.asked if limit is not None else None
    if asked is None:
        return step_up.answered(challenge, guard, proof, now, None, ())
    done = LimitSet(asked.limit_id, asked.owner, asked.asset, asked.per_payment, asked.per_day)
    return step_up.answered(challenge, guard, proof, now, (asked.challenge_id, _link(asked)), [done])


def _link(asked: LimitRaiseAsked) -> StepUp:
    return raise_link(asked.limit_id, asked.owner, Limits(asked.per_payment, asked.per_day), asked.asset)


def raise_link(limit_id: UUID, owner: UUID, limits: Limits, asset: str) -> StepUp:
    """What whoever wishes it answers for."""
    return StepUp(Purpose.LIMIT, limit_id, owner, (asset, text_of(limits.per_payment), text_of(limits.per_day)))
