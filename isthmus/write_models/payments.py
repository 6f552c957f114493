"""The tables of payments, challenges and wrong answers: what is asked about each at any moment. Written in the transaction of the event,
with the jobs that carry a payment on: a rollback leaves neither."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.events import Event
from isthmus.domain.payment_asks import PaymentAsked
from isthmus.domain.payment_decisions import PaymentDecided, PaymentLookedInto
from isthmus.domain.payment_events import (
    REVIEW,
    UNKNOWN_STATUS,
    VOID,
    PaymentAuthorised,
    PaymentCancelled,
    PaymentEvent,
    PaymentExecuted,
    PaymentExempted,
    PaymentExpired,
    PaymentFailed,
    PaymentInitiated,
    PaymentParked,
    PaymentRejected,
    PaymentReleased,
    PaymentScreened,
    PaymentSettled,
    PaymentState,
    PaymentSubmissionStarted,
    PaymentSubmitted,
)
from isthmus.domain.sca import (
    ChallengeState,
    Method,
    ScaBlocked,
    ScaChallengeIssued,
    ScaCountCleared,
    ScaEvent,
    ScaExpired,
    ScaFailed,
    ScaFailureCounted,
    ScaGuardEvent,
    ScaInvalidated,
    ScaPassed,
)
from isthmus.write_models.connection import Connection
from isthmus.write_models.sagas.runner import RUNNER
from isthmus.write_models.timers import enqueue

#: Jobs: a payment is carried on; a one-time code is delivered.
ADVANCE_PAYMENT, DELIVER_CODE = "advance_payment", "deliver_code"
#: The look at the end of a challenge's time: of no use to whom it was answered for.
AT_EXPIRY = "expiry"

_ASK_AFTER = timedelta(seconds=2)
#: What is over here while a bank knows of it: it is seen to that it is over there, too.
_OVER_THERE_AFTER = timedelta(seconds=15)

#: Why a payment is parked (docs/payments.md).
WHYS = ("REVIEW", "CHANGED_AFTER_SCA", "UNKNOWN_STATUS", "OTHER_AMOUNT", "OTHER_PAYEE", "CONTRADICTION")

_parked = Counter(
    "isthmus_payments_parked_total",
    "Payments that an operator is to look at, by why: REVIEW, CHANGED_AFTER_SCA, UNKNOWN_STATUS, OTHER_AMOUNT, OTHER_PAYEE, "
    "CONTRADICTION.",
    ["why"],
)
for _why in WHYS:
    _parked.labels(_why)  # zero from the start: no rate can be taken of a series that begins at its first

_STATES: dict[type, PaymentState] = {
    PaymentAuthorised: PaymentState.AUTHORISED,
    PaymentSubmitted: PaymentState.SUBMITTED,
    PaymentExecuted: PaymentState.EXECUTED,
    PaymentSettled: PaymentState.SETTLED,
    PaymentRejected: PaymentState.REJECTED,
    PaymentCancelled: PaymentState.CANCELLED,
    PaymentExpired: PaymentState.EXPIRED,
    PaymentFailed: PaymentState.FAILED,
}
_CHALLENGES: dict[type, ChallengeState] = {
    ScaPassed: ChallengeState.PASSED,
    ScaFailed: ChallengeState.FAILED,
    ScaExpired: ChallengeState.EXPIRED,
    ScaInvalidated: ChallengeState.INVALIDATED,
}


async def write(connection: Connection, events: Sequence[Event], now: datetime) -> None:
    """Before the flush, as everything but the flush is."""
    for event in events:
        if isinstance(event, PaymentEvent):
            await _payment(connection, event, now)
        elif isinstance(event, ScaEvent):
            await _challenge(connection, event, now)
        elif isinstance(event, ScaGuardEvent):
            await _guard(connection, event)


async def advance(
    connection: Connection, payment_id: UUID, after: timedelta | None = None, told: str | None = None
) -> None:
    """Have a payment looked at, now or then, by whichever process comes to it. One look of each kind is ahead at most: every look
    that asks for the next would otherwise begin a chain of its own. `told`: what a webhook calls it by, where that is not known yet."""
    kind = "told" if told is not None else "later" if after is not None else ""
    await RUNNER.look(connection, ADVANCE_PAYMENT, payment_id, after, kind=kind, told=told or "")


async def advance_at_expiry(connection: Connection, payment_id: UUID, after: timedelta) -> None:
    """Its own kind, since it is far away: a payment that is answered for is not to wait for it."""
    await RUNNER.look(connection, ADVANCE_PAYMENT, payment_id, after, kind=AT_EXPIRY)


async def _payment(connection: Connection, event: PaymentEvent, now: datetime) -> None:
    if isinstance(event, PaymentInitiated):
        await connection.execute(
            "insert into payments (id, owner, source, from_account_id, provider, asset, amount, payee_name, payee_account, reference, "
            "digest, challenge_id, state, made_at, batch_id, batch_line, credits_account_id) "
            "values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
            event.payment_id,
            event.owner,
            event.source,
            event.from_account_id,
            event.provider,
            event.asset,
            event.amount,
            str(event.payee_name),
            str(event.payee_account),
            str(event.reference) if event.reference is not None else None,
            event.digest,
            event.challenge_id,
            PaymentState.AWAITING_SCA,
            now,
            event.batch_id,
            event.line,
            event.credits,
        )
        return
    changes: dict[str, Any] = {}
    if type(event) in _STATES:
        changes["state"] = _STATES[type(event)]
    if isinstance(event, PaymentSubmitted):
        changes["provider_reference"] = event.provider_reference or None
    if isinstance(event, PaymentRejected | PaymentFailed):
        changes["failure_code"] = event.code
    if isinstance(event, PaymentFailed):
        changes["retryable"] = event.retryable
    if isinstance(event, PaymentParked):
        changes |= {"parked": event.why, "parked_since": now}
        _parked.labels(event.why).inc()
        if event.why == REVIEW:
            changes["review_since"] = now
    if isinstance(event, PaymentScreened):
        changes |= {"screened_by": event.rule, "screened_against": event.list_version}
    if isinstance(event, PaymentExempted):
        changes |= {"exempted_by": event.rule, "exempted_under": event.rules_version}
    if isinstance(event, PaymentReleased | PaymentDecided) or (isinstance(event, PaymentLookedInto) and event.in_order):
        changes["parked"] = None
    if isinstance(event, PaymentDecided):
        changes["moved"] = event.moved
    if isinstance(event, PaymentAsked):
        changes["provider_reference"] = event.provider_reference
    if isinstance(event, PaymentSubmissionStarted) and event.attempt == 1:
        changes["unknown_since"] = now
    sets = "".join(f", {name} = ${n}" for n, name in enumerate(changes, 2))
    if type(event) in _STATES:
        # What was not known of it is known by that.
        sets += f", parked = nullif(parked, '{UNKNOWN_STATUS}'), unknown_since = null"
    if isinstance(event, PaymentSettled):
        # What was to be brought here has arrived after all, and whole: a finding before that counts no more (`payment_events.evolve`).
        sets += ", moved = case when credits_account_id is null then moved end"
    row = await connection.fetchrow(
        f"update payments set version = version + 1{sets} where id = $1 "
        "returning state, source = 'BANK' and provider_reference is not null as at_bank",
        event.payment_id,
        *changes.values(),
    )
    if isinstance(event, PaymentAsked):
        await _asked(connection, event, now)
    if isinstance(event, PaymentDecided) and event.provider_reference is not None:
        await connection.execute(
            "update payments set provider_reference = coalesce(provider_reference, $2) where id = $1",
            event.payment_id,
            event.provider_reference,
        )
    if isinstance(event, PaymentAuthorised | PaymentReleased | PaymentLookedInto):
        await advance(connection, event.payment_id)
    moved = type(event) in _STATES or isinstance(event, PaymentAsked)
    if moved and row is not None and row["state"] in VOID and row["at_bank"]:
        await advance(connection, event.payment_id, _OVER_THERE_AFTER)


async def _asked(connection: Connection, event: PaymentAsked, now: datetime) -> None:
    method = Method.DECOUPLED if event.url is None else Method.REDIRECT
    await connection.execute(
        "update sca_challenges set method = $2, url = $3, device = $4, poll_after_s = $5, return_state = $6, asked_at = $7 where id = $1",
        event.challenge_id,
        method,
        str(event.url) if event.url is not None else None,
        str(event.device) if event.device is not None else None,
        event.poll_after_s,
        str(event.state),
        now,
    )


async def _challenge(connection: Connection, event: ScaEvent, now: datetime) -> None:
    if isinstance(event, ScaChallengeIssued):
        await connection.execute(
            "insert into sca_challenges (id, owner, purpose, subject_id, method, digest, state, expires_at, issued_at) "
            "values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            event.challenge_id,
            event.owner,
            event.purpose,
            event.subject_id,
            event.method,
            event.digest,
            ChallengeState.PENDING,
            event.expires_at,
            now,
        )
        if event.purpose in (Purpose.PAYMENT, Purpose.BATCH):
            for payment_id in await _asked_for(connection, event.challenge_id):
                await advance_at_expiry(connection, payment_id, event.expires_at - now)
        if event.method is Method.REDIRECT:
            # Whoever made the payment asks the bank at once; this is for where that came to nothing.
            await advance(connection, event.subject_id, _ASK_AFTER)
        if event.method is Method.ONE_TIME_CODE:
            await enqueue(connection, DELIVER_CODE, str(event.challenge_id).encode())
        return
    if type(event) in _CHALLENGES:
        await connection.execute(
            "update sca_challenges set state = $2 where id = $1", event.challenge_id, _CHALLENGES[type(event)]
        )
    # Whoever looks at the payment sees its challenge.
    await connection.execute("update payments set version = version + 1 where challenge_id = $1", event.challenge_id)
    if isinstance(event, ScaFailed | ScaInvalidated):
        for payment_id in await _asked_for(connection, event.challenge_id):
            await advance(connection, payment_id)


async def _asked_for(connection: Connection, challenge_id: UUID) -> list[UUID]:
    """Those that wait for that challenge."""
    rows = await connection.fetch(
        "select id from payments where challenge_id = $1 and state = $2 order by batch_line",
        challenge_id,
        PaymentState.AWAITING_SCA,
    )
    return [row["id"] for row in rows]


async def _guard(connection: Connection, event: ScaGuardEvent) -> None:
    match event:
        case ScaFailureCounted():
            # A block that is over leaves nothing behind, as in `sca.fold_guard`.
            await connection.execute(
                "insert into sca_guards as g (owner, failures) values ($1, 1) on conflict (owner) do update set "
                "failures = case when g.blocked_until is null then g.failures + 1 else 1 end, blocked_until = null",
                event.owner,
            )
        case ScaBlocked():
            await connection.execute(
                "update sca_guards set blocked_until = $2 where owner = $1", event.owner, event.until
            )
        case ScaCountCleared():
            await connection.execute(
                "update sca_guards set failures = 0, blocked_until = null where owner = $1", event.owner
            )
