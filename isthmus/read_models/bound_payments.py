"""What a challenge is shown to authorise: held against what it is bound to before it is shown.

The digest is the log's, and nobody changes that; what is shown beside it is read in tables. Whoever wrote another amount or payee into
those would have it authorised by everyone who reads the amount, and does not make the digest anew as a device's page may: by the code of
an app, say. So it is made anew here, of just what would be shown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import structlog
from prometheus_client import Counter

from isthmus.domain.dynamic_link import DynamicLink, PayeeLine, Purpose
from isthmus.read_models.payments import PaymentRow
from isthmus.read_models.sca import ChallengeRow

Read = Callable[[list[str]], Awaitable[Sequence[str | None]]]

_changed = Counter(
    "isthmus_sca_links_changed_total",
    "Times that a challenge was not shown with its payment, since that is not what it is bound to: somebody or something changed it.",
)

log = structlog.get_logger(__name__)


async def as_bound(
    challenge: ChallengeRow, rows: Sequence[PaymentRow], read: Read
) -> tuple[ChallengeRow, Sequence[PaymentRow]]:
    """The challenge, and of `rows` (the payments that it is for) what may be shown with it: what it is not bound to is not shown, nor is
    it to be answered. `read` opens sealed texts; None for what cannot be read any more."""
    pending = challenge.state == "PENDING"
    known = await _is_of(rows, challenge.digest, read)
    if known is False:
        _changed.inc()
        log.error(
            "a challenge's payment is not what it is bound to",
            payments=[str(row.payment_id) for row in rows],
            challenge=str(challenge.challenge_id),
        )
        challenge = replace(challenge, state="INVALIDATED") if pending else challenge
    # Of an erased person nobody can tell any more what it was bound to: nothing of it will be sent, and nothing is to be answered.
    shown = known is True or (known is None and not pending)
    return challenge, rows if shown else ()


async def _is_of(rows: Sequence[PaymentRow], digest: str, read: Read) -> bool | None:
    """None where nobody can tell any more whom it pays."""
    first = rows[0] if rows else None
    if first is None or any((one.from_account_id, one.asset) != (first.from_account_id, first.asset) for one in rows):
        return False
    sealed = [text for one in rows for text in (one.payee_name, one.payee_account, one.reference) if text]
    plain = dict(zip(sealed, await read(sealed), strict=True))
    lines = []
    for one in rows:
        name, account = plain.get(one.payee_name), plain.get(one.payee_account)
        reference = plain.get(one.reference) if one.reference else ""
        if name is None or account is None or reference is None:
            return None
        lines.append(PayeeLine(name, account, one.amount, reference))
    purpose, subject = (
        (Purpose.PAYMENT, first.payment_id) if first.batch_id is None else (Purpose.BATCH, first.batch_id)
    )
    return DynamicLink(purpose, subject, first.asset, first.from_account_id, tuple(lines)).is_of(digest)
