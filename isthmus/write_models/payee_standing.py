"""What a payee is to a payer: here alone it is asked whether they are trusted, or the payer themselves."""

from __future__ import annotations

from uuid import UUID

from isthmus.domain.exemptions import NOBODY_KNOWN, Standing
from isthmus.domain.payees import PayeeAccount
from isthmus.write_models.connection import Pool


async def standing_of(pool: Pool, person: UUID, account: PayeeAccount) -> Standing:  # noqa: ARG001 - until payees are kept
    """Nobody is known yet: there is no list of trusted payees, and no account here that a payee's account number names."""
    return NOBODY_KNOWN
