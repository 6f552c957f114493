"""What a challenge is shown to authorise: held against what it is bound to before it is shown.

The digest is the log's, and nobody changes that; what is shown beside it is read in tables. Whoever wrote another amount or payee into
those would have it authorised by everyone who reads the amount, and does not make the digest anew as a device's page may: by the code of
an app, say. So it is made anew here, of just what would be shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog
from prometheus_client import Counter

from isthmus.domain.dynamic_link import DynamicLink, PayeeLine, Purpose
from isthmus.graphql.context import AppInfo
from isthmus.read_models.payments import PaymentRow
from isthmus.resolvers.sca import ScaChallenge, challenge_of

_changed = Counter(
    "isthmus_sca_links_changed_total",
    "Times that a challenge was not shown with its payment, since that is not what it is bound to: somebody or something changed it.",
)

log = structlog.get_logger(__name__)


async def challenge_of_payment(info: AppInfo, row: PaymentRow) -> ScaChallenge | None:
    """None where nothing is asked for. What the challenge is not bound to is not shown, nor is it to be answered."""
    challenge = row.challenge
    if challenge is None:
        return None
    pending = challenge.state == "PENDING"
    rows = [row] if row.batch_id is None else await info.context.loaders.batches.load((row.owner, row.batch_id))
    known = await _is_of(info, rows, challenge.digest)
    if known is False:
        _changed.inc()
        log.error(
            "a challenge's payment is not what it is bound to",
            payment=str(row.payment_id),
            challenge=str(row.challenge_id),
        )
        challenge = replace(challenge, state="INVALIDATED") if pending else challenge
    # Of an erased person nobody can tell any more what it was bound to: nothing of it will be sent, and nothing is to be answered.
    shown = known is True or (known is None and not pending)
    return challenge_of(challenge, row, rows if shown else ())


async def _is_of(info: AppInfo, rows: Sequence[PaymentRow], digest: str) -> bool | None:
    """None where nobody can tell any more whom it pays."""
    first = rows[0] if rows else None
    if first is None or any((one.from_account_id, one.asset) != (first.from_account_id, first.asset) for one in rows):
        return False
    sealed = [text for one in rows for text in (one.payee_name, one.payee_account, one.reference) if text]
    plain = dict(zip(sealed, await info.context.loaders.texts.load_many(sealed), strict=True))
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
