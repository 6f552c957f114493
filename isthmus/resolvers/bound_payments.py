"""The challenge of a payment, with what it is bound to (`read_models/bound_payments.py`)."""

from __future__ import annotations

from isthmus.graphql.context import AppInfo
from isthmus.read_models.bound_payments import as_bound
from isthmus.read_models.payments import PaymentRow
from isthmus.resolvers.sca import ScaChallenge, challenge_of


async def challenge_of_payment(info: AppInfo, row: PaymentRow) -> ScaChallenge | None:
    """None where nothing is asked for."""
    if row.challenge is None:
        return None
    loaders = info.context.loaders
    rows = [row] if row.batch_id is None else await loaders.batches.load((row.owner, row.batch_id))
    challenge, shown = await as_bound(row.challenge, rows, loaders.texts.load_many)
    return challenge_of(challenge, row, shown)
